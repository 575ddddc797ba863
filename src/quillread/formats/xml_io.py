"""XML: read without entities or network and within limits, written as text.

Files come from anywhere, so a document type is refused before anything in it is expanded: without one there
are no entities, no external files and no network.
"""

import math
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, ParseError, SubElement, TreeBuilder, XMLParser
from xml.parsers import expat

from quillread.errors import DataError
from quillread.types import Box, Line, Page, Point, Polygon, Region, RegionKind, Transcript

MOST_BYTES = 32 << 20
"""Larger files are not read: a page of a newspaper with the place of every letter has some 20 MB."""
_MOST_ELEMENTS = 1_000_000
_MOST_NESTED = 100
_MOST_POINTS = 100_000
"""Of one outline or baseline."""
_PIECE = 1 << 20
_HEAD = 1 << 20
"""Bytes within which the root element stands: before it come a declaration and comments."""
_ABOVE = 0.1
"""How far the middle of an outline is above the baseline that it stands on, in heights of it, at least."""
_HYPHENS = ("-", "\u2010", "\u2e17", "\u00ac", "=")


class _StrictBuilder(TreeBuilder):
    """Builds elements under their names without namespace, and refuses a document type and what exceeds the limits."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0
        self._count = 0
        self._names: dict[str, str] = {}

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        self._depth += 1
        self._count += 1
        if self._depth > _MOST_NESTED:
            raise ParseError(f"elements are nested more than {_MOST_NESTED} deep")
        if self._count > _MOST_ELEMENTS:
            raise ParseError(f"more than {_MOST_ELEMENTS:,} elements")
        return super().start(self._bare(tag), attrs)

    def end(self, tag: str, /) -> Element:
        self._depth -= 1
        return super().end(self._bare(tag))

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ParseError(f"a document type ({name}) is not allowed")

    def _bare(self, tag: str) -> str:
        # All elements of a name share one string.
        return self._names.get(tag) or self._names.setdefault(tag, tag.rpartition("}")[2])


def root_name(path: Path) -> str:
    """Return the name of the root element of an XML file without its namespace, in whatever encoding.

    Raises:
        DataError: If the file cannot be read or is not XML.
    """
    names: list[str] = []
    parser = expat.ParserCreate(namespace_separator="}")
    parser.StartElementHandler = lambda name, _: names.append(name)
    try:
        with _open(path) as file:
            while not names and (piece := file.read(4096)) and file.tell() <= _HEAD:
                parser.Parse(piece)
            if not names:
                parser.Parse(b"", True)
    except (expat.ExpatError, LookupError, ValueError) as error:
        if not names:
            raise _malformed(path, error) from error
    return names[0].rpartition("}")[2]


def parse_xml(path: Path, root_tag: str) -> Element:
    """Parse a file into elements whose tags carry no namespace.

    Raises:
        DataError: If the file cannot be read, is malformed, declares a document type, is larger than a page of writing
            can be, or has another root.
    """
    parser = XMLParser(target=_StrictBuilder())
    try:
        with _open(path) as file:
            # What a handler refuses ends the parser only with the piece.
            while piece := file.read(_PIECE):
                parser.feed(piece)
        root = parser.close()
    except (ParseError, LookupError, ValueError) as error:
        raise _malformed(path, error) from error
    if root.tag != root_tag:
        raise DataError(f"{path}: the root element is {root.tag!r}, expected {root_tag!r}")
    return root


@contextmanager
def _open(path: Path) -> Iterator[BinaryIO]:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # to open a pipe would wait for whoever writes into it
            raise DataError(f"{path}: is not a file", hint="name a PAGE or ALTO file")
        if found.st_size > MOST_BYTES:
            message = f"{path}: has {found.st_size:,} bytes, more than the limit of {MOST_BYTES:,}"
            raise DataError(message, hint="export a file for each page")
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="check its permissions") from error


def _malformed(path: Path, error: Exception) -> DataError:
    hint = "export it again, without a document type: entities are not read"
    return DataError(f"{path}: malformed XML: {error}", hint=hint)


def plain_text(text: str) -> str:
    """Return the text of a line as it is on the paper.

    Line breaks and tabs, with which programs lay XML out, are spaces. A soft hyphen at the end is the hyphen that is
    seen there; elsewhere none is seen.
    """
    text = re.sub(r"[ \t\r\n]*[\t\r\n][ \t\r\n]*", " ", text).strip()
    before = text.rstrip("\u00ad")
    if before != text and not before.endswith(_HYPHENS):
        before += "-"
    return before.replace("\u00ad", "")


def make_line(baseline: Sequence[Point], outline: Sequence[Point], text: str, name: str | None) -> Line | None:
    """Make a line of what a file says of it.

    Without a baseline that has a length, the lower edge of its outline serves; without an outline, the box of its
    baseline. A baseline that runs to the left although its outline stands above it, as people draw it for Hebrew and
    Arabic, is turned round: of writing upside down, the outline hangs below.

    Args:
        baseline: Empty if there is none.
        outline: Empty if there is none.
        text: Empty if there is none.
        name: Its id.

    Returns:
        The line, or None if it has neither.
    """
    has_length = len(set(baseline)) > 1
    if len(outline) < 3:
        if not has_length:
            return None
        outline = rectangle(baseline)
    if not has_length:
        box = Polygon(tuple(outline)).bounds
        baseline = ((box.x0, box.y1), (box.x1, box.y1))
    elif _runs_backwards(baseline, outline):
        baseline = baseline[::-1]
    return Line(tuple(baseline), Polygon(tuple(outline)), Transcript(text, 1.0) if text else None, name)


def _runs_backwards(baseline: Sequence[Point], outline: Sequence[Point]) -> bool:
    """Tell whether a baseline runs to the left below the middle of its outline."""
    (first, start), (last, end) = baseline[0], baseline[-1]
    if first - last <= abs(end - start):
        return False
    left, top = outline[0]
    area = x = y = 0.0  # twice the area, and six times its moments
    corners = [(px - left, py - top) for px, py in outline]
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        cross = ax * by - bx * ay
        area, x, y = area + cross, x + cross * (ax + bx), y + cross * (ay + by)
    if area == 0:
        return False
    x, y = left + x / (3 * area), top + y / (3 * area)
    beside = min(pairwise(baseline), key=lambda pair: max(pair[1][0] - x, x - pair[0][0]))
    (ax, ay), (bx, by) = beside
    foot = ay if ax == bx else ay + (by - ay) * (x - ax) / (bx - ax)
    return foot - y > _ABOVE * abs(area) / 2 / (first - last)


def parse_points(text: str, where: str) -> tuple[Point, ...]:
    """Read points written as `x,y x,y` or `x y x y`.

    Args:
        text: The attribute's value; empty for no points.
        where: File and element, for the error message.

    Raises:
        DataError: If a number is malformed or not finite, if their count is odd, or if they are too many.
    """
    try:
        # A point has 20 characters at most, but for fractions that nobody measures.
        words = re.split(r"[\s,]+", text.strip()) if len(text) <= 20 * _MOST_POINTS else []
        numbers = [float(number) for number in words if number]
    except ValueError as error:
        raise DataError(f"{where}: malformed point: {error}") from error
    if len(text) > 20 * _MOST_POINTS or len(numbers) > 2 * _MOST_POINTS:
        raise DataError(f"{where}: has more than {_MOST_POINTS:,} points", hint="correct the segmentation")
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
_START = (
    "A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d\u2070-\u218f\u2c00-\u2fef"
    "\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
)
_NAME = re.compile(f"[{_START}][{_START}.0-9\u00b7\u0300-\u036f\u203f\u2040-]*")
"""NCName of Namespaces in XML 1.0: letters of all scripts, no colon."""


def clean(text: str) -> str:
    """Replace characters that XML cannot hold, such as control characters, with U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)


