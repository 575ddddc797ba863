"""Readings on stdout: documents one after another, or text with its doubtful words marked."""

import io
import os
import sys
from collections.abc import Callable
from typing import BinaryIO

from quillread.errors import Fault, printable
from quillread.formats.export import DOUBTFUL, UNSURE, Format, words_of
from quillread.types import DocumentInfo, Line, PageWriter, Scan

_UNREADABLE = "[could not be read]"
_RED, _YELLOW, _DIM, _PLAIN = "\x1b[31;4m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


class StdoutWriter:
    """Writes a document to stdout, page by page."""

    def __init__(self, stdout: "Stdout", output: Format) -> None:
        self._stdout = stdout
        self._says_faults = output.on_error
        self._writer: PageWriter = output.make(stdout.file)

    def begin(self, info: DocumentInfo) -> None:
        """Begin a document."""
        self._stdout.begin(info.source)
        self._writer.begin(info)

    def add(self, scan: Scan) -> None:
        """Write a page."""
        self._stdout.name()
        self._writer.add(scan)
        self._stdout.flush()

    def close(self, fault: Fault | None) -> None:
        """End the document."""
        if fault is None or self._says_faults:
            self._writer.close(fault)
        self._stdout.flush()

    def abort(self) -> None:
        """What was written cannot be taken back."""
        self._writer.abort()


class Stdout:
    """The stdout of a command that writes several documents.

    Args:
        gap: What stands between two of them: texts have an empty line, as between the pages of one.
        title: Makes the line that stands before each, of its name; None if none does.
    """

    def __init__(self, gap: bytes, title: Callable[[str], str] | None = None) -> None:
        self._title = title
        self._name = ""
        self._gapped = _Gapped(gap)
        self.file: BinaryIO = self._gapped

    def begin(self, name: str) -> None:
        """Begin a document."""
        self._gapped.is_new = True
        self._name = name

    def name(self) -> None:
        """Name the document, unless that is done; one that failed is named on stderr only."""
        if self._title is not None and self._name:
            self.file.write(f"{self._title(self._name)}\n".encode())
        self._name = ""

    def flush(self) -> None:
        """Let it be seen."""
        sys.stdout.flush()


class _Gapped(io.BytesIO):
    """Writes through to stdout, with a gap before the first bytes of each document but the first."""

    def __init__(self, gap: bytes) -> None:
        super().__init__()
        self.is_new = True
        self._gap = gap
        self._is_first = True

    def write(self, content: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override]
        if content and self.is_new:
            if not self._is_first:
                sys.stdout.buffer.write(self._gap)
            self.is_new = self._is_first = False
        return sys.stdout.buffer.write(content)


def title_of(output: str) -> Callable[[str], str] | None:
    """How several documents of a format that follow each other are named; None for JSON, which says it itself."""
    marks = {"txt": "==", "md": "#"}
    if output not in marks:
        return None
    return lambda name: f"{marks[output]} {printable(name)}" + ("\n" if output == "md" else "")


def uses_colours() -> bool:
    """Tell whether stdout is a terminal that is to have colours (see https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class ShowWriter:
    """Prints each line with its number.

    Words more likely wrong than right are red and underlined, other doubtful ones yellow. Without colours, the former
    have a question mark in brackets behind them.
    """

    def __init__(self, colours: bool) -> None:
        self._paint: Callable[[str, float], str] = _colour if colours else _annotate
        self._dim = (lambda text: f"{_DIM}{text}{_PLAIN}") if colours else (lambda text: text)

    def begin(self, info: DocumentInfo) -> None:
        """Begin an input."""
        self._info = info

    def add(self, scan: Scan) -> None:
        """Print a page."""
        page, info = scan.page, self._info
        named = f"== {printable(info.source)}" + (f", page {page.number}" if info.page_count > 1 else "")
        print(self._dim(named))
        if page.fault is not None:
            print(_UNREADABLE)
        number = 0
        for region in page.regions:
            if number:
                print()
            for line in region.lines:
                number += 1
                print(f"{self._dim(f'{number:3}')}  {self._text(line)}")
        sys.stdout.flush()

    def close(self, fault: Fault | None) -> None:
        """Say that an input could not be read."""
        if fault is not None and self._info.page_count < 2:
            print(self._dim(f"== {printable(self._info.source)}"))
            print(_UNREADABLE, flush=True)

    def abort(self) -> None:
        """What was printed stays."""

    def _text(self, line: Line) -> str:
        return " ".join(self._paint(printable(word.text), word.confidence) for word in words_of(line))


def _colour(text: str, confidence: float) -> str:
    if confidence < UNSURE:
        return f"{_RED if confidence < DOUBTFUL else _YELLOW}{text}{_PLAIN}"
    return text


def _annotate(text: str, confidence: float) -> str:
    return f"{text}[?]" if confidence < DOUBTFUL else text
