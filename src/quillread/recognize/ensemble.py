"""Several recognisers, or one that looks at variants of each line, whose readings vote."""

from collections.abc import Callable, Sequence
from typing import Protocol

from quillread.decode.voting import vote
from quillread.images.variants import Variant, vary
from quillread.models.checkpoint import ModelInfo
from quillread.types import Transcript, UInt8Image


class LineReader(Protocol):
    """What reads line images: a `LineRecognizer`, or several."""

    info: ModelInfo
    """Of the model, or of the first of several."""

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        """One transcript an image, uint8 RGB (H, W, 3), in order; positions in pixels of that image."""


class VaryingReader:
    """Reads each line and variants of it, and lets the readings vote.

    Args:
        reader: Reads them.
        variants: How the line is changed; the first leaves it as it is.
    """

    def __init__(self, reader: LineReader, variants: Sequence[Variant]) -> None:
        self.info = reader.info
        self._reader = reader
        self._variants = variants

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        """Read line images."""
        views = [self._reader.read([vary(image, variant) for image in images]) for variant in self._variants]
        return [vote(readings) for readings in zip(*views, strict=True)]


class EnsembleReader:
    """Reads with several models, one after another: only one is in memory.

    Args:
        loads: Load each model; the first decides where readings are even.
    """

    def __init__(self, loads: Sequence[Callable[[], LineReader]]) -> None:
        self._loads = loads
        self._held = (0, loads[0]())
        self.info = self._held[1].info

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        """Read line images."""
        if not images:
            return []
        # The model that read last begins, so that each call loads one model less.
        start = self._held[0]
        order = [start, *(i for i in range(len(self._loads)) if i != start)]
        read: dict[int, list[Transcript]] = {}
        for number in order:
            read[number] = self._hold(number).read(images)
        return [vote(readings) for readings in zip(*(read[i] for i in range(len(order))), strict=True)]

    def _hold(self, number: int) -> LineReader:
        if self._held[0] != number:
            del self._held  # before the next one is loaded
            self._held = (number, self._loads[number]())
        return self._held[1]
