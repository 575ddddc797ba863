"""What a command says on stderr: a progress line, and messages that do not run into it."""

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quillread.models.model_folder import ModelInfo

from quillread.errors import printable

_CLEAR = "\r\x1b[K"
_TOLD = 10
"""Lines that were skipped which are named one by one."""


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()  # None if the caller closed it


def say(message: str) -> None:
    """Print a message on stderr, in place of a progress line that may stand there.

    Names and texts in it that come from elsewhere may hold anything but ends of lines, which are those of the message.
    """
    text = "\n".join(map(printable, message.split("\n")))
    _write(f"{_CLEAR if _is_terminal() else ''}quill: {text}\n")


def _write(text: str) -> None:
    """Write to stderr if there is one: a terminal that was closed must not keep a command from its end."""
    if sys.stderr is not None:
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()


def tell_skipped(faults: Sequence[str]) -> None:
    """Name the lines whose images cannot be read, the first ones one by one."""
    for fault in faults[:_TOLD]:
        say(f"{fault}; the line is skipped")
    if more := len(faults[_TOLD:]):
        say(f"{more} more lines are skipped, whose images cannot be read either")


def tell_seen(
    marks: Sequence[str], infos: Sequence["ModelInfo"], effect: str = "its confidences will be too high"
) -> None:
    """Warn if a model was trained on lines that it is to be measured on, or fitted to.

    Args:
        marks: Those of the lines.
        infos: The models.
        effect: What comes of it.
    """
    from quillread.data.seen import all_marks, count_seen

    known = all_marks(info.provenance for info in infos)
    if seen := count_seen(marks, frozenset(known)):
        say(
            f"warning: the model was trained on {seen} of these {len(marks)} lines, or more: it reads them better than "
            f"others, and {effect}; take lines that it has not seen"
        )


class ProgressLine:
    """Shows how far a long command is, how fast, and the time left; silent when stderr is not a terminal.

    Args:
        unit: What is counted, such as "lines".
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._shown = _is_terminal()
        self._start = time.monotonic()
        self._last = 0.0
        self._stands = False

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are finished."""
        now = time.monotonic()
        if not self._shown or (done < total and now - self._last < 0.2):
            return
        self._last = now
        rate = done / max(now - self._start, 1e-9)
        left = (total - done) / max(rate, 1e-9)
        told = f"{done}/{total} {self._unit}, {rate:.3g} {self._unit}/s, {left:.0f} s left "
        self._stands = done < total
        _write(f"{_CLEAR}{told}" + ("" if self._stands else "\n"))

    def end(self) -> None:
        """Leave the line that stands there."""
        if self._stands:
            _write("\n")
            self._stands = False


class LiveLine:
    """A line that tells how far a long command is, in its own words; silent when stderr is no terminal."""

    def __init__(self) -> None:
        self._shown = _is_terminal()
        self._last = 0.0
        self._stands = False

    def show(self, text: str) -> None:
        """Show it in place of the one before."""
        now = time.monotonic()
        if self._shown and now - self._last >= 0.2:
            self._last, self._stands = now, True
            _write(f"{_CLEAR}{text} ")

    def end(self) -> None:
        """Leave the line that stands there."""
        if self._stands:
            _write("\n")
            self._stands = False
