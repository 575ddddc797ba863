"""Formats that are plain text: text, Markdown, CSV."""

import codecs
import csv
import io
import re
from collections.abc import Iterable
from typing import BinaryIO

from quillread.errors import Fault
from quillread.text.marks import find_marks
from quillread.types import DocumentInfo, Page, Scan


class TextWriter:
    """Each line of writing is a line, with an empty line between regions and between pages.

    A page that could not be read leaves one line in square brackets, which says so: without it the page would seem
    to be blank. Bytes of a file name that are not text are written as escapes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def begin(self, info: DocumentInfo) -> None:
        """Begin a document."""
        self._gap = ""

    def add(self, scan: Scan) -> None:
        """Write the text of a page."""
        page = scan.page
        text = page.text if page.fault is None else f"[page {page.number} could not be read]"
        if text:
            self._file.write(f"{self._gap}{text}\n".encode(errors="backslashreplace"))
            self._gap = "\n"

    def close(self, fault: Fault | None) -> None:
        """Nothing follows the last page."""

    def abort(self) -> None:
        """Nothing is open."""


_SIGNS = re.compile(r"([\\`*_\[\]<>|~$&])")
_END, _ESCAPED = re.compile(r"(?<=\s)(#+\s*)$"), r"\\\1"
"""Of a heading: signs that would close it, and not be seen."""
_STARTS = re.compile(r"^(\s*)([#+=-]|\d+(?=[.)]))")


class MarkdownWriter:
    """CommonMark. A page that could not be read says why.

    Lines end in a backslash, which breaks them in CommonMark: transcribers want the lines of the source.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def begin(self, info: DocumentInfo) -> None:
        """Begin a document."""
        self._several = info.page_count > 1
        self._gap = ""

    def add(self, scan: Scan) -> None:
        """Write a page."""
        page = scan.page
        parts = [f"## {_escape(page.title)}"] if self._several else []
        if page.fault is not None:
            parts.append(f"> **Not read:** {_escape(' '.join(str(page.fault).split()))}")
        for region in page.regions:
            lines = [
                _mark_up(line.transcript.text) for line in region.lines if line.transcript and line.transcript.text
            ]
            if lines and region.kind == "heading":
                parts.append(f"### {_END.sub(_ESCAPED, ' '.join(lines))}")
            elif lines:
                parts.append("\\\n".join(lines))
        if parts:
            self._file.write((self._gap + "\n\n".join(parts) + "\n").encode(errors="backslashreplace"))
            self._gap = "\n"

    def close(self, fault: Fault | None) -> None:
        """Nothing follows the last page."""

    def abort(self) -> None:
        """Nothing is open."""


_TAGS = {"struck": "del", "added": "add", "expanded": "ex"}
"""Elements of TEI, of which `del` is one of HTML too."""


def _mark_up(text: str) -> str:
    """Write the marks of a text as elements of TEI, and all else as it is."""
    pieces, at = [], 0
    for mark in find_marks(text):
        inner = _mark_up(text[mark.start + 1 : mark.stop - 1]) if mark.kind != "illegible" else ""
        tag = _TAGS.get(mark.kind)
        pieces += [_escape(text[at : mark.start]), f"<{tag}>{inner}</{tag}>" if tag else "<gap/>"]
        at = mark.stop
    return "".join([*pieces, _escape(text[at:])])


def _escape(text: str) -> str:
    """Keep signs of the text from being read as Markdown."""
    escaped = _SIGNS.sub(r"\\\1", text)
    # A number with a dot at the start of a line would make a list of it.
    return _STARTS.sub(lambda m: m[1] + (m[2] + "\\" if m[2].isdigit() else "\\" + m[2]), escaped)


COLUMNS = (
    *("source", "page", "region", "line", "text", "confidence"),
    *("x0", "y0", "x1", "y1", "baseline", "error"),
)
"""Pages, regions and lines count from 1; boxes and baselines (`x,y x,y`) are in pixels of the page."""


class CsvWriter:
    """One row a line, and one for each page that could not be read, with its error.

    Commas, UTF-8 with its mark, without which Excel takes it for another code, lines ended by CR and LF (RFC 4180).
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def begin(self, info: DocumentInfo) -> None:
        """Write the names of the columns."""
        self._info = info
        self._file.write(codecs.BOM_UTF8)
        self._write([COLUMNS])

    def add(self, scan: Scan) -> None:
        """Write the lines of a page."""
        self._write(_rows(self._info.source, scan.page))

    def close(self, fault: Fault | None) -> None:
        """Write the error of an input that has no page; that of others is in their pages."""
        if fault is not None:
            self._write([(self._info.source, *[""] * (len(COLUMNS) - 2), str(fault))])

    def abort(self) -> None:
        """Nothing is open."""

    def _write(self, rows: Iterable[tuple[object, ...]]) -> None:
        text = io.StringIO(newline="")
        marked = ([as_text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
        csv.writer(text).writerows(marked)
        self._file.write(text.getvalue().encode(errors="backslashreplace"))


def as_text(cell: str) -> str:
    """Mark a cell that a spreadsheet would compute as text, with an apostrophe.

    Source: OWASP, CSV Injection.
    """
    return f"'{cell}" if cell.startswith(_COMPUTED) and len(cell) > 1 else cell


_COMPUTED = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def _rows(source: str, page: Page) -> list[tuple[object, ...]]:
    if page.fault is not None:
        return [(source, page.number, *[""] * (len(COLUMNS) - 3), str(page.fault))]
    rows: list[tuple[object, ...]] = []
    for number, region in enumerate(page.regions, start=1):
        for line in region.lines:
            box, read = line.polygon.bounds, line.transcript
            corners = [round(value, 1) for value in (box.x0, box.y0, box.x1, box.y1)]
            baseline = " ".join(f"{round(x, 1):g},{round(y, 1):g}" for x, y in line.baseline)
            text, confidence = (read.text, round(read.confidence, 4)) if read else ("", "")
            rows.append((source, page.number, number, len(rows) + 1, text, confidence, *corners, baseline, ""))
    return rows
