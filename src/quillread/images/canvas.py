"""The canvas of a vision transformer: a fixed size that every line image is brought to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from quillread.errors import ConfigError
from quillread.images.augment import paper_level
from quillread.types import UInt8Image


@dataclass(frozen=True, slots=True)
class CanvasConfig:
    """Size of the image that the encoder sees, and how lines get there."""

    height: int = 384
    """Pixels, a multiple of the encoder's patch size."""
    width: int = 384
    """Pixels, a multiple of the encoder's patch size."""
    fit: Literal["squash", "pad"] = "squash"
    """`squash` resizes to the canvas whatever the shape of the line; `pad` keeps the aspect ratio of lines that are
    narrower than the canvas and fills the rest with paper. A line wider than the canvas is squashed by either."""

    def __post_init__(self) -> None:
        if self.height < 16 or self.width < 16:
            raise ConfigError(f"canvas: {self.height} x {self.width} pixels are too few, at least 16 x 16")


def pad_to_canvas(image: UInt8Image, config: CanvasConfig) -> UInt8Image:
    """Add paper at the right of a line image until it has the aspect ratio of the canvas; squashing comes later.

    Args:
        image: uint8 RGB (H, W, 3).
        config: `fit` "squash" leaves the image as it is, as does a line wider than the canvas.

    Returns:
        uint8 RGB (H, W2, 3), W2 >= W; the pixels of `image` keep their places.
    """
    height, width = image.shape[:2]
    missing = round(height * config.width / config.height) - width
    if config.fit == "squash" or missing <= 0:
        return image
    padded = cv2.copyMakeBorder(image, 0, 0, 0, missing, cv2.BORDER_CONSTANT, value=paper_level(image))
    return np.asarray(padded, np.uint8)


def squash(shape: Sequence[float], config: CanvasConfig) -> float:
    """How many times more a line image is narrowed than it is lowered on its way to the canvas; 1 keeps the aspect.

    Args:
        shape: (H, W, ...) of the line image.
        config: The canvas.
    """
    factor = (shape[1] / shape[0]) / (config.width / config.height)
    return max(1.0, factor) if config.fit == "pad" else factor
