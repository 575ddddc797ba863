"""How a line image is fitted to a network: ink of a fixed height (compact), a canvas of a fixed size (TrOCR)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError
from quillread.images.tones import grey_percentiles, paper_level, to_grey
from quillread.types import UInt8Image

_WIDEST = 65_536
"""Most pixels of a line, for a compact model; a network's memory grows with them."""
_INK = 0.35
"""What counts as ink where it is asked how high the writing stands: not the grey of paper and shadows."""
_MOST_ENLARGED = 1.35
"""Lines are enlarged by no more: beyond, more lines of new hands are read wrongly than rightly."""
_LARGEST_CANVAS = 4096
"""Most pixels of a side of TrOCR's canvas; its work grows with the square of the area."""


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
    spread: float = 0.0
    """Standard deviation of the ink from the middle of the writing, as a share of the height, to which lines are
    enlarged whose writing is lower: much paper was cut out with it. What is above and below is left out. 0 for never;
    lines of IAM have 0.12 to 0.18."""

    def __post_init__(self) -> None:
        if not 16 <= self.height <= self.max_width <= _WIDEST:
            raise ConfigError(f"ink: height {self.height} and max_width {self.max_width} do not make a line image")
        if not 0 <= self.ink_percentile < self.paper_percentile <= 100:
            raise ConfigError("ink: ink_percentile must be below paper_percentile, both from 0 to 100")
        if self.min_contrast <= 0:
            raise ConfigError(f"ink.min_contrast must be above 0, got {self.min_contrast}")
        if not 0 <= self.spread <= 0.5:
            raise ConfigError(f"ink.spread must be from 0 to 0.5, got {self.spread}")


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
        W / W2 pixels of `image` in x, and as many in y, of which rows may be left out.
    """
    grey = to_grey(image)
    pixels = _measure(grey, config)
    if config.spread > 0:
        rows = _rows_of_writing(pixels, config.spread, grey.shape[0])
        if rows.stop - rows.start < grey.shape[0]:
            return _measure(grey[rows], config)
    return pixels


def _measure(grey: NDArray[np.uint8], config: InkConfig) -> NDArray[np.float32]:
    grey = scale_to_height(grey, config.height, config.max_width)
    paper, ink = grey_percentiles(grey, (config.paper_percentile, config.ink_percentile))
    contrast = max(paper - ink, config.min_contrast)
    levels = np.arange(256, dtype=np.float32)
    return np.asarray(cv2.LUT(grey, ((np.float32(paper) - levels) / np.float32(contrast)).clip(-0.5, 1.5)), np.float32)


def _rows_of_writing(pixels: NDArray[np.float32], spread: float, height: int) -> slice:
    """The rows of a line image, `height` of them, that are to fill the height of a network.

    The middle of the writing is that of the ink around each place, so that a line that rises is not taken for a high
    one (compare the line normaliser of OCRopus and kraken).
    """
    h = pixels.shape[0]
    inked = np.where(pixels > _INK, pixels, np.float32(0)).clip(None, 1)
    places = (np.arange(h, dtype=np.float32) + 0.5) / h
    ink, first, second = np.stack((np.ones_like(places), places, places**2)) @ inked  # moments of each column
    total = float(ink.sum())
    if total < 1:
        return slice(0, height)
    middle = float(first.sum()) / total
    # A column with little ink around it has the middle of the whole line.
    doubt = 0.1 * total / len(ink)
    near, near_first = (cv2.GaussianBlur(each[None], (4 * h + 1, 1), 0.7 * h)[0] for each in (ink, first))
    middles = (near_first + doubt * middle) / (near + doubt)
    found = float((second - 2 * middles * first + middles**2 * ink).sum()) / total
    enlarged = min(max(spread / max(found, 1e-6) ** 0.5, 1.0), _MOST_ENLARGED)
    rows = round(height / enlarged)
    top = min(max(round(middle * height - rows / 2), 0), height - rows)
    return slice(top, top + rows)


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
        if max(self.height, self.width) > _LARGEST_CANVAS:
            most = f"at most {_LARGEST_CANVAS} x {_LARGEST_CANVAS}"
            raise ConfigError(f"canvas: {self.height} x {self.width} pixels are too many, {most}")


def pad_to_canvas(image: UInt8Image, config: CanvasConfig) -> UInt8Image:
    """Add paper at the right of a line image until it has the aspect ratio of the canvas; squashing comes later.

    Args:
        image: uint8 RGB (H, W, 3).
        config: `fit` "squash" leaves the image as it is, as does a line wider than the canvas.

    Returns:
        uint8 RGB (H, W2, 3), W2 >= W; the pixels of `image` keep their places.
    """
    missing = padded_width(image.shape, config) - image.shape[1]
    if missing == 0:
        return image
    padded = cv2.copyMakeBorder(image, 0, 0, 0, missing, cv2.BORDER_CONSTANT, value=paper_level(image))
    return np.asarray(padded, np.uint8)


def padded_width(shape: Sequence[float], config: CanvasConfig) -> int:
    """Width of what `pad_to_canvas` makes of an image of a shape, (H, W, ...)."""
    width = int(shape[1])
    return width if config.fit == "squash" else max(width, round(shape[0] * config.width / config.height))


def squash(shape: Sequence[float], config: CanvasConfig) -> float:
    """How many times more a line image is narrowed than it is lowered on its way to the canvas; 1 keeps the aspect.

    Args:
        shape: (H, W, ...) of the line image.
        config: The canvas.
    """
    factor = (shape[1] / shape[0]) / (config.width / config.height)
    return max(1.0, factor) if config.fit == "pad" else factor
