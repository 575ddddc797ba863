"""Ground truth: which PAGE or ALTO file is about which image, and the other way round.

All that pairs the two goes through here: data sets of pages, the training and the evaluation of line finders,
segmentations that are given, and the images to read beside them.
"""

import importlib
import logging
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from quillread.errors import DataError, Fault, ImageError, InputError
from quillread.files import list_files
from quillread.formats.page_images import FOLDERS, PageImages, image_names, layout_stem
from quillread.formats.xml_io import root_name
from quillread.images.crop import check_extent
from quillread.types import Page, Region

log = logging.getLogger(__name__)

_READERS = {"PcGts": "quillread.formats.pagexml:read_page_xml", "alto": "quillread.formats.alto:read_alto"}
"""Root element -> "module:function", imported when there is such a file."""
_MOST_LINES = 10_000
"""Of a page: a newspaper has some 3,000."""
_MOST_AREA = 30
"""Pages that the lines of a page may cover together."""


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
    number: int = 1
    """Of the page in its image, from 1."""


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
        self.files = [where] if self.is_file else _list_xml(where)
        if not self.files:
            raise DataError(
                f"{where}: holds no PAGE or ALTO file",
                hint="put the XML beside the images, as page-1.xml beside page-1.jpg",
            )
        self._images = PageImages(where.parent if self.is_file else where)
        self._by_stem: dict[str, list[Path]] = {}
        for path in self.files:
            self._by_stem.setdefault(layout_stem(path).casefold(), []).append(path)
        self._by_name: dict[str, list[Path]] | None = None

    def pairs(self) -> list[Pair]:
        """Pair all files with their images, in the order of the names of these; XML of other kinds is skipped.

        `letter-0003.xml` that names `letter.pdf` is about its third page, if it has so many; so of a TIFF.
        Of the files about an image, one with text comes before one without, one with lines before one without, and
        then PAGE before ALTO.
        """
        found: dict[tuple[Path, int], list[Pair]] = {}
        for path in self.files:
            try:
                page = open_layout(path)
            except InputError as error:
                found[path, 0] = [Pair(path, fault=error.fault)]
                continue
            if page is None:
                continue
            try:
                image = self._images.find(path, page)
                number = self._images.number(path, image)
                found.setdefault((image.resolve(), number), []).append(Pair(path, image, page, number=number))
            except InputError as error:
                found[path, 0] = [Pair(path, page=page, fault=error.fault)]
        chosen = [max(pairs, key=lambda pair: _worth(pair.xml, pair.page)) for pairs in found.values()]
        return sorted(chosen, key=lambda pair: (by_number(pair.image or pair.xml), pair.number))

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
        found = next((paths for name in names if (paths := self._by_stem.get(name.casefold()))), [])
        if not found and count == 1:
            found = self._naming(image.name)
            names = [image.name[: dot.start()].casefold() for dot in re.finditer(r"\.", image.name)][::-1]
            found = found or next((paths for name in names if (paths := self._by_stem.get(name))), [])
        if not found:
            name = f"{image.stem}.xml" if count == 1 else f"{image.stem}-{number:04}.xml"
            raise DataError(f"{self.where} has no segmentation of it", hint=f"put it there as {name}")
        nearest = max(_likeness(path.parent, image.parent) for path in found)
        near = [path for path in found if _likeness(path.parent, image.parent) == nearest]
        return near[0] if len(near) == 1 else max(near, key=lambda path: _worth(path, _try_open(path)))

    def regions(self, source: str, number: int, count: int, size: tuple[int, int]) -> tuple[Region, ...]:
        """The lines of a page of an input, as the reader of its file returns them, some perhaps without an outline.

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
        return fit_page(page, size, path).regions

    def _naming(self, image: str) -> list[Path]:
        """Files that name an image; they are opened once, when the first is asked for."""
        if self._by_name is None:
            self._by_name = {}
            for path in self.files:
                page = _try_open(path)
                for name in image_names(page) if page else ():
                    self._by_name.setdefault(name.casefold(), []).append(path)
        return self._by_name.get(image.casefold(), [])


def list_layouts(where: Path) -> list[Path]:
    """List the XML files of a folder, searched recursively, in the order of their names; a file is the only one.

    Hidden files and folders are skipped: macOS puts such beside others on foreign disks, editors keep copies there.
    """
    return [path for path in _list_xml(where) if path.is_file()] if where.is_dir() else [where]


def _list_xml(where: Path) -> list[Path]:
    """The same, with links that lead nowhere and whatever else is not a file: opening one reports it."""
    return sorted((path for path in list_files(where) if path.suffix.lower() == ".xml"), key=by_number)


def open_layout(path: Path) -> Page | None:
    """Read a PAGE or ALTO file; None if it is another XML file.

    Raises:
        DataError: If it is damaged or cannot be opened, or its lines cannot be those of a page.
    """
    root = root_name(path)
    if root not in _READERS:
        return None
    module, _, name = _READERS[root].partition(":")
    page = cast(Page, getattr(importlib.import_module(module), name)(path))
    if page.width:
        _check_lines(page, path)
    return page


def fit_page(page: Page, size: tuple[int, int], path: Path, image: str = "the image") -> Page:
    """Make sure that a page is about an image of a size, or give it that size if its file says none.

    Args:
        page: Of `open_layout`.
        size: Width and height of the image in pixels.
        path: The file.
        image: How the error names the image.

    Raises:
        ImageError: If it is about an image of another size.
        DataError: If its file says no size, and its lines cannot be those of a page of this one.
    """
    hint = "read the image that the lines were drawn on"
    width, height = size
    if not page.width:
        page = replace(page, width=width, height=height)
        _check_lines(page, path)
        starts = [line.baseline[0] for line in page.lines]
        if beyond := [(x, y) for x, y in starts if not (-width / 9 <= x <= width and -height / 9 <= y <= height * 1.1)]:
            where = f"({beyond[0][0]:.0f}, {beyond[0][1]:.0f})"
            raise ImageError(f"{image} has {width} x {height} pixels, {path} has a line from {where}", hint=hint)
    if (page.width, page.height) != size:
        raise ImageError(
            f"{image} has {width} x {height} pixels, {path} is about one of {page.width} x {page.height}", hint=hint
        )
    return page


def _check_lines(page: Page, path: Path) -> None:
    """Refuse lines that no page has: time and memory grow with their number and size.

    Raises:
        DataError: If they are too many, or one is too long, or all together are too large.
    """
    size = (page.width, page.height)
    lines = page.lines
    if len(lines) > _MOST_LINES:
        message = f"{path}: has {len(lines):,} lines, more than the limit of {_MOST_LINES:,}"
        raise DataError(message, hint="correct the segmentation")
    area = 0.0
    for line in lines:
        try:
            check_extent(line, *size)
        except ImageError as error:
            name = f" ({line.id})" if line.id else ""
            raise DataError(f"{path}: {error.message}{name}", hint=error.hint) from error
        outline = np.clip(np.array(line.polygon.points), 0, size).astype(np.float32)
        area += math.prod(cv2.minAreaRect(outline)[1])
    if area > _MOST_AREA * page.width * page.height:
        covered = f"{area / (page.width * page.height):,.0f} times the page of {page.width} x {page.height} pixels"
        raise DataError(f"{path}: its {len(lines):,} lines cover {covered}", hint="correct the segmentation")


def _try_open(path: Path) -> Page | None:
    try:
        return open_layout(path)
    except InputError:
        return None  # said when it is asked for by its own name


def _worth(path: Path, page: Page | None) -> tuple[bool, bool, bool]:
    """Rank the files about an image: a workspace of OCR-D has one for each step that was done."""
    lines = page.lines if page else ()
    return any(line.transcript for line in lines), bool(lines), not _is_alto(path)


def place_below(folder: Path, image: Path) -> Path:
    """Return the path of an image below a folder; of one that lies elsewhere, that of its own folder."""
    return image.relative_to(folder) if image.is_relative_to(folder) else Path(image.parent.name, image.name)


def by_number(path: Path) -> list[str | int]:
    """The order of names with their numbers as numbers: `page-2` comes before `page-10`."""
    # Text and numbers take turns, beginning with text, so that like is compared with like.
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", str(path)))]


def _is_alto(path: Path) -> bool:
    return path.parent.name == "alto" or ".alto." in path.name.lower()


def _likeness(folder: Path, other: Path) -> int:
    """Count the folders, from the innermost outwards, that two places have in common."""
    own, others = ([part for part in reversed(place.parts) if part not in FOLDERS] for place in (folder, other))
    count = 0
    for a, b in zip(own, others, strict=False):
        if a != b:
            break
        count += 1
    return count


def _tell_other_image(source: str, path: Path, page: Page) -> None:
    """Warn of a segmentation that names another image. Stdin has no name, and that of an address means little."""
    names = image_names(page)
    # The same scan may be there in another format.
    stems = [Path(name).stem.casefold() for name in names]
    if names and source != "-" and "://" not in source and Path(source).stem.casefold() not in stems:
        log.warning("%s: is read with the lines of %s, which names %s", source, path, names[-1])
