"""Ground truth: which PAGE or ALTO file is about which image, and the other way round; outlines where it has none.

All that pairs the two goes through here: data sets of pages, the training and the evaluation of line finders,
segmentations that are given, and the images to read beside them.
"""

import importlib
import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from quillread.errors import DataError, Fault, ImageError, InputError
from quillread.images.geometry import normals_at, points_at, polyline_length
from quillread.images.read import is_readable_name
from quillread.types import Line, Page, Polygon, Region

log = logging.getLogger(__name__)

_ABOVE, _BELOW, _BEYOND = 0.75, 0.3, 0.25
"""What belongs to a line above, below and at either end of its baseline, in line distances."""


def outline_lines(page: Page, *, by_baseline: bool = False) -> Page:
    """Give the lines of a page that have no outline one along their baseline.

    Args:
        page: As the readers of PAGE and ALTO return it.
        by_baseline: Give such an outline to all lines.
    """
    pitch = line_pitch(page)

    def outlined(line: Line) -> Line:
        box, base = line.polygon.bounds, Polygon(line.baseline).bounds
        # For a line without a polygon, the readers take the box of its baseline.
        return _along_baseline(line, pitch) if by_baseline or box == base else line

    regions = (replace(region, lines=tuple(map(outlined, region.lines))) for region in page.regions)
    return replace(page, regions=tuple(regions))


def line_pitch(page: Page) -> float:
    """Estimate the distance of the baselines of a page in pixels, a tenth of the longest if there is one only."""
    boxes = [Polygon(line.baseline).bounds for line in page.lines]
    gaps = []
    for box in boxes:
        middle = (box.y0 + box.y1) / 2
        below = [
            (other.y0 + other.y1) / 2 - middle
            for other in boxes
            if min(box.x1, other.x1) - max(box.x0, other.x0) > 0.3 * min(box.width, other.width)
        ]
        gaps.extend([min(gap for gap in below if gap > 1)] if any(gap > 1 for gap in below) else [])
    return float(np.median(gaps)) if gaps else max((box.width for box in boxes), default=10.0) / 10 or 1.0


def _along_baseline(line: Line, pitch: float) -> Line:
    if polyline_length(line.baseline) == 0:
        return line
    # The ends of the writing reach over those of the baseline.
    length, over = polyline_length(line.baseline), _BEYOND * pitch
    distances = np.linspace(-over, length + over, 2 + int(4 * length / pitch))
    points, normals = points_at(line.baseline, distances), normals_at(line.baseline, distances)
    upper, lower = points - _ABOVE * pitch * normals, points + _BELOW * pitch * normals
    outline = np.vstack((upper, lower[::-1])).tolist()
    return replace(line, polygon=Polygon(tuple((x, y) for x, y in outline)))


