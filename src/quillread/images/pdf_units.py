"""UserUnit of PDF pages (PDF 1.6, section 10.2.2): the points that a unit is on paper, which PDFium ignores."""

import re
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

_MOST_BYTES = 256 << 20
_MOST_UNPACKED = 64 << 20
"""Bytes of one object stream at most; those of real files have some 100,000."""
_LONGEST = 1 << 20
"""Bytes of one dictionary at most."""
_NAME = b"/UserUnit"
_NUMBER = re.compile(rb"(?<!\d)(\d{1,10})\s+\d{1,5}\s+$")
_REFERENCE = re.compile(rb"(\d{1,10})\s+\d{1,5}\s+R\b")
_UNIT = re.compile(_NAME + rb"\s+(\d+\.?\d*|\.\d+)")
_KIDS = re.compile(rb"/Kids\s*(\[[^\]]*\]|\d+\s+\d+\s+R\b)")
_END = re.compile(rb"\bendobj\b|\bstream\b")


def user_units(source: Path | bytes, count: int) -> list[float]:
    """Read the unit of each page.

    Object streams and files that were added to (the last version of an object counts) are read; encrypted object
    streams are not.

    Args:
        source: The file, or its content.
        count: Pages that it has.

    Returns:
        Points per unit, 1 where a page says nothing, the pages cannot be followed or the file is very large.
    """
    plain = [1.0] * count
    if (len(source) if isinstance(source, bytes) else source.stat().st_size) > _MOST_BYTES:
        return plain
    pdf = source if isinstance(source, bytes) else source.read_bytes()
    if _NAME not in pdf and b"/ObjStm" not in pdf:
        return plain
    objects = dict(_objects(pdf))
    if not any(_NAME in body for body in objects.values()):
        return plain
    root = max((key for key, body in objects.items() if re.search(rb"/Type\s*/Catalog\b", body)), default=None)
    pages = re.search(rb"/Pages\s+" + _REFERENCE.pattern, objects[root]) if root is not None else None
    units = list(islice(_leaves(objects, int(pages[1]), set()), count + 1)) if pages else []
    return units if len(units) == count else plain


def _objects(pdf: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and dictionary of each object, in the order of the file."""
    at = pdf.find(b"obj")
    while at >= 0:
        start = at + 3
        if match := _NUMBER.search(pdf[max(0, at - 24) : at]):
            end = _END.search(pdf, start, start + _LONGEST)
            body = pdf[start : end.start() if end else start]
            if b"/ObjStm" in body and end and end[0] == b"stream":
                yield from _unpack(body, pdf, end.end())
            else:
                yield int(match[1]), body
        at = pdf.find(b"obj", start)


def _unpack(header: bytes, pdf: bytes, start: int) -> Iterator[tuple[int, bytes]]:
    """Yield the objects of an object stream (section 7.5.7): pairs of number and place come first, then the objects."""
    first = re.search(rb"/First\s+(\d+)", header)
    start += 2 if pdf[start : start + 2] == b"\r\n" else 1
    end = pdf.find(b"endstream", start)
    try:
        content = pdf[start:end]
        if b"FlateDecode" in header:
            content = zlib.decompressobj().decompress(content, _MOST_UNPACKED)
        offset = int(first[1]) if first else 0
        numbers = [int(part) for part in content[:offset].split()]
    except (zlib.error, ValueError):
        return  # encrypted, or filtered in another way
    places = [offset + place for place in numbers[1::2]]
    for number, begin, stop in zip(numbers[::2], places, [*places[1:], len(content)], strict=False):
        yield number, content[begin:stop]


def _leaves(objects: dict[int, bytes], number: int, above: set[int]) -> Iterator[float]:
    """Yield the units of the pages below a node of the page tree, in order; a page that is missing counts."""
    body = objects.get(number, b"")
    kids = _KIDS.search(body)
    if kids is None:
        unit = _UNIT.search(body)
        yield float(unit[1]) or 1.0 if unit else 1.0
    elif number not in above and len(above) < 100:
        listed = kids[1] if kids[1].startswith(b"[") else objects.get(int(kids[1].split()[0]), b"")
        for kid in _REFERENCE.findall(listed):
            yield from _leaves(objects, int(kid), above | {number})
