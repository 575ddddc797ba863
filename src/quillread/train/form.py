"""What a family of networks makes of a line: whether it can be learnt, its tensors, its batches."""

from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from quillread.images.augment import AugmentConfig, augment
from quillread.images.fit import scale_to_height
from quillread.images.preprocess import PreprocessConfig, StepCache, preprocess
from quillread.images.tones import to_grey
from quillread.types import UInt8Image


class LineForm(Protocol):
    """Turns lines into training items and items into batches; goes to worker processes, so it holds no network."""

    def fault(self, text: str, aspect: float) -> str | None:
        """Why a line cannot be learnt, in a few words; None if it can.

        Args:
            text: Its text, not empty.
            aspect: Width over height of its image.
        """

    def cuts(self, text: str) -> bool:
        """Whether the end of a text is left out of what is learnt."""

    def remark(self, aspects: NDArray[np.float64]) -> str | None:
        """What people should know of how lines of these aspects (width over height) are brought to the network."""

    def make(self, image: UInt8Image, text: str, rng: np.random.Generator) -> Any:
        """Make an item: clean the image, distort it with `rng`, bring it to the form that the network takes."""

    def collate(self, items: Sequence[Any]) -> dict[str, Tensor]:
        """Make a batch; the first dimension of every tensor is the line.

        Returns:
            What the network's `forward` takes, and `weights` float32 (N,): how much each line counts in the loss.
        """


class LookMaker:
    """Cleans line images and distorts them: the part that all families share.

    Args:
        clean: The chain of steps that reading repeats.
        distort: The distortions of the training.
        height: Images higher than this are reduced to it before they are distorted, in pixels; not if they are not.
        max_width: They are narrowed to this then.
        resample: A filter of Pillow for it, that of the processor which does the rest of the way; None for the mean of
            the pixels.
        grey: Whether the network sees grey images only: distortions are faster on one channel.
        cache: Where slow steps are kept.
    """

    def __init__(
        self,
        clean: PreprocessConfig,
        distort: AugmentConfig,
        height: int,
        max_width: int,
        *,
        grey: bool,
        cache: StepCache | None,
        resample: int | None = None,
    ) -> None:
        self._clean = clean
        self._augment = distort
        self._height = height
        self._max_width = max_width
        self._grey = grey
        # What the chain made grey is distorted on one channel, which is faster, whatever the network sees.
        self._one_channel = grey or "grayscale" in clean.steps
        self._cache = cache
        self._resample = resample
        self._distorts = distort.is_active

    def __call__(self, image: UInt8Image, rng: np.random.Generator) -> UInt8Image:
        """Make one look of a line: uint8 grey (H, W) or RGB (H, W, 3)."""
        look, _ = preprocess(image, self._clean, self._cache)
        if self._one_channel:
            look = to_grey(look)
        if look.shape[0] > self._height and self._distorts:
            look = self._shrink(look)
        look = augment(look, rng, self._augment)
        if look.ndim == 2 and not self._grey:
            look = np.asarray(cv2.cvtColor(look, cv2.COLOR_GRAY2RGB), np.uint8)
        return look

    def _shrink(self, look: UInt8Image) -> UInt8Image:
        if self._resample is None:
            return scale_to_height(look, self._height, self._max_width)
        width = min(self._max_width, max(1, round(look.shape[1] * self._height / look.shape[0])))
        return np.asarray(Image.fromarray(look).resize((width, self._height), Image.Resampling(self._resample)))
