"""What the readers of PAGE and ALTO share: safe parsing, and numbers with clear faults.

Files come from anywhere, so a document type is refused before anything in it is expanded: without one there
are no entities, no external files and no network.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from quillread.errors import DataError
from quillread.types import Point, Polygon


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