def add(parent: Element, tag: str, text: str | None = None, /, **attributes: object) -> Element:
    """Add an element; attributes that are None are skipped."""
    values = {name: clean(str(value)) for name, value in attributes.items() if value is not None}
    child = SubElement(parent, tag, values)
    child.text = None if text is None else clean(text)
    return child


LABELS: dict[RegionKind, str] = {"heading": "heading", "margin": "marginalia", "table": "table", "picture": "image"}
"""What regions of a kind are called in files, in the words of PAGE."""
_KINDS = {label: kind for kind, label in LABELS.items()}


def find_kind(labels: Iterable[str]) -> tuple[RegionKind, str | None]:
    """Tell the kind of a region that a file calls something, and its label: the one that says the kind, or the first.

    Args:
        labels: May be empty, as may be each.
    """
    named = [label for label in labels if label]
    label = next((label for label in named if label in _KINDS), named[0] if named else None)
    return _KINDS.get(label or "", "text"), label


def is_picture(region: Region) -> bool:
    """Whether a region is a picture with an outline, which stays though it has no lines."""
    return region.kind == "picture" and len(region.polygon.points) > 2


def label_of(region: Region) -> str | None:
    """Return what a file calls a region: what it was called where it comes from, if it is of that kind still."""
    is_told = region.label and _KINDS.get(region.label, "text") == region.kind
    return region.label if is_told else LABELS.get(region.kind)


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

    def tag(self, label: str, number: int) -> str:
        """Return an id for a tag, like its label if XML allows that."""
        return self.take(None, f"tag_{label}" if _NAME.fullmatch(f"tag_{label}") else f"tag_{number}")


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
