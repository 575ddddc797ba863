"""Reads line images with a compact network: columns of class probabilities, decoded by CTC."""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quillread.decode.ctc import LogProbs, greedy
from quillread.decode.hypothesis import Hypothesis
from quillread.images.fit import ink_pixels
from quillread.models.model_folder import ModelInfo
from quillread.recognize.ensemble import variants as variants_of
from quillread.recognize.ensemble import vary
from quillread.text.charset import Charset
from quillread.types import UInt8Image

_PAD = 64
"""Line images are padded to a multiple of this width, so that their number of different shapes stays small."""


class CtcBackend(Protocol):
    """A network that gives class probabilities for each column."""

    def __call__(self, lines: Sequence[NDArray[np.float32]]) -> Iterable[LogProbs]:
        """Map lines, float32 (h, W) each, to log probabilities, float32 (W / column_width, classes) each, in order."""


CtcDecoder = Callable[[Sequence[LogProbs]], Hypothesis]
"""Reads the columns, (T, classes), of one line and of variants of it; positions in its own, which come first."""


class CtcEngine:
    """The compact family.

    Every line is padded by itself: what is read in it does not depend on the lines beside it.

    Args:
        backend: The network.
        info: Its preprocessing and charset.
        decode: How columns become text; the best class of each if not given.
        variants: How many ways each line is looked at; 1 for as it is.
    """

    def __init__(
        self,
        backend: CtcBackend,
        info: ModelInfo,
        decode: CtcDecoder | None = None,
        variants: int = 1,
    ) -> None:
        charset = Charset(info.charset)
        self._backend = backend
        self._info = info
        self._decode_columns = decode or (lambda views: greedy(views[0], charset))
        self._variants = variants_of(variants)

    def __call__(self, images: Sequence[UInt8Image]) -> list[Hypothesis]:
        """Read line images, uint8 RGB (H, W, 3) each; positions in pixels of the image."""
        views = [vary(image, variant) for image in images for variant in self._variants]
        lines = [ink_pixels(view, self._info.ink) for view in views]
        count = len(self._variants)
        # Closed, so that no thread goes on reading where decoding fails.
        with contextlib.closing(self._look(lines)) as columns:
            return [
                self._decode(list(itertools.islice(columns, count)), lines[i * count].shape[1], image)
                for i, image in enumerate(images)
            ]

    def _look(self, lines: Sequence[NDArray[np.float32]]) -> Generator[LogProbs]:
        """Columns of lines of pixels, (h, W) each, as many as each is wide."""
        padded = [np.pad(line, ((0, 0), (0, -line.shape[1] % _PAD))) for line in lines]
        for line, log_probs in zip(lines, self._backend(padded), strict=True):
            yield log_probs[: -(-line.shape[1] // self._info.column_width)]

    def _decode(self, views: Sequence[LogProbs], width: int, image: UInt8Image) -> Hypothesis:
        to_image = self._info.column_width * image.shape[1] / width
        return self._decode_columns(views).scaled(to_image, float(image.shape[1]))
