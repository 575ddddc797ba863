"""ALTO (Library of Congress, versions 2 to 4), as eScriptorium, Kraken and Tesseract write it.

Specification: https://www.loc.gov/standards/alto/
"""

from pathlib import Path
from xml.etree.ElementTree import Element

from quillread.errors import DataError
from quillread.formats.safexml import parse_points, parse_size, parse_xml, rectangle
from quillread.types import Line, Page, Point, Polygon, Region, Transcript

_TEXT_TAGS = ("String", "SP", "HYP")


def read_alto(path: Path) -> Page:
    """Read the ground truth of the first page of a file.

    Blocks and lines come in the order of the file, which is ALTO's reading order. Blocks without lines are
    left out. A line without a baseline gets the bottom of its box for one, and a baseline of one number (ALTO
    2 and 3) is level. Text is the strings of a line, with confidence 1; without text, no transcript.

    Returns:
        The page; `source` is the image that the file names, in pixels of which the coordinates are.

    Raises:
        DataError: If the file cannot be read, is no ALTO, is not measured in pixels, or has a bad number.
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
    points = [point for line in lines for point in line.polygon.points]
    return Region(Polygon(_outline(element, path) or rectangle(points)), lines)


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
    return Line(baseline, Polygon(outline), Transcript(text, 1.0) if text else None)


def _outline(element: Element, path: Path) -> tuple[Point, ...]:
    """Return the polygon of an element, or else its box, or else nothing."""
    shape = element.find("Shape")
    polygon = shape.find("Polygon") if shape is not None else None
    if polygon is not None:
        points = parse_points(polygon.get("POINTS", ""), f"{path}: {element.tag} {element.get('ID', '')}")
        if len(points) >= 3:
            return points
    box = [element.get(name) for name in ("HPOS", "VPOS", "WIDTH", "HEIGHT")]
    if None in box:
        return ()
    (x, y), (width, height) = parse_points(" ".join(map(str, box)), f"{path}: {element.tag}")
    return rectangle([(x, y), (x + width, y + height)])


def _baseline(element: Element, path: Path) -> tuple[Point, ...]:
    text = element.get("BASELINE", "").strip()
    where = f"{path}: TextLine {element.get('ID', '')}"
    if text and len(text.split()) == 1 and "," not in text:
        ends = [point[0] for point in _outline(element, path)]
        return parse_points(f"{min(ends)} {text} {max(ends)} {text}", where) if ends else ()
    points = parse_points(text, where)
    return points if len(points) >= 2 else ()


def _text_of(line: Element) -> str:
    """Join the strings of a line; files without any SP mean a space between each two."""
    parts = [" " if item.tag == "SP" else item.get("CONTENT", "") for item in line if item.tag in _TEXT_TAGS]
    return ("" if " " in parts else " ").join(parts).strip()
