"""PAGE XML (PRImA page content), as Transkribus and eScriptorium write and read it; written in version 2019-07-15.

Specification: https://github.com/PRImA-Research-Lab/PAGE-XML
"""

import logging
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from xml.etree.ElementTree import Element

from quillread.errors import DataError, Fault
from quillread.formats.outlines import fit_words
from quillread.formats.xml_io import (
    Names,
    add,
    find_kind,
    is_picture,
    label_of,
    make_line,
    parse_points,
    parse_size,
    parse_xml,
    plain_text,
    points,
    rectangle,
    write,
)
from quillread.text.marks import Mark, find_marks
from quillread.types import DocumentInfo, Line, Page, Point, Polygon, Region, Scan
from quillread.version import __version__

log = logging.getLogger(__name__)

_NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
_STRUCTURE = re.compile(r"structure ?\{[^}]{0,200}?type: ?([^;}]{1,100})")
_PLACE = re.compile(r"readingOrder ?\{[^}]{0,40}?index: ?(\d{1,9})\b")


def read_page_xml(path: Path) -> Page:
    """Read the ground truth of one page.

    Regions come in the order of `ReadingOrder`, where the file has one, and else in that of Transkribus' attribute
    `custom`, as lines do in their region; those without a place follow in the order of the file. Regions without lines
    are skipped, but for pictures. A line without a baseline that has a length has the lower edge of its outline for
    one; a line that has neither is skipped. Text is that of the line, or else of its words, or of their glyphs; it has
    confidence 1. Lines without text have no transcript.

    Returns:
        The page; `source` is the image that the file names, in pixels of which the coordinates are.

    Raises:
        DataError: If the file cannot be read, is not PAGE XML, or holds a malformed number.
    """
    root = parse_xml(path, "PcGts")
    page = root.find("Page")
    if page is None:
        raise DataError(f"{path}: PAGE XML without a Page element")
    width, height = parse_size(page, "imageWidth", "imageHeight", path)
    found = [_read_region(element, path) for element in _ordered_regions(page)]
    skipped = [name for _, names in found for name in names]
    if skipped:
        few = ", ".join(skipped[:5]) + (", …" if len(skipped) > 5 else "")
        log.warning("%s: %d lines without a baseline or outline are skipped: %s", path, len(skipped), few)
    return Page(
        source=page.get("imageFilename", path.name),
        number=1,
        width=width,
        height=height,
        regions=tuple(region for region, _ in found if region.lines or is_picture(region)),
    )


def _ordered_regions(page: Element) -> list[Element]:
    rank: dict[str, int] = {}
    order = page.find("ReadingOrder")
    if order is not None:
        for element in _walk_order(order):
            rank.setdefault(element.get("regionRef", ""), len(rank))
    regions = _regions_below(page, rank, len(rank))
    return [element for _, element in sorted(regions, key=lambda region: region[0])]


def _regions_below(parent: Element, rank: Mapping[str, int], own: int) -> list[tuple[int, Element]]:
    """Return the regions below an element with their ranks; one that has none has that of the region around it."""
    found = []
    for element in _by_place(child for child in parent if child.tag != "TextLine"):
        place = rank.get(element.get("id", ""), own)
        # Transkribus puts the lines of tables into their cells.
        if element.tag in ("TextRegion", "TableCell", *_PICTURES):
            found.append((place, element))
        found += _regions_below(element, rank, place)
    return found


def _by_place(elements: Iterable[Element]) -> list[Element]:
    """Sort elements by the place that Transkribus gives them; those without one follow as they come."""
    places = [(_PLACE.search(element.get("custom", "")), element) for element in elements]
    return [element for found, element in sorted(places, key=lambda item: int(item[0][1]) if item[0] else math.inf)]


_TYPES = (
    "heading", "caption", "header", "footer", "page-number", "drop-capital", "credit", "floating", "signature-mark",
    "catch-word", "marginalia", "footnote", "footnote-continued", "endnote", "TOC-entry", "list-label",
)  # fmt: skip
"""Of text in PAGE, but for `paragraph` and `other`; other labels stand in `custom`, as in Transkribus."""
_PICTURES = ("ImageRegion", "GraphicRegion", "LineDrawingRegion", "ChartRegion", "MapRegion")


def _walk_order(group: Element) -> list[Element]:
    """Return the region references below a group, each ordered group by its `index`."""
    members = sorted(group, key=lambda member: _index(member.get("index", "")))
    return [
        reference
        for member in members
        for reference in ([member] if member.get("regionRef") else []) + _walk_order(member)
    ]


