"""Text in the terminal, with its doubtful words marked."""

import os
import sys
from collections.abc import Callable

from quillread.formats.export import ExportInfo, Scan, words_of
from quillread.types import Line

_DOUBTFUL, _UNSURE = 0.5, 0.8
"""Words of a confidence below these are marked."""
_RED, _YELLOW, _DIM, _PLAIN = "\x1b[31;4m", "\x1b[33m", "\x1b[2m", "\x1b[0m"


def uses_colours() -> bool:
    """Tell whether stdout is a terminal that is to have colours (see https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class ShowSink:
    """Prints each line with its number.

    Words more likely wrong than right are red and underlined, other doubtful ones yellow. Without colours, the former
    have a question mark in brackets behind them.
    """

    def __init__(self, colours: bool, info: ExportInfo) -> None:
        self._info = info
        self._paint: Callable[[str, float], str] = _colour if colours else _annotate
        self._dim = (lambda text: f"{_DIM}{text}{_PLAIN}") if colours else (lambda text: text)

    def add(self, scan: Scan) -> None:
        """Print a page."""
        page, info = scan.page, self._info
        print(self._dim(f"== {info.source}" + (f", page {page.number}" if info.page_count > 1 else "")))
        if page.error is not None:
            print("[could not be read]")
        number = 0
        for region in page.regions:
            if number:
                print()
            for line in region.lines:
                number += 1
                print(f"{self._dim(f'{number:3}')}  {self._text(line)}")
        sys.stdout.flush()

    def close(self, error: str | None) -> None:
        """Say that an input could not be read."""
        if error is not None and self._info.page_count < 2:
            print(self._dim(f"== {self._info.source}"))
            print("[could not be read]", flush=True)

    def abort(self) -> None:
        """What was printed stays."""

    def _text(self, line: Line) -> str:
        return " ".join(self._paint(word.text, word.confidence) for word in words_of(line))


def _colour(text: str, confidence: float) -> str:
    if confidence < _UNSURE:
        return f"{_RED if confidence < _DOUBTFUL else _YELLOW}{text}{_PLAIN}"
    return text


def _annotate(text: str, confidence: float) -> str:
    return f"{text}[?]" if confidence < _DOUBTFUL else text
