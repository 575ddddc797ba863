"""PAGE XML (PRImA page content, versions 2013 and 2019), as Transkribus and eScriptorium write it.

Specification: https://github.com/PRImA-Research-Lab/PAGE-XML
"""

from pathlib import Path
from xml.etree.ElementTree import Element

from quillread.errors import DataError
from quillread.formats.safexml import parse_points, parse_size, parse_xml, rectangle
from quillread.types import Line, Page, Point, Polygon, Region, Transcript


def read_page_xml(path: Path) -> Page:
    """Read the ground truth of one page.

    Regions come in the order of `ReadingOrder` where the file has one; those it does not name follow in the
    order of the file, as lines do. Regions without lines are left out. A line without a baseline of two points has
    the lower edge of its outline for one; a line that has neither is left out. Text comes without
    spaces around it, with confidence 1; lines without text have no transcript.

    Returns:
        The page; `source` is the image that the file names, in pixels of which the coordinates are.

    Raises:
        DataError: If the file cannot be read, is no PAGE XML, or holds a malformed number.
    """
    root = parse_xml(path, "PcGts")
    page = root.find("Page")
    if page is None:
        raise DataError(f"{path}: PAGE XML without a Page element")
    width, height = parse_size(page, "imageWidth", "imageHeight", path)
    regions = (_read_region(element, path) for element in _ordered_regions(page))
    return Page(
        source=page.get("imageFilename", path.name),
        number=1,
        width=width,
        height=height,
        regions=tuple(region for region in regions if region.lines),
    )


def _ordered_regions(page: Element) -> list[Element]:
    regions = [element for element in page.iter() if element.tag == "TextRegion"]
    rank: dict[str, int] = {}
    order = page.find("ReadingOrder")
    if order is not None:
        for element in _walk_order(order):
            rank.setdefault(element.get("regionRef", ""), len(rank))
    return sorted(regions, key=lambda region: rank.get(region.get("id", ""), len(rank)))


def _walk_order(group: Element) -> list[Element]:
    """Return the region references below a group, each ordered group by its `index`."""
    members = sorted(group, key=lambda member: _index(member.get("index", "")))
    return [
        reference
        for member in members
        for reference in ([member] if member.get("regionRef") else []) + _walk_order(member)
    ]


def _index(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _read_region(element: Element, path: Path) -> Region:
    lines = tuple(line for item in element.findall("TextLine") if (line := _read_line(item, path)))
    outline = _points_of(element, "Coords", path)
    if len(outline) < 3:
        outline = rectangle([point for line in lines for point in line.polygon.points])
    return Region(Polygon(outline), lines)


def _read_line(element: Element, path: Path) -> Line | None:
    baseline = _points_of(element, "Baseline", path)
    outline = _points_of(element, "Coords", path)
    if len(outline) < 3:
        if len(baseline) < 2:
            return None
        outline = rectangle(baseline)
    if len(baseline) < 2:
        box = Polygon(outline).bounds
        baseline = ((box.x0, box.y1), (box.x1, box.y1))
    text = _text_of(element)
    return Line(baseline, Polygon(outline), Transcript(text, 1.0) if text else None)


def _points_of(element: Element, tag: str, path: Path) -> tuple[Point, ...]:
    holder = element.find(tag)
    if holder is None:
        return ()
    text = holder.get("points")
    if text is None:
        # Versions before 2013 hold one element per point.
        text = " ".join(f"{point.get('x')},{point.get('y')}" for point in holder.findall("Point"))
    return parse_points(text, f"{path}: {element.tag} {element.get('id', '')}")


def _text_of(element: Element) -> str:
    """Return the text of the reading with the lowest index."""
    readings = sorted(element.findall("TextEquiv"), key=lambda reading: _index(reading.get("index", "")))
    holder = readings[0].find("Unicode") if readings else None
    return (holder.text or "").strip() if holder is not None else ""
