"""ALTO (Library of Congress, versions 2 to 4), as eScriptorium, Kraken and Tesseract write it; written in version 4.4.

Specification: https://www.loc.gov/standards/alto/
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from xml.etree.ElementTree import Element

from quillread.errors import DataError, Fault
from quillread.formats.export import words_of
from quillread.formats.xml_io import Names, add, parse_points, parse_size, parse_xml, pixels, points, rectangle, write
from quillread.types import Box, DocumentInfo, Line, Page, Point, Polygon, Region, Scan, Transcript, Word
from quillread.version import __version__

_NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"

_TEXT_TAGS = ("String", "SP", "HYP")


def read_alto(path: Path) -> Page:
    """Read the ground truth of the first page of a file.

    Blocks and lines come in the order of the file, which is ALTO's reading order. Blocks without lines are
    skipped. A line without a baseline gets the bottom of its box for one, and a baseline of one number (ALTO
    2 and 3) is level. Text is the strings of a line, with confidence 1; without text, no transcript.

    Returns:
        The page; `source` is the image that the file names, in pixels of which the coordinates are.

    Raises:
        DataError: If the file cannot be read, is not ALTO, is not measured in pixels, or has a bad number.
    """
    root = parse_xml(path, "alto")
    unit = next((e.text or "" for e in root.iter() if e.tag == "MeasurementUnit"), "pixel").strip()
    if unit != "pixel":
        raise DataError(f"{path}: measured in {unit!r}, not in pixels", hint="export it again in pixels")
    page = next((element for element in root.iter() if element.tag == "Page"), None)
    if page is None:
        raise DataError(f"{path}: ALTO without a Page element")
    width, height = parse_size(page, "WIDTH", "HEIGHT", path)
    source = next((e.text or "" for e in root.iter() if e.tag == "fileName"), "").strip()
    blocks = (_read_block(element, path) for element in page.iter() if element.tag == "TextBlock")
    regions = tuple(block for block in blocks if block.lines)
    return Page(source=source or path.name, number=1, width=width, height=height, regions=regions)


def _read_block(element: Element, path: Path) -> Region:
    lines = tuple(_read_line(item, path) for item in element if item.tag == "TextLine")
    inner = [point for line in lines for point in line.polygon.points]
    return Region(Polygon(_outline(element, path) or rectangle(inner)), lines, element.get("ID"))


def _read_line(element: Element, path: Path) -> Line:
    outline = _outline(element, path)
    baseline = _baseline(element, path)
    if not outline and not baseline:
        raise DataError(f"{path}: TextLine {element.get('ID', '')} has neither a baseline nor an outline")
    outline = outline or rectangle(baseline)
    if not baseline:
        box = Polygon(outline).bounds
        baseline = ((box.x0, box.y1), (box.x1, box.y1))
    text = _text_of(element)
    return Line(baseline, Polygon(outline), Transcript(text, 1.0) if text else None, element.get("ID"))


def _outline(element: Element, path: Path) -> tuple[Point, ...]:
    """Return the polygon of an element, or else its box, or else nothing."""
    shape = element.find("Shape")
    polygon = shape.find("Polygon") if shape is not None else None
    if polygon is not None:
        corners = parse_points(polygon.get("POINTS", ""), f"{path}: {element.tag} {element.get('ID', '')}")
        if len(corners) >= 3:
            return corners
    box = [element.get(name) for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]
    if not all(box):
        return ()
    (x, y), (width, height) = parse_points(" ".join(map(str, box)), f"{path}: {element.tag}")
    return rectangle([(x, y), (x + width, y + height)])


def _baseline(element: Element, path: Path) -> tuple[Point, ...]:
    text = element.get("BASELINE", "").strip()
    where = f"{path}: TextLine {element.get('ID', '')}"
    if text and len(text.split()) == 1 and "," not in text:
        ends = [point[0] for point in _outline(element, path)]
        return parse_points(f"{min(ends)} {text} {max(ends)} {text}", where) if ends else ()
    line = parse_points(text, where)
    return line if len(line) >= 2 else ()


def _text_of(line: Element) -> str:
    """Join the strings of a line; files without any SP mean a space between each two."""
    parts: list[str] = []
    for item in line:
        if item.tag == "HYP" and parts:  # stands at the end of its word, never by itself
            parts[-1] += item.get("CONTENT", "")
        elif item.tag in _TEXT_TAGS:
            parts.append(" " if item.tag == "SP" else item.get("CONTENT", ""))
    return ("" if " " in parts else " ").join(parts).strip()


class AltoWriter:
    """Writes one page: blocks, lines and words with boxes, outlines, baselines and word confidences.

    Blocks and lines are in reading order. A line without words has one string with all of its text; one that was not
    read has an empty string, as in eScriptorium.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def begin(self, info: DocumentInfo) -> None:
        """Begin the document of one page."""
        self._info = info

    def add(self, scan: Scan) -> None:
        """Write the page."""
        page = scan.page
        root = Element("alto", {"xmlns": _NAMESPACE, "SCHEMAVERSION": "4.4"})
        names = Names(page)
        _add_description(root, page, self._info, names)
        size = {"WIDTH": page.width, "HEIGHT": page.height}
        layout = add(root, "Layout")
        sheet = add(layout, "Page", ID=names.take(None, "page"), PHYSICAL_IMG_NR=page.number, **size)
        space = add(sheet, "PrintSpace", HPOS=0, VPOS=0, **size)
        for number, region in enumerate(page.regions, start=1):
            block = _add_place(space, "TextBlock", names.take(region.id, f"b{number}"), region.polygon, page)
            for index, line in enumerate(region.lines, start=1):
                _add_line(block, line, names.take(line.id, f"b{number}l{index}"), page, names)
        write(root, self._file)

    def close(self, fault: Fault | None) -> None:
        """Nothing follows the page."""

    def abort(self) -> None:
        """Nothing is open."""


