"""hOCR 1.2: https://kba.github.io/hocr-spec/1.2/."""

import math
import re
from html import escape
from typing import BinaryIO

import numpy as np

from quillread.errors import Fault
from quillread.formats.export import words_of
from quillread.formats.outlines import fit_words
from quillread.formats.xml_io import clean, pixels
from quillread.types import DocumentInfo, Line, Page, Polygon, RegionKind, Scan
from quillread.version import __version__

_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml">
<head>
<title>{title}</title>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />
<meta name="ocr-system" content="quillread {version}" />
<meta name="ocr-capabilities" content="{capabilities}" />
</head>
<body>
"""
_AREAS: dict[RegionKind, str] = {"table": "ocr_table", "picture": "ocr_photo"}
"""Classes of regions that are not columns of text."""
_LINES: dict[RegionKind, str] = {"heading": "ocr_header", "margin": "ocr_textfloat"}
"""Classes of lines that are not of the running text, as Tesseract has them."""
_CLASSES = ("ocr_page", "ocr_carea", *_AREAS.values(), "ocr_par", "ocr_line", *_LINES.values(), "ocrx_word")


class HocrWriter:
    """Writes a document of one or more pages: areas, paragraphs, lines with baselines, words with confidences."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def begin(self, info: DocumentInfo) -> None:
        """Write the head."""
        self._image = info.image_name
        facts = {"title": _text(info.source), "version": __version__, "capabilities": " ".join(_CLASSES)}
        self._file.write(_HEAD.format(**facts).encode())

    def add(self, scan: Scan) -> None:
        """Write a page."""
        self._file.write("\n".join([*_page(self._image, scan.page), ""]).encode())

    def close(self, fault: Fault | None) -> None:
        """End the document."""
        self._file.write(b"</body>\n</html>\n")

    def abort(self) -> None:
        """Nothing is open."""


def _page(image: str, page: Page) -> list[str]:
    title = f"image {_quoted(image)}; bbox 0 0 {page.width} {page.height}; ppageno {page.number - 1}"
    rows = [f'<div class="ocr_page" id="page_{page.number}" title="{_text(title)}">']
    if page.fault is not None:
        rows.append(f"<!-- not read: {re.sub('-(?=-)', '- ', _text(str(page.fault)))} -->")
    for number, region in enumerate(page.regions, start=1):
        name = f"{page.number}_{number}"
        place = f'title="{_bbox(region.polygon, page)}"'
        area = _AREAS.get(region.kind, "ocr_carea")
        if region.kind == "picture" and not region.lines:
            rows.append(f'<div class="{area}" id="carea_{name}" {place}></div>')
            continue
        rows.append(f'<div class="{area}" id="carea_{name}" {place}><p class="ocr_par" id="par_{name}" {place}>')
        for index, line in enumerate(region.lines, start=1):
            rows += _line(f"{name}_{index}", line, page, _LINES.get(region.kind, "ocr_line"))
        rows.append("</p></div>")
    return [*rows, "</div>"]


def _line(name: str, line: Line, page: Page, kind: str) -> list[str]:
    title = f"{_bbox(line.polygon, page)}; {_direction(line)}"
    rows = [f'<span class="{kind}" id="line_{name}" title="{title}">']
    for number, word in enumerate(fit_words(line, words_of(line)), start=1):
        place = f"{_bbox(word.polygon, page)}; x_wconf {round(100 * word.confidence)}"
        rows.append(f'<span class="ocrx_word" id="word_{name}_{number}" title="{place}">{_text(word.text)}</span>')
    return [*rows, "</span>"]


def _bbox(outline: Polygon, page: Page) -> str:
    return "bbox " + " ".join(map(str, pixels(outline.bounds, page)))


def _direction(line: Line) -> str:
    """The slope of a baseline, or the angle of a line that runs up, down or backwards, counter-clockwise in degrees."""
    (x0, y0), (x1, y1) = line.baseline[0], line.baseline[-1]
    angle = round(math.degrees(math.atan2(y0 - y1, x1 - x0))) % 360
    if 45 < angle < 315:
        return f"textangle {angle}"
    slope, offset = _baseline(line)
    return f"baseline {slope:.3f} {offset:.0f}".replace("-0.000", "0.000")


def _baseline(line: Line) -> tuple[float, float]:
    """Slope, y down over x, and height over the lower left corner of the box, of the straight line nearest to it."""
    xs, ys = np.array(line.baseline, np.float64).T
    box = line.polygon.bounds
    slope = float(np.polyfit(xs, ys, 1)[0]) if np.ptp(xs) > 0 else 0.0
    return slope, float(ys.mean() + slope * (box.x0 - xs.mean()) - box.y1)


def _quoted(path: str) -> str:
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text(text: str) -> str:
    return escape(clean(text))
