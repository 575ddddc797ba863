"""JSON: everything that is known of an input. Its schema is `assets/reading.schema.json`."""

import json
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib import resources
from typing import Any, BinaryIO, cast

from quillread.errors import Fault
from quillread.types import (
    DocumentInfo,
    Line,
    Page,
    Point,
    Polygon,
    Reading,
    Scan,
)

_IN_MEMORY = 1 << 18
"""Bytes of a document's pages beyond which they wait in a temporary file for the text that stands before them."""


def to_json(reading: Reading) -> str:
    """One JSON document, on one line, without a newline at its end.

    Keys: `source`, `pages`, `text`, `provenance`, and `error` and `fault` (kind, message, hint) if the input could not
    be opened. A page has `number`, `width`, `height`, `lines`, `regions`, and `error` and `fault` if it could not be
    read, and `notes` on what was skipped or looks wrong, and `model` if one was chosen for it. A line has `text`,
    `confidence`, `baseline` and `polygon` ([[x, y], ...]), `words` (each `text`, `confidence`, `box` [x0, y0, x1, y1],
    `polygon`) and `character_confidences`, one for each character of `text`, and `alternatives` (each `text`,
    `confidence`) if other readings were asked for, and `printed` if it looks like print. A region has its `polygon` and
    the indices of its `lines`. Pixels of the page image, origin top-left.
    """
    return _dump(to_data(reading))


def to_data(reading: Reading) -> dict[str, Any]:
    """The document of `to_json` as plain data."""
    data: dict[str, Any] = {"source": reading.source}
    data |= _fault(reading.fault)
    data["text"] = reading.text
    data["pages"] = [page_data(page) for page in reading.pages]
    data["provenance"] = dict(reading.provenance)
    return data


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `to_json`'s documents."""
    text = resources.files(__package__).joinpath("assets", "reading.schema.json").read_text(encoding="utf-8")
    return cast(dict[str, Any], json.loads(text))


class JsonWriter:
    """Writes the document of `to_json` page by page, and a newline."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._undo = ExitStack()

    def begin(self, info: DocumentInfo) -> None:
        """Begin a document."""
        self._info = info
        self._texts: list[str] = []
        waiting = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115  closed with `_undo`
        self._pages = self._undo.enter_context(waiting)
        self._gap = b""

    def add(self, scan: Scan) -> None:
        """Take a page."""
        if scan.page.text:
            self._texts.append(scan.page.text)
        self._pages.write(self._gap + _encode(_dump(page_data(scan.page, scan.points))))
        self._gap = b", "

    def close(self, fault: Fault | None) -> None:
        """Write the document."""
        head: dict[str, Any] = {"source": self._info.source}
        head |= _fault(fault)
        head["text"] = "\n\n".join(self._texts)
        self._file.write(_encode(_dump(head)[:-1]) + b', "pages": [')
        with self._undo:
            self._pages.seek(0)
            shutil.copyfileobj(self._pages, self._file)
        self._file.write(b'], "provenance": ' + _encode(_dump(self._info.provenance)) + b"}\n")

    def abort(self) -> None:
        """Drop the pages that wait."""
        with suppress(OSError):  # of a disk that is full
            self._undo.close()


def _dump(data: Mapping[str, Any]) -> str:
    return json.dumps(dict(data), ensure_ascii=False, allow_nan=False)


def _encode(text: str) -> bytes:
    # Bytes of a file name that are not text become JSON escapes.
    return text.encode(errors="backslashreplace")


def page_data(page: Page, points: tuple[float, float] | None = None) -> dict[str, Any]:
    """A page of the document as plain data."""
    data: dict[str, Any] = {"number": page.number, "width": page.width, "height": page.height}
    if points is not None:
        data["points"] = [round(value, 2) for value in points]
    if page.label:
        data["label"] = page.label
    if page.model:
        data["model"] = page.model
    data |= _fault(page.fault)
    if page.notes:
        data["notes"] = list(page.notes)
    data["lines"] = [_line(line) for line in page.lines]
    data["regions"] = _regions(page)
    return data


def _fault(fault: Fault | None) -> dict[str, Any]:
    """The keys of what went wrong: `error` for people, `fault` for programs."""
    if fault is None:
        return {}
    return {"error": str(fault), "fault": {"kind": fault.kind, "message": fault.message, "hint": fault.hint}}


def _regions(page: Page) -> list[dict[str, Any]]:
    regions: list[dict[str, Any]] = []
    first = 0
    for region in page.regions:
        data: dict[str, Any] = {"id": region.id} if region.id is not None else {}
        if region.kind != "text":
            data["kind"] = region.kind
        data["polygon"] = _points(region.polygon.points)
        data["lines"] = list(range(first, first + len(region.lines)))
        first += len(region.lines)
        regions.append(data)
    return regions


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
    if line.id is not None:
        data["id"] = line.id
    if line.printed:
        data["printed"] = True
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