def _index(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def _read_region(element: Element, path: Path) -> tuple[Region, list[str]]:
    """Read a region; also returns the names of those of its lines that have neither a baseline nor an outline."""
    found = [(item.get("id", ""), _read_line(item, path)) for item in _by_place(element.findall("TextLine"))]
    lines = tuple(line for _, line in found if line)
    outline = _points_of(element, "Coords", path)
    if len(outline) < 3:
        outline = rectangle([point for line in lines for point in line.polygon.points])
    lost = [name for name, line in found if not line]
    if element.tag in _PICTURES:
        return Region(Polygon(outline), lines, element.get("id"), "picture", element.tag), lost
    own = _STRUCTURE.search(element.get("custom", ""))
    labels = [own[1].strip() if own else "", element.get("type", "")]
    told = find_kind(label for label in labels if label not in ("paragraph", "other"))
    return Region(Polygon(outline), lines, element.get("id"), *told), lost


def _read_line(element: Element, path: Path) -> Line | None:
    places = _points_of(element, "Baseline", path), _points_of(element, "Coords", path)
    return make_line(*places, _text_of(element), element.get("id"))


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
    """Return the text of the reading with the lowest index that has any, or else that of its parts."""
    readings = sorted(element.findall("TextEquiv"), key=lambda reading: _index(reading.get("index", "")))
    texts = (plain_text(reading.findtext("Unicode") or reading.findtext("PlainText") or "") for reading in readings)
    if own := next(filter(None, texts), ""):
        return own
    words = (_text_of(word) for word in _by_place(element.findall("Word")))
    return " ".join(word for word in words if word) or "".join(map(_text_of, _by_place(element.findall("Glyph"))))


class PageXmlWriter:
    """Writes one page: regions, lines and words with outlines, baselines, confidences and reading order.

    The file names the image without its folder, as the tools that read PAGE look for it beside the XML; of a document
    of several pages, the attribute `custom` of the page has the number.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def begin(self, info: DocumentInfo) -> None:
        """Begin the document of one page."""
        self._info = info

    def add(self, scan: Scan) -> None:
        """Write the page."""
        page, info = scan.page, self._info
        root = Element("PcGts", {"xmlns": _NAMESPACE})
        _add_metadata(root, page, info)
        custom = f"quillread {{page:{page.number};}}" if info.page_count > 1 else None
        size = {"imageWidth": page.width, "imageHeight": page.height}
        holder = add(root, "Page", imageFilename=info.image_name, **size, custom=custom)
        names = Names(page)
        ids = [names.take(region.id, f"r{number}") for number, region in enumerate(page.regions, start=1)]
        if ids:
            order = add(add(holder, "ReadingOrder"), "OrderedGroup", id=names.take(None, "order"))
            for index, name in enumerate(ids):
                add(order, "RegionRefIndexed", index=index, regionRef=name)
        for index, (name, region) in enumerate(zip(ids, page.regions, strict=True)):
            _add_region(holder, region, (index, name), page, names)
        write(root, self._file)

    def close(self, fault: Fault | None) -> None:
        """Nothing follows the page."""

    def abort(self) -> None:
        """Nothing is open."""


def _add_metadata(root: Element, page: Page, info: DocumentInfo) -> None:
    metadata = add(root, "Metadata")
    add(metadata, "Creator", f"quillread {__version__}")
    now = (info.began or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    add(metadata, "Created", now)
    add(metadata, "LastChange", now)
    if page.fault is not None:
        add(metadata, "Comments", f"not read: {page.fault}")
    if model := page.model or info.provenance.get("model"):
        add(metadata, "MetadataItem", type="processingStep", name="text recognition", value=model)


def _add_region(holder: Element, region: Region, place: tuple[int, str], page: Page, names: Names) -> None:
    index, name = place
    custom = f"readingOrder {{index:{index};}}"
    if region.kind == "picture" and not region.lines:
        tag = region.label if region.label in _PICTURES else "ImageRegion"
        add(add(holder, tag, id=name, custom=custom), "Coords", points=points(region.polygon.points, page))
        return
    label = label_of(region)
    if label and label not in _TYPES:
        custom += f" structure {{type:{re.sub('[{};]', '', label)};}}"
    kind = "paragraph" if label is None else label if label in _TYPES else "other"
    element = add(holder, "TextRegion", id=name, type=kind, custom=custom)
    add(element, "Coords", points=points(region.polygon.points, page))
    for number, line in enumerate(region.lines):
        _add_line(element, line, (number, names.take(line.id, f"r{index + 1}l{number + 1}")), page, names)
    text = "\n".join(line.transcript.text for line in region.lines if line.transcript)
    if text:
        add(add(element, "TextEquiv"), "Unicode", text)


def _add_line(parent: Element, line: Line, place: tuple[int, str], page: Page, names: Names) -> None:
    index, name = place
    text = line.transcript.text if line.transcript else ""
    custom = " ".join([f"readingOrder {{index:{index};}}", *map(_custom, find_marks(text))])
    element = add(parent, "TextLine", id=name, custom=custom)
    if line.printed:
        element.set("production", "printed")
    add(element, "Coords", points=points(line.polygon.points, page))
    add(element, "Baseline", points=points(line.baseline, page))
    if line.transcript is None:
        return
    for number, word in enumerate(fit_words(line, line.transcript.words), start=1):
        part = add(element, "Word", id=names.take(None, f"{name}w{number}"))
        add(part, "Coords", points=points(word.polygon.points, page))
        add(add(part, "TextEquiv", conf=f"{word.confidence:.4f}"), "Unicode", word.text)
    add(add(element, "TextEquiv", conf=f"{line.transcript.confidence:.4f}"), "Unicode", line.transcript.text)


_CUSTOM = {
    "illegible": "gap {{offset:{0}; length:{1};}}",
    "struck": "textStyle {{offset:{0}; length:{1};strikethrough:true;}}",
    "added": "add {{offset:{0}; length:{1};place:above;}}",
    "expanded": "expansion {{offset:{0}; length:{1};}}",
}
"""Marks as Transkribus writes tags of a text; offsets count characters of the text with the signs of the marks."""


def _custom(mark: Mark) -> str:
    return _CUSTOM[mark.kind].format(mark.start, mark.stop - mark.start)
