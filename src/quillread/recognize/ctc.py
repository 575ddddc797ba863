"""Reads line images with a compact network: columns of class probabilities, decoded by CTC."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quillread.decode.ctc import LogProbs, greedy
from quillread.decode.hypothesis import Hypothesis
from quillread.images.ink import ink_pixels
from quillread.models.checkpoint import ModelInfo
from quillread.text.charset import Charset
from quillread.types import UInt8Image

_PAD = 64
"""Line images are padded to a multiple of this width, so that their number of different shapes stays small."""


class CtcBackend(Protocol):
    """A network that gives class probabilities for each column."""

    def __call__(self, pixels: NDArray[np.float32]) -> LogProbs:
        """Map float32 (N, 1, h, W) to log probabilities float32 (N, W / column_width, classes)."""


CtcDecoder = Callable[[LogProbs], Hypothesis]
"""Reads the columns of one line, (T, classes); positions in columns."""


class CtcEngine:
    """The compact family.

    Every line is padded by itself and batched only with lines of the same padded width: what is read in a line never
    depends on the lines beside it.

    Args:
        backend: The network.
        info: Its preprocessing and charset.
        batch_size: Most lines in one call of the network.
        decode: How columns become text; the best class of each if left out.
    """

    def __init__(
        self, backend: CtcBackend, info: ModelInfo, batch_size: int = 8, decode: CtcDecoder | None = None
    ) -> None:
        charset = Charset(info.charset)
        self._backend = backend
        self._info = info
        self._decode_columns = decode or (lambda log_probs: greedy(log_probs, charset))
        self._batch_size = batch_size

    def __call__(self, images: Sequence[UInt8Image]) -> list[Hypothesis]:
        """Read line images, uint8 RGB (H, W, 3) each; positions in pixels of the image."""
        lines = [ink_pixels(image, self._info.ink) for image in images]
        batches: dict[int, list[int]] = {}
        for i, line in enumerate(lines):
            batches.setdefault(-(-line.shape[1] // _PAD) * _PAD, []).append(i)
        read: dict[int, Hypothesis] = {}
        for width, members in batches.items():
            for start in range(0, len(members), self._batch_size):
                part = members[start : start + self._batch_size]
                pixels = np.zeros((len(part), 1, self._info.ink.height, width), np.float32)
                for row, i in enumerate(part):
                    pixels[row, 0, :, : lines[i].shape[1]] = lines[i]
                for i, log_probs in zip(part, self._backend(pixels), strict=True):
                    read[i] = self._decode(log_probs, lines[i].shape[1], images[i])
        return [read[i] for i in range(len(images))]

    def _decode(self, log_probs: LogProbs, width: int, image: UInt8Image) -> Hypothesis:
        columns = -(-width // self._info.column_width)
        to_image = self._info.column_width * image.shape[1] / width
        return self._decode_columns(log_probs[:columns]).scaled(to_image, float(image.shape[1]))
