"""Ground truth: which PAGE or ALTO file is about which image, and the other way round.

All that pairs the two goes through here: data sets of pages, the training and the evaluation of line finders,
segmentations that are given, and the images to read beside them.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from quillread.errors import DataError, Fault, InputError
from quillread.formats.alto import read_alto
from quillread.formats.pagexml import read_page_xml
from quillread.images.read import is_readable_name
from quillread.types import Page

_READERS = {b"PcGts": read_page_xml, b"alto": read_alto}
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
            raise DataError(f"{where}: holds no XML", hint="name a folder of PAGE or ALTO files")
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
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        root = re.search(rb"<(?:\w+:)?(PcGts|alto)\b", head)
        return _READERS[root[1]](path) if root else None
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
