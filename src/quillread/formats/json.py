"""JSON: everything that is known of an input."""

import json
from typing import Any

from quillread.types import Line, Page, Point, Polygon, Reading


def to_json(reading: Reading) -> str:
    """One JSON document, on one line, without a newline at its end.

    Keys: `source`, `pages`, `text`, `provenance`, and `error` if the input could not be opened. A page has `number`,
    `width`, `height`, `lines`, and `error` if it could not be read. A line has `text`, `confidence`, `baseline` and
    `polygon` ([[x, y], ...]), `words` (each `text`, `confidence`, `box` [x0, y0, x1, y1], `polygon`) and
    `character_confidences`, one for each character of `text`, and `alternatives` (each `text`, `confidence`) if other
    readings were asked for. Pixels of the page image, origin top-left.
    """
    return json.dumps(to_data(reading), ensure_ascii=False, allow_nan=False)


def to_data(reading: Reading) -> dict[str, Any]:
    """The document of `to_json` as plain data."""
    data: dict[str, Any] = {"source": reading.source}
    if reading.error is not None:
        data["error"] = reading.error
    data["text"] = reading.text
    data["pages"] = [_page(page) for page in reading.pages]
    data["provenance"] = dict(reading.provenance)
    return data


def _page(page: Page) -> dict[str, Any]:
    data: dict[str, Any] = {"number": page.number, "width": page.width, "height": page.height}
    if page.error is not None:
        data["error"] = page.error
    data["lines"] = [_line(line) for line in page.lines]
    return data


def _line(line: Line) -> dict[str, Any]:
    read = line.transcript
    data: dict[str, Any] = {
        "text": read.text if read else "",
        "confidence": round(read.confidence, 4) if read else 0.0,
        "baseline": _points(line.baseline),
        "polygon": _points(line.polygon.points),
        "words": [
            {
                "text": word.text,
                "confidence": round(word.confidence, 4),
                "box": _box(word.polygon),
                "polygon": _points(word.polygon.points),
            }
            for word in (read.words if read else ())
        ],
        "character_confidences": [round(c.confidence, 4) for c in read.characters] if read else [],
    }
    if read and read.alternatives:
        data["alternatives"] = [{"text": a.text, "confidence": round(a.confidence, 4)} for a in read.alternatives]
    if read and read.expected_error is not None:
        data["expected_cer"] = round(read.expected_error, 4)
    if read and read.changes:
        data["raw_text"] = read.raw_text
        data["changes"] = [
            {"start": c.start, "from": c.before, "to": c.after, "reason": c.reason} for c in read.changes
        ]
    if read and read.rows > 1:
        data["rows"] = read.rows
    return data


def _points(points: tuple[Point, ...]) -> list[list[float]]:
    return [[round(x, 1), round(y, 1)] for x, y in points]


def _box(polygon: Polygon) -> list[float]:
    box = polygon.bounds
    return [round(v, 1) for v in (box.x0, box.y0, box.x1, box.y1)]
