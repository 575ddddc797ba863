"""A document of two pages for the tests of formats, and what checks them."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quillread.errors import Fault
from quillread.formats.export import FORMATS
from quillread.types import Character, DocumentInfo, Line, Page, Polygon, Region, Scan, Transcript, Word

SCHEMAS = Path(__file__).parent / "data" / "schemas"
INFO = DocumentInfo("letters/a&b.pdf", 3, {"software": "quillread", "version": "1", "model": "builtin", "settings": {}})
ODD = 'a<b>&"c" \u0007 \U0001d518 שלום e\u0301'
"""Signs of XML, a control character, letters beyond the first plane, from right to left, with a mark of their own."""


def box(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    return Polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)))


def line(text: str, y: float, x: float = 100.0, name: str | None = None) -> Line:
    """A line 50 high whose characters are 30 wide."""
    words, at = [], x
    for word in text.split(" "):
        words.append(Word(word, 0.875, box(at, y, at + 30 * len(word), y + 50)))
        at += 30 * (len(word) + 1)
    characters = tuple(Character(c, 0.5, 30.0 * i, 30.0 * i + 30) for i, c in enumerate(text))
    read = Transcript(text, 0.75, tuple(words), characters)
    return Line(((x, y + 40), (at - 30, y + 40)), box(x - 5, y - 5, at - 25, y + 55), read, name)


def page(number: int = 1) -> Page:
    """A page of two regions: two lines; a line of odd text and one that was not read."""
    first = (line("Dear Sir,", 100), line("I am, yours", 200))
    second = (line(ODD, 400), Line(((100.0, 540.0), (300.0, 541.0)), box(95, 495, 305, 555)))
    regions = (Region(box(90, 90, 500, 260), first), Region(box(90, 390, 900, 560), second))
    return Page(INFO.source, number, 1000, 1400, regions)


def scan(number: int = 1, points: tuple[float, float] | None = None) -> Scan:
    """The page with a grey image."""
    return Scan(page(number), np.full((1400, 1000, 3), (230, 225, 210), np.uint8), points)


def failed(number: int = 2) -> Scan:
    fault = Fault("image", f"{INFO.source}, page {number}: broken", "scan it again")
    return Scan(Page(INFO.source, number, 0, 0, fault=fault))


def blank(number: int = 3) -> Scan:
    return replace(scan(number), page=Page(INFO.source, number, 1000, 1400))


def export(name: str, *scans: Scan, info: DocumentInfo = INFO, fault: Fault | None = None) -> bytes:
    """Write scans in a format."""
    file = io.BytesIO()
    writer = FORMATS[name].make(file)
    writer.begin(info)
    for item in scans:
        writer.add(item)
    writer.close(fault)
    return file.getvalue()


def schema(name: str) -> Any:
    """Load an XML schema without the network."""
    from lxml import etree

    class Local(etree.Resolver):
        def resolve(self, url: str, *_: object) -> Any:
            return self.resolve_filename(str(SCHEMAS / "xlink.xsd"), _[-1]) if "xlink" in url else None

    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(Local())
    return etree.XMLSchema(etree.parse(str(SCHEMAS / name), parser))
