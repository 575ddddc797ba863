"""XML: read without entities or network and within limits, written as text.

Files come from anywhere, so a document type is refused before anything in it is expanded: without one there
are no entities, no external files and no network.
"""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, ParseError, SubElement, TreeBuilder, XMLParser

from quillread.errors import DataError
from quillread.types import Box, Page, Point, Polygon


class _StrictBuilder(TreeBuilder):
    """Builds elements under their names without namespace, and refuses a document type."""

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        return super().start(tag.rpartition("}")[2], attrs)

    def end(self, tag: str, /) -> Element:
        return super().end(tag.rpartition("}")[2])

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ParseError(f"a document type ({name}) is not allowed")


def parse_xml(path: Path, root_tag: str) -> Element:
    """Parse a file into elements whose tags carry no namespace.

    Raises:
        DataError: If the file cannot be read, is malformed, declares a document type, or has another root.
    """
    parser = XMLParser(target=_StrictBuilder())
    try:
        parser.feed(path.read_bytes())
        root = parser.close()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (ParseError, LookupError, ValueError) as error:
        hint = "export it again, without a document type: entities are not read"
        raise DataError(f"{path}: malformed XML: {error}", hint=hint) from error
    if root.tag != root_tag:
        raise DataError(f"{path}: the root element is {root.tag!r}, expected {root_tag!r}")
    return root


def parse_points(text: str, where: str) -> tuple[Point, ...]:
    """Read points written as `x,y x,y` or `x y x y`.

    Args:
        text: The attribute's value; empty for no points.
        where: File and element, for the error message.

    Raises:
        DataError: If a number is malformed or not finite, or if their count is odd.
    """
    try:
        numbers = [float(number) for number in re.split(r"[\s,]+", text.strip()) if number]
    except ValueError as error:
        raise DataError(f"{where}: malformed point: {error}") from error
    if len(numbers) % 2 or not all(map(math.isfinite, numbers)):
        raise DataError(f"{where}: {text[:40]!r} is not a list of points")
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def parse_size(page: Element, width: str, height: str, path: Path) -> tuple[int, int]:
    """Read the size of a page from its two attributes.

    Raises:
        DataError: If one is missing or no positive number.
    """
    values = page.get(width, ""), page.get(height, "")
    try:
        size = int(float(values[0])), int(float(values[1]))
    except (ValueError, OverflowError):
        size = 0, 0
    if min(size) < 1:
        raise DataError(f"{path}: {width} and {height} of the page are {values[0]!r} and {values[1]!r}")
    return size


def rectangle(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return the corners of the upright rectangle around points; () for no points."""
    if not points:
        return ()
    box = Polygon(tuple(points)).bounds
    return (box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)


_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAME = re.compile(r"[A-Za-z_][\w.\-]*", re.ASCII)


def clean(text: str) -> str:
    """Replace characters that XML cannot hold, such as control characters, with U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)


def add(parent: Element, tag: str, text: str | None = None, /, **attributes: object) -> Element:
    """Add an element; attributes that are None are skipped."""
    values = {name: clean(str(value)) for name, value in attributes.items() if value is not None}
    child = SubElement(parent, tag, values)
    child.text = None if text is None else clean(text)
    return child


class Names:
    """The ids of a document's elements: those that regions and lines of a given segmentation have stay theirs."""

    def __init__(self, page: Page) -> None:
        ids = [region.id for region in page.regions] + [line.id for line in page.lines]
        self._reserved = {name for name in ids if name}
        self._used: set[str] = set()

    def take(self, own: str | None, made: str) -> str:
        """Return the id of an element: its own if it has one that XML allows and no other has, else like `made`."""
        if own and own not in self._used and _NAME.fullmatch(own):
            name = own
        else:
            name = made
            while name in self._used or name in self._reserved:
                name += "x"
        self._used.add(name)
        return name


def points(values: Iterable[Point], page: Page) -> str:
    """Points as `x,y x,y`: integers on the page, as the schemas of PAGE and the tools that read it want them."""
    return " ".join(f"{min(max(round(x), 0), page.width)},{min(max(round(y), 0), page.height)}" for x, y in values)


def pixels(box: Box, page: Page) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a box in whole pixels of the page, with an area."""
    sizes = (page.width, page.height)
    x0, y0 = (min(max(int(v), 0), size - 1) for v, size in zip((box.x0, box.y0), sizes, strict=True))
    x1, y1 = (
        min(max(-int(-v // 1), low + 1), size) for v, low, size in zip((box.x1, box.y1), (x0, y0), sizes, strict=True)
    )
    return x0, y0, x1, y1


def write(root: Element, file: BinaryIO) -> None:
    """Write a document with its declaration, indented."""
    ElementTree.indent(root)
    file.write(b'<?xml version="1.0" encoding="UTF-8"?>\n')
    file.write(ElementTree.tostring(root, encoding="utf-8"))
    file.write(b"\n")
