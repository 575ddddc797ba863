"""`quill` with a reader that needs no model and says odd numbers, which a signal ends at a moment that can be chosen.

Started as python -c "import frail_runs; frail_runs.main()"; `FRAIL` says which signal at which moment.
"""

import os
import random
import signal
import sys
import threading
import time
import zlib
from collections.abc import Sequence

from quillread.batch.executors import Executor, SerialExecutor
from quillread.cli import main as command
from quillread.cli import read
from quillread.options import ReadOptions
from quillread.pages.transcribe import PageTranscriber
from quillread.recognize.ensemble import LineReader
from quillread.testing import FakeReader
from quillread.types import (
    Alternative,
    Change,
    Character,
    Line,
    Page,
    Point,
    Polygon,
    Region,
    Transcript,
    UInt8Image,
    Word,
)

WORDS = ("Dear", "Sir,", "I", "am,", "yours", "- truly", "1°", "mine=")


class OddReader(FakeReader):
    """Finds lines with coordinates and confidences of many digits; the same on the same image."""

    def _pages_with(self, lines: LineReader) -> PageTranscriber:
        return _OddPages(lines, None, self.options.crop)


class _OddPages(PageTranscriber):
    def __call__(self, image: UInt8Image, regions: tuple[Region, ...] | None = None, where: str = "page") -> Page:
        height, width = image.shape[:2]
        dice = random.Random(zlib.crc32(image.tobytes()))
        found = tuple(Region(_outline(dice, width, height), tuple(_lines(dice, width, height))) for _ in range(2))
        return Page("", 1, width, height, found)


def _lines(dice: random.Random, width: int, height: int) -> Sequence[Line]:
    lines = []
    for _ in range(3):
        words = tuple(Word(dice.choice(WORDS), dice.random(), _outline(dice, width, height)) for _ in range(4))
        text = " ".join(word.text for word in words)
        characters = tuple(Character(c, dice.random(), dice.uniform(0, 9), dice.uniform(9, 18)) for c in text)
        read = Transcript(
            text,
            dice.random(),
            words,
            characters,
            (Alternative("Deer", dice.random()),),
            dice.random(),
            "Dier",
            (Change(0, "Dier", "Dear", "known"),),
            dice.randint(1, 2),
        )
        lines.append(Line(_points(dice, width, height, 3), _outline(dice, width, height), read))
    return lines


def _outline(dice: random.Random, width: int, height: int) -> Polygon:
    return Polygon(_points(dice, width, height, 4))


def _points(dice: random.Random, width: int, height: int, count: int) -> tuple[Point, ...]:
    return tuple((dice.uniform(1, width - 1), dice.uniform(1, height - 1)) for _ in range(count))


def executor(jobs: int, options: ReadOptions) -> Executor:
    """What `quill read` reads with, in place of its own."""
    return SerialExecutor(OddReader(["nothing"], options))


def _end_at(moment: int, number: int, delay: float) -> None:
    """Send this process a signal, `delay` seconds after it has touched files of its results for the nth time."""
    count = 0

    def touched(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event not in ("open", "os.rename", "os.remove", "os.mkdir") or not _is_result(arguments[0]):
            return
        count += 1
        if count == moment and delay:
            threading.Thread(target=_send, args=(number, delay), daemon=True).start()
        elif count == moment:
            os.kill(os.getpid(), number)

    sys.addaudithook(touched)


def _is_result(path: object) -> bool:
    return isinstance(path, str | os.PathLike) and os.fspath(path).startswith(("out", "seen"))


def _send(number: int, delay: float) -> None:
    time.sleep(delay)
    os.kill(os.getpid(), number)


def main() -> None:
    """Run `quill`."""
    if frail := os.environ.get("FRAIL"):
        name, moment, delay = frail.split()
        _end_at(int(moment), signal.Signals[name], float(delay))
    read._executor = executor
    sys.exit(command.main())
