"""Lines that are known already: PAGE or ALTO files as the segmentation."""

import logging
import re
from pathlib import Path
from typing import Protocol

from quillread.errors import DataError, ImageError, InputError
from quillread.formats.layout import outline_lines, read_layout
from quillread.types import Page, Region

log = logging.getLogger(__name__)

_SUFFIX = re.compile(r"(\.(page|alto))?\.xml$", re.IGNORECASE)
_FOLDERS = ("page", "alto")
"""Folders beside the images, in which Transkribus puts its XML: they say nothing of which image is meant."""


class Layouts(Protocol):
    """Knows the lines of pages before they are looked at."""

    def find(self, source: str, number: int, count: int, size: tuple[int, int]) -> tuple[Region, ...]:
        """Return the regions of a page.

        Args:
            source: The input as the user named it.
            number: Of the page, from 1.
            count: Pages of the input.
            size: Width and height of the page in pixels.

        Raises:
            InputError: If the lines of the page are not known, or are those of an image of another size.
        """


class GivenLayouts:
    """Segmentations from a PAGE or ALTO file, or from a folder of them, searched recursively.

    In a folder, `letter.xml`, `letter.page.xml` and `letter.alto.xml` are about `letter.jpg`, and those of
    `letter-0003` about the third page of `letter.pdf`; a file of another name is about the image that it names. Where
    several files would do, that counts whose folders are most like those of the image, and PAGE before ALTO.

    Args:
        where: A file or folder.

    Raises:
        DataError: If it is neither, or holds no XML.
    """

    def __init__(self, where: Path) -> None:
        self._where = where
        self._is_file = where.is_file()
        if not self._is_file and not where.is_dir():
            raise DataError(f"{where}: no such file or folder", hint="name a PAGE or ALTO file, or a folder of them")
        files = [where] if self._is_file else sorted(p for p in where.rglob("*") if _SUFFIX.search(p.name))
        if not files:
            raise DataError(f"{where}: holds no XML", hint="name a folder of PAGE or ALTO files")
        self._by_stem: dict[str, list[Path]] = {}
        for path in files:
            self._by_stem.setdefault(_SUFFIX.sub("", path.name), []).append(path)
        self._by_image: dict[str, list[Path]] | None = None

    def find(self, source: str, number: int, count: int, size: tuple[int, int]) -> tuple[Region, ...]:
        """Return the regions of a page; see `Layouts`."""
        path = self._find_file(source, number, count)
        page = _read(path)
        if self._is_file:
            _tell_other_image(source, path, page)
        if (page.width, page.height) != size:
            raise ImageError(
                f"the image has {size[0]} x {size[1]} pixels, {path} is about one of {page.width} x {page.height}",
                hint="read the image that the lines were drawn on",
            )
        return outline_lines(page).regions

    def _find_file(self, source: str, number: int, count: int) -> Path:
        if self._is_file:
            if count > 1:
                raise DataError(f"{self._where} is about one page", hint="name a folder with a file for each page")
            return self._where
        image = Path(source)
        # Of an image alone its own name comes first: the number in `letter-0001.xml` may be part of another image's.
        names = [image.stem, image.name] if count == 1 else []
        names.append(f"{image.stem}-{number:04}")
        found = next((paths for name in names if (paths := self._by_stem.get(name))), [])
        if not found and count == 1:
            found = self._naming(image.name)
        if not found:
            name = f"{image.stem}.xml" if count == 1 else f"{image.stem}-{number:04}.xml"
            raise DataError(f"{self._where} has no segmentation of it", hint=f"put it there as {name}")
        return max(found, key=lambda path: (_likeness(path.parent, image.parent), _is_page(path)))

    def _naming(self, image: str) -> list[Path]:
        """Files that name an image; they are opened once, when the first is asked for."""
        if self._by_image is None:
            self._by_image = {}
            for path in (path for paths in self._by_stem.values() for path in paths):
                try:
                    name = _image_name(_read(path))
                except InputError:
                    continue  # said when it is asked for by its own name
                self._by_image.setdefault(name, []).append(path)
        return self._by_image.get(image, [])


def _image_name(page: Page) -> str:
    """The image that a file names, without folders; empty if it names none."""
    return re.split(r"[/\\]", page.source)[-1]


def _tell_other_image(source: str, path: Path, page: Page) -> None:
    """Warn of a segmentation that names another image. Stdin has no name, and that of an address means little."""
    named = _image_name(page)
    # The same scan may be there in another format.
    if named and source != "-" and "://" not in source and Path(named).stem != Path(source).stem:
        log.warning("%s: is read with the lines of %s, which names %s", source, path, named)


def _read(path: Path) -> Page:
    try:
        page = read_layout(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="check its permissions") from error
    if page is None:
        raise DataError(f"{path}: is neither PAGE nor ALTO", hint="export the segmentation as PAGE or ALTO")
    return page


def _likeness(folder: Path, other: Path) -> int:
    """Count the folders, from the innermost outwards, that two places have in common."""
    own, others = ([part for part in reversed(place.parts) if part not in _FOLDERS] for place in (folder, other))
    count = 0
    for a, b in zip(own, others, strict=False):
        if a != b:
            break
        count += 1
    return count


def _is_page(path: Path) -> bool:
    return path.parent.name != "alto" and ".alto." not in path.name.lower()