_READERS = {b"PcGts": "quillread.formats.pagexml:read_page_xml", b"alto": "quillread.formats.alto:read_alto"}
"""Root element -> "module:function", imported when there is such a file."""
_FOLDERS = ("page", "alto")
"""Folders beside the images, in which Transkribus puts its XML: they say nothing of which image is meant."""
_SUFFIX = re.compile(r"(\.(page|alto))?\.xml$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pair:
    """A PAGE or ALTO file with its image."""

    xml: Path
    image: Path | None = None
    """None if there is none."""
    page: Page | None = None
    """What the file says; None if it is damaged."""
    fault: Fault | None = None
    """Why there is no image, or no page."""


class GroundTruth:
    """The PAGE and ALTO files of a folder, searched recursively, or one of them.

    An image is that of one file, where several name it: PAGE comes before ALTO, as it says more, and exports may hold
    both.

    Args:
        where: A file or folder.

    Raises:
        DataError: If it is neither, or a folder without XML.
    """

    def __init__(self, where: Path) -> None:
        self.where = where
        self.is_file = where.is_file()
        if not self.is_file and not where.is_dir():
            raise DataError(f"{where}: no such file or folder", hint="name a PAGE or ALTO file, or a folder of them")
        self.files = list_layouts(where)
        if not self.files:
            raise DataError(
                f"{where}: holds no PAGE or ALTO file",
                hint="put the XML beside the images, as page-1.xml beside page-1.jpg",
            )
        self._by_stem: dict[str, list[Path]] = {}
        for path in self.files:
            self._by_stem.setdefault(_SUFFIX.sub("", path.name), []).append(path)
        self._by_image: dict[str, list[Path]] | None = None

    def pairs(self) -> list[Pair]:
        """Pair all files with their images, in the order of the names of these; XML of other kinds is skipped."""
        found: dict[Path, Pair] = {}
        for path in sorted(self.files, key=lambda path: (_is_alto(path), by_number(path))):
            try:
                page = open_layout(path)
            except InputError as error:
                found[path] = Pair(path, fault=error.fault)
                continue
            if page is None:
                continue
            try:
                image = find_image(path, page)
                found.setdefault(image.resolve(), Pair(path, image, page))
            except InputError as error:
                found[path] = Pair(path, page=page, fault=error.fault)
        return sorted(found.values(), key=lambda pair: by_number(pair.image or pair.xml))

    def find(self, source: str, number: int = 1, count: int = 1) -> Path:
        """Find the file about a page of an input.

        In a folder, `letter.xml`, `letter.page.xml` and `letter.alto.xml` are about `letter.jpg`, and those of
        `letter-0003` about the third page of `letter.pdf`; a file of another name is about the image that it names.
        Where several files would do, that counts whose folders are most like those of the image.

        Args:
            source: The input as the user named it.
            number: Of the page, from 1.
            count: Pages of the input.

        Raises:
            DataError: If there is none.
        """
        if self.is_file:
            if count > 1:
                raise DataError(f"{self.where} is about one page", hint="name a folder with a file for each page")
            return self.where
        image = Path(source)
        # Of an image alone its own name comes first: the number in `letter-0001.xml` may be part of another image's.
        names = [image.stem, image.name] if count == 1 else []
        names.append(f"{image.stem}-{number:04}")
        found = next((paths for name in names if (paths := self._by_stem.get(name))), [])
        if not found and count == 1:
            found = self._naming(image.name)
        if not found:
            name = f"{image.stem}.xml" if count == 1 else f"{image.stem}-{number:04}.xml"
            raise DataError(f"{self.where} has no segmentation of it", hint=f"put it there as {name}")
        return max(found, key=lambda path: (_likeness(path.parent, image.parent), not _is_alto(path)))

    def regions(self, source: str, number: int, count: int, size: tuple[int, int]) -> tuple[Region, ...]:
        """The lines of a page of an input, each with an outline.

        Args:
            source: The input as the user named it.
            number: Of the page, from 1.
            count: Pages of the input.
            size: Width and height of the page in pixels.

        Raises:
            DataError: If the lines of the page are not known.
            ImageError: If they are those of an image of another size.
        """
        path = self.find(source, number, count)
        page = open_layout(path)
        if page is None:
            raise DataError(f"{path}: is neither PAGE nor ALTO", hint="export the segmentation as PAGE or ALTO")
        if self.is_file:
            _tell_other_image(source, path, page)
        if (page.width, page.height) != size:
            raise ImageError(
                f"the image has {size[0]} x {size[1]} pixels, {path} is about one of {page.width} x {page.height}",
                hint="read the image that the lines were drawn on",
            )
        return outline_lines(page).regions

    def _naming(self, image: str) -> list[Path]:
        """Files that name an image; they are opened once, when the first is asked for."""
        if self._by_image is None:
            self._by_image = {}
            for path in self.files:
                try:
                    page = open_layout(path)
                except InputError:
                    continue  # said when it is asked for by its own name
                if page is not None:
                    self._by_image.setdefault(image_name(page), []).append(path)
        return self._by_image.get(image, [])


def list_layouts(where: Path) -> list[Path]:
    """List the XML files of a folder, searched recursively, in the order of their names; a file is the only one."""
    if not where.is_dir():
        return [where]
    return sorted((path for path in where.rglob("*") if path.suffix.lower() == ".xml"), key=by_number)


def open_layout(path: Path) -> Page | None:
    """Read a PAGE or ALTO file; None if it is another XML file.

    Raises:
        DataError: If it is damaged or cannot be opened.
    """
    if path.exists() and not path.is_file():  # a pipe that nobody writes to would be waited for
        raise DataError(f"{path}: is not a regular file", hint="save its content to a file first")
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        root = re.search(rb"<(?:\w+:)?(PcGts|alto)\b", head)
        if root is None:
            return None
        module, _, name = _READERS[root[1]].partition(":")
        return cast(Page, getattr(importlib.import_module(module), name)(path))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="check its permissions") from error


def find_image(path: Path, page: Page) -> Path:
    """Find the image of a PAGE or ALTO file: of its stem, or else of the name that it says, beside it or one above.

    Raises:
        DataError: If there is none.
    """
    places = [path.parent, *([path.parent.parent] if path.parent.name in _FOLDERS else [])]
    named = image_name(page)
    stem = re.sub(r"([*?\[])", r"[\1]", _SUFFIX.sub("", path.name))
    for place in places:
        same_stem = sorted(p for p in place.glob(f"{stem}.*") if is_readable_name(p))
        for image in (*same_stem, place / named):
            if image.is_file() and is_readable_name(image):
                return image
    raise DataError(f"{path}: has no image of its name beside it", hint="put the image beside it")


def image_name(page: Page) -> str:
    """The image that a file names, without its folders, which are those of another machine; empty if it names none."""
    return re.split(r"[/\\]", page.source)[-1]


def by_number(path: Path) -> list[str | int]:
    """The order of names with their numbers as numbers: `page-2` comes before `page-10`."""
    # Text and numbers take turns, beginning with text, so that like is compared with like.
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", str(path)))]


def _is_alto(path: Path) -> bool:
    return path.parent.name == "alto" or ".alto." in path.name.lower()


def _likeness(folder: Path, other: Path) -> int:
    """Count the folders, from the innermost outwards, that two places have in common."""
    own, others = ([part for part in reversed(place.parts) if part not in _FOLDERS] for place in (folder, other))
    count = 0
    for a, b in zip(own, others, strict=False):
        if a != b:
            break
        count += 1
    return count


def _tell_other_image(source: str, path: Path, page: Page) -> None:
    """Warn of a segmentation that names another image. Stdin has no name, and that of an address means little."""
    named = image_name(page)
    # The same scan may be there in another format.
    if named and source != "-" and "://" not in source and Path(named).stem != Path(source).stem:
        log.warning("%s: is read with the lines of %s, which names %s", source, path, named)
