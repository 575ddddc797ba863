"""Several models of which one reads a page: the one that expects the fewest errors in its first lines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quillread.recognize.ensemble import LineReader
from quillread.types import Transcript, UInt8Image

FIRST_LINES = 8
"""Lines that all models read. More take time; fewer mislead where a page begins with a heading or a date."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What one of several models read."""

    name: str
    """Of the model."""
    transcripts: list[Transcript]


class ChoosingReader:
    """Reads lines that belong together with one of several models.

    Models are compared by the errors that they expect, which are fitted for each: their confidences do not compare.

    Args:
        readers: By name, at least one; the first reads where they are even.
    """

    def __init__(self, readers: Mapping[str, LineReader]) -> None:
        self._readers = readers
        self.infos = tuple(reader.info for reader in readers.values())
        self.info = self.infos[0]

    def choose(self, images: Sequence[UInt8Image]) -> Chosen:
        """Read the lines of a page with the model that suits them.

        Args:
            images: uint8 RGB, shape (H, W, 3) each, in reading order.
        """
        first = {name: reader.read(images[:FIRST_LINES]) for name, reader in self._readers.items()}
        name = _best(first)
        # The last of them once more: whether a word begins or goes on is seen from the line before.
        rest = self._readers[name].read(images[FIRST_LINES - 1 :])[1:] if len(images) > FIRST_LINES else []
        return Chosen(name, [*first[name], *rest])

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        """Read line images that belong together."""
        return self.choose(images).transcripts


def _best(readings: Mapping[str, Sequence[Transcript]]) -> str:
    """The reader that expects the fewest wrong characters; a line is as long as the longest reading of it."""
    lengths = [max(len(read.text) for read in line) for line in zip(*readings.values(), strict=True)]
    are_fitted = all(read.expected_error is not None for reads in readings.values() for read in reads)

    def expected_errors(name: str) -> float:
        rates = (_rate(read, by_error=are_fitted) for read in readings[name])
        return sum(rate * length for rate, length in zip(rates, lengths, strict=True))

    return min(readings, key=expected_errors)


def _rate(read: Transcript, *, by_error: bool) -> float:
    if not read.text:
        return 1.0  # of nothing no model is in doubt
    return read.expected_error if by_error and read.expected_error is not None else 1 - read.confidence
