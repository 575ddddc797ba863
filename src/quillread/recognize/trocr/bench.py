"""Lines that are written side by side with an exported decoder: what it keeps of each, and who sits where.

Lines that are done leave, waiting ones take their place: nobody waits for the longest line of a batch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quillread.models.trocr.onnx_folder import TrocrFacts
from quillread.models.trocr.onnx_network import Cache, Next, OnnxTrocr
from quillread.recognize.trocr.backend import Written
from quillread.recognize.trocr.drafts import Draft
from quillread.types import UInt8Image

NEVER = np.float32(-1e9)
"""As transformers writes that something must not be chosen."""


def log_sum(log_probs: NDArray[np.float32]) -> float:
    """Log of the sum of some probabilities."""
    return float(np.logaddexp.reduce(log_probs))


_STEP = 64
"""Tokens by which the room for all texts grows: lines may be many times as long as most are."""


def bytes_of_line(facts: TrocrFacts, beams: int, length: int) -> int:
    """Bytes of what is known of a line whose texts have so many tokens, the one that starts them included."""
    return 2 * facts.layers * facts.heads * facts.head_width * 4 * beams * length


@dataclass(slots=True)
class Task:
    """A line to be written: its image, and its draft."""

    number: int
    pixels: UInt8Image
    """As the encoder takes them, uint8 (3, h, w)."""
    draft: Draft | None = None
    texts: list[Written] = field(default_factory=list)


class Bench:
    """Lines that are written side by side: their caches, one row a text.

    Args:
        network: What writes.
        lines: Most of them at a time.
        beams: Texts of each.
        seen: Room for what is seen in so many lines at least.

    Attributes:
        lines: Most lines at a time.
    """

    def __init__(self, network: OnnxTrocr, lines: int, beams: int, seen: Cache) -> None:
        self._network = network
        self._beams = beams
        facts = network.facts
        self.lengths = np.zeros(lines * beams, np.int64)
        """Known tokens of each text."""
        self._past = np.zeros((2 * facts.layers, lines * beams, facts.heads, 0, facts.head_width), np.float32)
        """Keys and values of each layer by turns, a row each text."""
        self._seen = seen
        self.lines = lines

    def place(self, at: int, pixels: UInt8Image) -> None:
        """Look at a line, uint8 (3, h, w), and put it in a place, with no token known."""
        self._network.look(pixels, self._seen, at)
        self.lengths[self._rows(at)] = 0

    def move(self, source: int, target: int) -> None:
        """Put what is in one place in another."""
        for kept in self._seen:
            kept[target] = kept[source]
        length = int(self.lengths[self._rows(source)].max(initial=0))
        self._past[:, self._rows(target), :, :length] = self._past[:, self._rows(source), :, :length]
        self.lengths[self._rows(target)] = self.lengths[self._rows(source)]

    def run(self, lines: int, tokens: Sequence[Sequence[int]]) -> Next:
        """Run the decoder over the new tokens of each text of the first lines; they are not known before `keep`."""
        texts, most = lines * self._beams, max(map(len, tokens))
        known = int(self.lengths[:texts].max())
        padded = np.zeros((texts, most), np.int64)
        for row, new in zip(padded, tokens, strict=True):
            row[: len(new)] = new
        lengths = self.lengths[:texts, None]
        places = np.minimum(lengths + np.arange(most), self._network.facts.positions - 1)
        mask = np.full((texts, 1, most, known + most), NEVER, np.float32)
        mask[:, 0, :, :known][np.broadcast_to((np.arange(known) < lengths)[:, None], (texts, most, known))] = 0.0
        mask[:, 0, :, known:][:, np.tri(most, dtype=bool)] = 0.0
        past = np.ascontiguousarray(self._past[:, :texts, :, :known])
        return self._network.step(padded, places, mask, list(past), [each[:lines] for each in self._seen])

    def keep(self, row: int, found: Next, count: int) -> None:
        """Make the first new tokens of a text known."""
        start = int(self.lengths[row])
        self._make_room(start + count)
        for past, new in zip(self._past, found.cache, strict=True):
            past[row, :, start : start + count] = new[row, :, :count]
        self.lengths[row] += count

    def reorder(self, at: int, origins: NDArray[np.int64]) -> None:
        """Let each beam of a line go on from the one that it comes from."""
        if (origins == np.arange(self._beams)).all():
            return
        rows, length = self._rows(at), int(self.lengths[at * self._beams])
        self._past[:, rows, :, :length] = self._past[:, rows, :, :length][:, origins]

    def close(self, at: int, tokens: Sequence[int], known: int = 0) -> float | None:
        """Log probability that a text of a line ends after some tokens; None if the decoder has no position to tell.

        Args:
            at: Place of the line.
            tokens: Of the text, without the one that starts it.
            known: How many of them, the one that starts the text included, are known of the first text of the line.
        """
        facts = self._network.facts
        if len(tokens) >= facts.positions:
            return None
        whole = [facts.start, *tokens]
        count = len(whole)
        mask = np.where(np.tri(count, dtype=bool), np.float32(0), NEVER)[None, None, known:]
        row = at * self._beams
        found = self._network.step(
            np.array([whole[known:]]),
            np.arange(known, count)[None],
            mask.astype(np.float32),
            list(np.ascontiguousarray(self._past[:, row : row + 1, :, :known])),
            [each[at : at + 1] for each in self._seen],
        )
        return log_sum(found.log_probs[0, -1, list(facts.ends)])

    def _make_room(self, length: int) -> None:
        """Let texts have so many tokens."""
        room = self._past.shape[3]
        if length > room:
            more = -(-(length - room) // _STEP) * _STEP
            self._past = np.pad(self._past, ((0, 0), (0, 0), (0, 0), (0, more), (0, 0)))

    def _rows(self, at: int) -> slice:
        return slice(at * self._beams, (at + 1) * self._beams)


class Writer(Protocol):
    """A search over one line."""

    task: Task

    @property
    def is_done(self) -> bool:
        """Whether nothing more is to be written."""

    def new(self) -> list[list[int]]:
        """The tokens to look at next, of each text."""

    def hear(self, found: Next, at: int, bench: Bench) -> None:
        """Take what the decoder says of them; `at` is the place of the line."""

    def texts(self, at: int, bench: Bench) -> list[Written]:
        """What was written, the best first; `at` is the place of the line."""


def write_lines(bench: Bench, tasks: Iterator[Task], sit: Callable[[Task], Writer]) -> Iterator[Task]:
    """Write lines, as many at a time as there are places.

    Args:
        bench: The places.
        tasks: Lines, taken as there is room for them.
        sit: Begins the search over one.

    Yields:
        Lines with their texts, as they are done.
    """
    writers: list[Writer] = []

    def fill(at: int) -> bool:
        task = next(tasks, None)
        if task is None:
            return False
        bench.place(at, task.pixels)
        writers[at : at + 1] = [sit(task)]
        return True

    while len(writers) < bench.lines and fill(len(writers)):
        pass
    while writers:
        found = bench.run(len(writers), [new for writer in writers for new in writer.new()])
        for at, writer in enumerate(writers):
            writer.hear(found, at, bench)
        del found  # large, and of no use to the next call
        for at in range(len(writers) - 1, -1, -1):
            if not writers[at].is_done:
                continue
            task = writers[at].task
            task.texts = writers[at].texts(at, bench)
            yield task
            if not fill(at):
                last = writers.pop()
                if at < len(writers):
                    bench.move(len(writers), at)
                    writers[at] = last
