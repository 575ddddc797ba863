"""A progress line on stderr."""

import sys
import time


class ProgressLine:
    """Shows how far a long command is, with the time left; silent when stderr is no terminal.

    Args:
        unit: What is counted, such as "lines".
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._shown = sys.stderr.isatty()
        self._start = time.monotonic()
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` are finished."""
        now = time.monotonic()
        if not self._shown or (done < total and now - self._last < 0.2):
            return
        self._last = now
        left = (now - self._start) / max(1, done) * (total - done)
        end = "\n" if done >= total else ""
        print(f"\r{done}/{total} {self._unit}, {left:.0f} s left \x1b[K", end=end, file=sys.stderr, flush=True)