def _add_description(root: Element, page: Page, info: DocumentInfo, names: Names) -> None:
    description = add(root, "Description")
    add(description, "MeasurementUnit", "pixel")
    add(add(description, "sourceImageInformation"), "fileName", info.image_name)
    processing = add(description, "Processing", ID=names.take(None, "processing"))
    add(processing, "processingCategory", "contentGeneration")
    made = info.began or datetime.now(UTC)
    add(processing, "processingDateTime", made.strftime("%Y-%m-%dT%H:%M:%SZ"))
    add(processing, "processingStepDescription", f"model {info.provenance.get('model', 'unknown')}")
    if page.fault is not None:
        add(processing, "processingStepSettings", f"not read: {page.fault}")
    software = add(processing, "processingSoftware")
    add(software, "softwareName", "quillread")
    add(software, "softwareVersion", __version__)


def _add_place(parent: Element, tag: str, name: str, outline: Polygon, page: Page, **attributes: object) -> Element:
    """Add an element with its box and its outline."""
    element = add(parent, tag, ID=name, **_box(outline.bounds, page), **attributes)
    add(add(element, "Shape"), "Polygon", POINTS=points(outline.points, page))
    return element


def _box(box: Box, page: Page) -> dict[str, int]:
    x0, y0, x1, y1 = pixels(box, page)
    return {"HPOS": x0, "VPOS": y0, "WIDTH": x1 - x0, "HEIGHT": y1 - y0}


def _add_line(block: Element, line: Line, name: str, page: Page, names: Names) -> None:
    element = _add_place(block, "TextLine", name, line.polygon, page, BASELINE=points(line.baseline, page))
    # The schema wants a string in every line.
    words = words_of(line) or (Word("", 0.0, line.polygon),)
    for number, word in enumerate(words, start=1):
        box = word.polygon.bounds
        if number > 1:
            x = words[number - 2].polygon.bounds.x1
            add(element, "SP", HPOS=max(0, round(x)), VPOS=max(0, round(box.y0)), WIDTH=max(0, round(box.x0 - x)))
        confidence = f"{word.confidence:.4f}" if word.text else None
        string = names.take(None, f"{name}s{number}")
        _add_place(element, "String", string, word.polygon, page, CONTENT=word.text, WC=confidence)
