"""Reads line images with a compact network: columns of class probabilities, decoded by CTC."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quillread.decode.ctc import LogProbs, greedy
from quillread.decode.hypothesis import Hypothesis
from quillread.images.ink import ink_pixels
from quillread.images.variants import variants as variants_of
from quillread.images.variants import vary
from quillread.models.checkpoint import ModelInfo
from quillread.text.charset import Charset
from quillread.types import UInt8Image

_PAD = 64
"""Line images are padded to a multiple of this width, so that their number of different shapes stays small."""


class CtcBackend(Protocol):
    """A network that gives class probabilities for each column."""

    def __call__(self, pixels: NDArray[np.float32]) -> LogProbs:
        """Map float32 (N, 1, h, W) to log probabilities float32 (N, W / column_width, classes)."""


CtcDecoder = Callable[[Sequence[LogProbs]], Hypothesis]
"""Reads the columns, (T, classes), of one line and of variants of it; positions in its own, which come first."""


class CtcEngine:
    """The compact family.

    Every line is padded by itself and batched only with lines of the same padded width: what is read in a line never
    depends on the lines beside it.

    Args:
        backend: The network.
        info: Its preprocessing and charset.
        batch_size: Most lines in one call of the network.
        decode: How columns become text; the best class of each if left out.
        variants: How many ways each line is looked at; 1 for as it is.
    """

    def __init__(
        self,
        backend: CtcBackend,
        info: ModelInfo,
        batch_size: int = 8,
        decode: CtcDecoder | None = None,
        variants: int = 1,
    ) -> None:
        charset = Charset(info.charset)
        self._backend = backend
        self._info = info
        self._decode_columns = decode or (lambda views: greedy(views[0], charset))
        self._variants = variants_of(variants)
        self._batch_size = batch_size

    def __call__(self, images: Sequence[UInt8Image]) -> list[Hypothesis]:
        """Read line images, uint8 RGB (H, W, 3) each; positions in pixels of the image."""
        views = [vary(image, variant) for image in images for variant in self._variants]
        lines = [ink_pixels(view, self._info.ink) for view in views]
        columns = self._look(lines)
        count = len(self._variants)
        return [
            self._decode(columns[i * count : (i + 1) * count], lines[i * count].shape[1], image)
            for i, image in enumerate(images)
        ]

    def _look(self, lines: Sequence[NDArray[np.float32]]) -> list[LogProbs]:
        """Columns of lines of pixels, (h, W) each, as many as each is wide."""
        batches: dict[int, list[int]] = {}
        for i, line in enumerate(lines):
            batches.setdefault(-(-line.shape[1] // _PAD) * _PAD, []).append(i)
        seen: dict[int, LogProbs] = {}
        for width, members in batches.items():
            for start in range(0, len(members), self._batch_size):
                part = members[start : start + self._batch_size]
                pixels = np.zeros((len(part), 1, self._info.ink.height, width), np.float32)
                for row, i in enumerate(part):
                    pixels[row, 0, :, : lines[i].shape[1]] = lines[i]
                for i, log_probs in zip(part, self._backend(pixels), strict=True):
                    seen[i] = log_probs[: -(-lines[i].shape[1] // self._info.column_width)]
        return [seen[i] for i in range(len(lines))]

    def _decode(self, views: Sequence[LogProbs], width: int, image: UInt8Image) -> Hypothesis:
        to_image = self._info.column_width * image.shape[1] / width
        return self._decode_columns(views).scaled(to_image, float(image.shape[1]))
