"""Pages whose lines are known, from PAGE or ALTO files, whichever it is."""

import re
from collections.abc import Iterator
from pathlib import Path

from quillread.errors import DataError
from quillread.formats.alto import read_alto
from quillread.formats.pagexml import read_page_xml
from quillread.images.read import is_readable_name
from quillread.types import Page

_READERS = {b"PcGts": read_page_xml, b"alto": read_alto}
_FOLDERS = ("page", "alto")
"""Folders beside the images, in which Transkribus puts its XML."""


def read_layout(path: Path) -> Page | None:
    """Read a PAGE or ALTO file; None if it is another XML file.

    Raises:
        DataError: If it is damaged.
        OSError: If it cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    root = re.search(rb"<(?:\w+:)?(PcGts|alto)\b", head)
    return _READERS[root[1]](path) if root else None


def find_layouts(folder: Path) -> Iterator[tuple[Path, Page]]:
    """Read all PAGE and ALTO files below a folder that know of lines, in the order of their names.

    Raises:
        DataError: If there is none, or one is damaged.
    """
    found = 0
    for path in sorted(folder.rglob("*.xml")):
        page = read_layout(path)
        if page and page.lines:
            found += 1
            yield path, page
    if not found:
        raise DataError(f"{folder}: holds no PAGE or ALTO file with lines")


def find_image(path: Path, page: Page) -> Path:
    """Find the image of a PAGE or ALTO file: of its stem, or else of the name that it says, beside it or one above.

    Raises:
        DataError: If there is none.
    """
    places = [path.parent, *([path.parent.parent] if path.parent.name in _FOLDERS else [])]
    named = re.split(r"[/\\]", page.source)[-1]  # the rest of it is a path on another machine
    stem = re.sub(r"([*?\[])", r"[\1]", path.stem)
    for place in places:
        same_stem = sorted(p for p in place.glob(f"{stem}.*") if is_readable_name(p))
        for image in (*same_stem, place / named):
            if image.is_file() and is_readable_name(image):
                return image
    raise DataError(f"{path}: has no image of its name beside it")
