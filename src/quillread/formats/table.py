"""A table of lines, as CSV."""

import csv
import io
from collections.abc import Iterable
from typing import BinaryIO

from quillread.formats.export import ExportInfo, Scan
from quillread.types import Page

COLUMNS = (
    *("source", "page", "region", "line", "text", "confidence"),
    *("x0", "y0", "x1", "y1", "baseline", "error"),
)
"""Pages, regions and lines count from 1; boxes and baselines (`x,y x,y`) are in pixels of the page."""


class CsvWriter:
    """One row a line, and one for each page that could not be read, with its error.

    Commas, UTF-8, lines ended by CR and LF (RFC 4180).
    """

    def __init__(self, file: BinaryIO, info: ExportInfo) -> None:
        self._file = file
        self._info = info
        self._write([COLUMNS])

    def add(self, scan: Scan) -> None:
        """Write the lines of a page."""
        self._write(_rows(self._info.source, scan.page))

    def close(self, error: str | None = None) -> None:
        """Write the error of an input that has no page; that of others is in their pages."""
        if error is not None:
            self._write([(self._info.source, *[""] * (len(COLUMNS) - 2), error)])

    def _write(self, rows: Iterable[tuple[object, ...]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        self._file.write(text.getvalue().encode(errors="backslashreplace"))


def _rows(source: str, page: Page) -> list[tuple[object, ...]]:
    if page.error is not None:
        return [(source, page.number, *[""] * (len(COLUMNS) - 3), page.error)]
    rows: list[tuple[object, ...]] = []
    for number, region in enumerate(page.regions, start=1):
        for line in region.lines:
            box, read = line.polygon.bounds, line.transcript
            corners = [round(value, 1) for value in (box.x0, box.y0, box.x1, box.y1)]
            baseline = " ".join(f"{round(x, 1):g},{round(y, 1):g}" for x, y in line.baseline)
            text, confidence = (read.text, round(read.confidence, 4)) if read else ("", "")
            rows.append((source, page.number, number, len(rows) + 1, text, confidence, *corners, baseline, ""))
    return rows
