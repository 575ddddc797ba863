"""A source whose images are decoded once and stay in memory."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from quillread.data.source import Source
from quillread.types import Sample, UInt8Image


class HeldSource:
    """Lines of another source, decoded beforehand; grey images are held as such.

    Worker processes that are forked share the memory.

    Args:
        source: One whose images are always the same.
        indices: The lines to hold; others are decoded whenever they are asked for.

    Raises:
        DataError: If an image cannot be read; names the row.
    """

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self._source = source
        self.name = source.name
        # Decoders release Python's lock, so threads are enough.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self._held = dict(zip(indices, pool.map(self._decode, indices), strict=True))

    def __len__(self) -> int:
        return len(self._source)

    def text(self, index: int) -> str:
        """NFC text of a line."""
        return self._source.text(index)

    def group(self, index: int) -> str:
        """Writer or document of a line; empty if unknown."""
        return self._source.group(index)

    def aspect(self, index: int) -> float:
        """Width over height of the line image."""
        return self._source.aspect(index)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """The line with its image."""
        if index not in self._held:
            return self._source.sample(index, rng)
        sample = self._held[index]
        grey = sample.image
        image = np.repeat(grey[..., None], 3, axis=2) if grey.ndim == 2 else grey.copy()
        return Sample(sample.id, image, sample.text, sample.group)

    def _decode(self, index: int) -> Sample:
        sample = self._source.sample(index, np.random.default_rng(0))
        return Sample(sample.id, _without_colour(sample.image), sample.text, sample.group)


def _without_colour(image: UInt8Image) -> UInt8Image:
    """One channel (H, W) of an image that has no colour; any other image as it is."""
    grey = image[..., :1]
    return np.ascontiguousarray(grey[..., 0]) if bool((image == grey).all()) else image
