"""Markdown: a heading for each page of a document of several, regions as paragraphs whose lines stay lines."""

import re
from typing import BinaryIO

from quillread.formats.export import ExportInfo, Scan

_SIGNS = re.compile(r"([\\`*_\[\]<>|~$&])")
_STARTS = re.compile(r"^(\s*)([#+=-]|\d+(?=[.)]))")


class MarkdownWriter:
    """CommonMark. A page that could not be read says why.

    Lines end in a backslash, which breaks them in CommonMark: transcribers want the lines of the source.
    """

    def __init__(self, file: BinaryIO, info: ExportInfo) -> None:
        self._file = file
        self._several = info.page_count > 1
        self._gap = ""

    def add(self, scan: Scan) -> None:
        """Write a page."""
        page = scan.page
        parts = [f"## Page {page.number}"] if self._several else []
        if page.error is not None:
            parts.append(f"> **Not read:** {_escape(' '.join(page.error.split()))}")
        for region in page.regions:
            lines = [_escape(line.transcript.text) for line in region.lines if line.transcript and line.transcript.text]
            if lines:
                parts.append("\\\n".join(lines))
        if parts:
            self._file.write((self._gap + "\n\n".join(parts) + "\n").encode(errors="backslashreplace"))
            self._gap = "\n"

    def close(self, error: str | None = None) -> None:
        """Nothing follows the last page."""


def _escape(text: str) -> str:
    """Keep signs of the text from being read as Markdown."""
    escaped = _SIGNS.sub(r"\\\1", text)
    # A number with a dot at the start of a line would make a list of it.
    return _STARTS.sub(lambda m: m[1] + (m[2] + "\\" if m[2].isdigit() else "\\" + m[2]), escaped)
