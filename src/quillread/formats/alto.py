"""ALTO (Library of Congress, versions 2 to 4), as eScriptorium, Kraken and Tesseract write it; written in version 4.4.

Specification: https://www.loc.gov/standards/alto/
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from xml.etree.ElementTree import Element

from quillread.errors import DataError, Fault
from quillread.formats.export import words_of
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
    pixels,
    plain_text,
    points,
    rectangle,
    write,
)
from quillread.types import Box, DocumentInfo, Line, Page, Point, Polygon, Region, Scan, Word
from quillread.version import __version__

_NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"

_BLOCKS = ("TextBlock", "Illustration")
_TEXT_TAGS = ("String", "SP", "HYP")


def read_alto(path: Path) -> Page:
    """Read the ground truth of the first page of a file.

    Blocks and lines come in the order of `ReadingOrder` (version 4.3), where the file has one, blocks else in that of
    their `IDNEXT`; those without a place follow in the order of the file. Blocks without lines are skipped, but for
    illustrations; what a block is says a tag that `AltoWriter` would give it. A line without a baseline that has a
    length gets the bottom of its box for one, and a baseline of one number (ALTO 2 and 3) is level. Text is the
    strings of a line, with confidence 1; without text, no transcript.

    Returns:
        The page; `source` is the image that the file names, in pixels of which the coordinates are. Its size is 0 x 0
        where the file does not say it.

    Raises:
        DataError: If the file cannot be read, is not ALTO, is not measured in pixels, or has a bad number.
    """
    root = parse_xml(path, "alto")
    unit = next((e.text or "" for e in root.iter() if e.tag == "MeasurementUnit"), "pixel").strip()
    if unit.lower() != "pixel":
        raise DataError(f"{path}: measured in {unit!r}, not in pixels", hint="export it again in pixels")
    page = next((element for element in root.iter() if element.tag == "Page"), None)
    if page is None:
        raise DataError(f"{path}: ALTO without a Page element")
    is_sized = page.get("WIDTH") or page.get("HEIGHT")
    width, height = parse_size(page, "WIDTH", "HEIGHT", path) if is_sized else (0, 0)
    source = next((e.text or "" for e in root.iter() if e.tag == "fileName"), "").strip()
    rank = _reading_order(root)
    labels = {tag.get("ID", ""): tag.get("LABEL", "") for tags in root.iter("Tags") for tag in tags}
    blocks = (_read_block(element, rank, labels, path) for element in _ordered_blocks(page, rank))
    regions = tuple(block for block in blocks if block.lines or is_picture(block))
    return Page(source=source or path.name, number=1, width=width, height=height, regions=regions)


def _reading_order(root: Element) -> dict[str, int]:
    """Return the place of each element that `ReadingOrder` names; of several orders, the first counts."""
    order = root.find("ReadingOrder")
    names = [name for item in (() if order is None else order.iter()) for name in item.get("REF", "").split()]
    return {name: place for place, name in reversed(list(enumerate(names)))}


def _ordered_blocks(page: Element, rank: Mapping[str, int]) -> list[Element]:
    if not rank:
        return [element for element in _chained(list(page.iter())) if element.tag in _BLOCKS]
    blocks = [item for part in page for item in _blocks_below(part, rank, len(rank))]
    return [element for _, element in sorted(blocks, key=lambda block: block[0])]


def _blocks_below(element: Element, rank: Mapping[str, int], own: int) -> list[tuple[int, Element]]:
    """Return the text blocks of an element with their ranks: their own, that of a line, or that of the block around."""
    place = rank.get(element.get("ID", ""), own)
    if element.tag not in _BLOCKS:
        return [item for part in element for item in _blocks_below(part, rank, place)]
    if element.get("ID") not in rank:
        place = min((rank[name] for line in element if (name := line.get("ID", "")) in rank), default=place)
    return [(place, element)]


def _chained(elements: Sequence[Element]) -> list[Element]:
    """Put elements into the order in which each names the next one by `IDNEXT`."""
    named = {name: element for element in elements if (name := element.get("ID"))}
    following = {element.get("IDNEXT") for element in elements}
    starts = [element for element in elements if element.get("ID") not in following]
    done: dict[int, Element] = {}
    for start in (*starts, *elements):  # the latter for those in a circle
        element: Element | None = start
        while element is not None and id(element) not in done:
            done[id(element)] = element
            element = named.get(element.get("IDNEXT", ""))
    return list(done.values())


def _read_block(element: Element, rank: Mapping[str, int], labels: Mapping[str, str], path: Path) -> Region:
    items = [item for item in element if item.tag == "TextLine"]
    items.sort(key=lambda item: rank.get(item.get("ID", ""), len(rank)))
    lines = tuple(_read_line(item, path) for item in items)
    inner = [point for line in lines for point in line.polygon.points]
    outline = Polygon(_outline(element, path) or rectangle(inner))
    kind, label = find_kind(labels.get(name, "") for name in element.get("TAGREFS", "").split())
    return Region(outline, lines, element.get("ID"), "picture" if element.tag == "Illustration" else kind, label)


def _read_line(element: Element, path: Path) -> Line:
    outline = _outline(element, path)
    baseline = _baseline(element, outline, path)
    if not outline and len(set(baseline)) < 2:
        outline = rectangle([point for item in element if item.tag == "String" for point in _outline(item, path)])
    line = make_line(baseline, outline, _text_of(element), element.get("ID"))
    if line is None:
        raise DataError(f"{path}: TextLine {element.get('ID', '')} has neither a baseline nor an outline")
    return line


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


def _baseline(element: Element, outline: Sequence[Point], path: Path) -> tuple[Point, ...]:
    text = element.get("BASELINE", "").strip()
    where = f"{path}: TextLine {element.get('ID', '')}"
    if text and len(text.split()) == 1 and "," not in text:
        ends = [point[0] for point in outline]
        return parse_points(f"{min(ends)} {text} {max(ends)} {text}", where) if ends else ()
    return parse_points(text, where)


def _text_of(line: Element) -> str:
    """Join the strings of a line; files without any SP mean a space between each two."""
    parts: list[str] = []
    for item in line:
        if item.tag == "HYP" and parts:  # stands at the end of its word, never by itself
            hyphen = item.get("CONTENT", "-")
            parts[-1] += "" if parts[-1].endswith(hyphen) else hyphen
        elif item.tag in _TEXT_TAGS:
            parts.append(" " if item.tag == "SP" else _content(item))
    return plain_text(("" if " " in parts else " ").join(parts))


def _content(item: Element) -> str:
    """Return the text of a string, or else of its glyphs."""
    return item.get("CONTENT") or "".join(glyph.get("CONTENT", "") for glyph in item if glyph.tag == "Glyph")


class AltoWriter:
    """Writes one page: blocks, lines and words with boxes, outlines, baselines and word confidences.

    Blocks that are more than text have a tag that says what they are; a picture without lines is an `Illustration`.
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
        tags = _add_tags(root, page, names)
        size = {"WIDTH": page.width, "HEIGHT": page.height}
        layout = add(root, "Layout")
        sheet = add(layout, "Page", ID=names.take(None, "page"), PHYSICAL_IMG_NR=page.number, **size)
        space = add(sheet, "PrintSpace", HPOS=0, VPOS=0, **size)
        for number, region in enumerate(page.regions, start=1):
            element = "Illustration" if region.kind == "picture" and not region.lines else "TextBlock"
            name, tag = names.take(region.id, f"b{number}"), tags.get(label_of(region) or "")
            block = _add_place(space, element, name, region.polygon, page, TAGREFS=tag)
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
    add(processing, "processingStepDescription", f"model {page.model or info.provenance.get('model', 'unknown')}")
    if page.fault is not None:
        add(processing, "processingStepSettings", f"not read: {page.fault}")
    software = add(processing, "processingSoftware")
    add(software, "softwareName", "quillread")
    add(software, "softwareVersion", __version__)


def _add_tags(root: Element, page: Page, names: Names) -> dict[str, str]:
    """Add a tag for each label that regions of the page have, as eScriptorium and Kraken do; returns ids by label."""
    labels = dict.fromkeys(label for region in page.regions if (label := label_of(region)))
    tags = {label: names.tag(label, number) for number, label in enumerate(labels, start=1)}
    if tags:
        holder = add(root, "Tags")
        for label, name in tags.items():
            add(holder, "OtherTag", ID=name, TYPE="region", LABEL=label)
    return tags


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
    words = fit_words(line, words_of(line)) or (Word("", 0.0, line.polygon),)
    for number, word in enumerate(words, start=1):
        box = word.polygon.bounds
        if number > 1:
            x = words[number - 2].polygon.bounds.x1
            add(element, "SP", HPOS=max(0, round(x)), VPOS=max(0, round(box.y0)), WIDTH=max(0, round(box.x0 - x)))
        confidence = f"{word.confidence:.4f}" if word.text else None
        string = names.take(None, f"{name}s{number}")
        _add_place(element, "String", string, word.polygon, page, CONTENT=word.text, WC=confidence)
