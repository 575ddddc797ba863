"""From a line image to what a compact model sees: fixed height, ink measured against the paper."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError, ImageError

GreyImage = NDArray[np.uint8]
"""uint8 grey, shape (H, W), 255 is white."""


@dataclass(frozen=True, slots=True)
class InkConfig:
    """How a line image becomes the pixels of a compact model. Stored with the weights, so that reading repeats it."""

    height: int = 48
    """Height of the result in pixels."""
    max_width: int = 4096
    """Wider results are narrowed to this many pixels; a page-wide line at height 48 is about 1,000 wide."""
    paper_percentile: float = 75.0
    """Brightness percentile taken for the paper; more than half of a line image is paper."""
    ink_percentile: float = 1.0
    """Brightness percentile taken for full ink."""
    min_contrast: float = 24.0
    """Least difference of paper and ink, in grey levels, that is stretched to the full range; keeps paper blank."""

    def __post_init__(self) -> None:
        if self.height < 16 or self.max_width < self.height:
            raise ConfigError(f"ink: height {self.height} and max_width {self.max_width} do not make a line image")
        if not 0 <= self.ink_percentile < self.paper_percentile <= 100:
            raise ConfigError("ink: ink_percentile must be below paper_percentile, both from 0 to 100")
        if self.min_contrast <= 0:
            raise ConfigError(f"ink.min_contrast must be above 0, got {self.min_contrast}")


def to_grey(image: NDArray[np.uint8]) -> GreyImage:
    """Reduce uint8 RGB (H, W, 3) or grey (H, W) to grey (H, W).

    Raises:
        ImageError: If the image is empty or of another form.
    """
    if image.dtype != np.uint8 or image.size == 0:
        raise ImageError(f"a line image must be uint8 and not empty, got {image.dtype} {image.shape}")
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[2] == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    raise ImageError(f"a line image must have the shape (H, W) or (H, W, 3), got {image.shape}")


def scale_to_height(image: NDArray[np.uint8], height: int, max_width: int) -> NDArray[np.uint8]:
    """Scale to a height, keeping the aspect ratio unless the result would be wider than `max_width`."""
    h, w = image.shape[:2]
    width = min(max_width, max(1, round(w * height / h)))
    if (h, w) == (height, width):
        return image
    shrinks = height < h
    return np.asarray(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR),
        np.uint8,
    )


def ink_pixels(image: NDArray[np.uint8], config: InkConfig) -> NDArray[np.float32]:
    """Scale a line image to the model's height and measure its ink.

    Args:
        image: uint8 RGB (H, W, 3) or grey (H, W).
        config: Height and contrast.

    Returns:
        float32 (config.height, W2): 0 for paper, about 1 for ink, within -0.5 and 1.5. One pixel of the result is
        H / config.height pixels of `image` (in x: W / W2).
    """
    grey = scale_to_height(to_grey(image), config.height, config.max_width)
    paper, ink = grey_percentiles(grey, (config.paper_percentile, config.ink_percentile))
    contrast = max(paper - ink, config.min_contrast)
    levels = np.arange(256, dtype=np.float32)
    return np.asarray(cv2.LUT(grey, ((np.float32(paper) - levels) / np.float32(contrast)).clip(-0.5, 1.5)), np.float32)


def grey_percentiles(grey: GreyImage, percents: Sequence[float]) -> list[float]:
    """Percentiles of the grey levels of an image (H, W), as of `numpy.percentile`, in a fraction of its time."""
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().cumsum(dtype=np.float64)
    levels = []
    for percent in percents:
        place = percent / 100 * (grey.size - 1)
        low = int(place)
        below, above = np.searchsorted(counts, (low, low + 1), side="right").tolist()
        levels.append(below + (place - low) * (min(above, 255) - below))
    return levels
