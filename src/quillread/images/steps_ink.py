"""Steps that decide for every pixel whether it is ink: black, or paper: white.

Each takes uint8 RGB (H, W, 3) or grey (H, W) and returns a new image of the same kind and size that holds only 0 and
255. Brightness decides; RGB has the same value in all three channels then.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError
from quillread.images.ink import to_grey
from quillread.types import UInt8Image


@dataclass(frozen=True, slots=True)
class AdaptiveThresholdConfig:
    """Ink is what is darker than the pixels around it; names in brackets are OpenCV's."""

    method: Literal["gaussian", "mean"] = "gaussian"
    """How the pixels around are averaged: nearer ones count more, or all alike (`adaptiveMethod`)."""
    block: int = 31
    """Size of the surroundings in pixels, odd (`blockSize`); several times wider than a stroke."""
    offset: float = 12.0
    """Grey levels by which ink is darker than its surroundings (`C`). Less keeps faint strokes, and noise."""

    def __post_init__(self) -> None:
        if self.block % 2 == 0 or not 3 <= self.block <= 999:
            raise ConfigError(f"preprocess.adaptive_threshold.block must be odd, 3 to 999, got {self.block}")
        if not -255 <= self.offset <= 255:
            raise ConfigError(f"preprocess.adaptive_threshold.offset must be -255 to 255, got {self.offset}")


@dataclass(frozen=True, slots=True)
class SauvolaConfig:
    """Ink is what is darker than a threshold that follows the mean and the contrast of the pixels around."""

    window: int = 31
    """Size of the surroundings in pixels, odd; several times wider than a stroke."""
    k: float = 0.2
    """How far the threshold lies below the mean where the contrast is low; less keeps faint strokes, and noise."""
    contrast: float = 128.0
    """Standard deviation of grey levels that counts as full contrast (`R` of the paper)."""

    def __post_init__(self) -> None:
        if self.window % 2 == 0 or not 3 <= self.window <= 999:
            raise ConfigError(f"preprocess.sauvola.window must be odd, 3 to 999, got {self.window}")
        if not 0 < self.k < 1:
            raise ConfigError(f"preprocess.sauvola.k must be between 0 and 1, got {self.k}")
        if not 1 <= self.contrast <= 255:
            raise ConfigError(f"preprocess.sauvola.contrast must be 1 to 255, got {self.contrast}")


def adaptive_threshold(image: UInt8Image, config: AdaptiveThresholdConfig) -> UInt8Image:
    """Compare every pixel with the average around it (OpenCV's adaptiveThreshold)."""
    method = cv2.ADAPTIVE_THRESH_GAUSSIAN_C if config.method == "gaussian" else cv2.ADAPTIVE_THRESH_MEAN_C
    grey = to_grey(image)
    result = cv2.adaptiveThreshold(grey, 255, method, cv2.THRESH_BINARY, config.block, config.offset)
    return _like(image, np.asarray(result, np.uint8))


def otsu(image: UInt8Image) -> UInt8Image:
    """Compare every pixel with the one level that parts the image best (Otsu 1979); one level alone is paper."""
    grey = to_grey(image)
    low, high, _, _ = cv2.minMaxLoc(grey)
    if low == high:
        return np.full_like(image, 255)
    _, result = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return _like(image, np.asarray(result, np.uint8))


def sauvola(image: UInt8Image, config: SauvolaConfig) -> UInt8Image:
    """Compare every pixel with mean * (1 + k * (deviation / contrast - 1)) of the pixels around it.

    Sauvola & Pietikäinen, "Adaptive document image binarization", Pattern Recognition 33 (2000).
    """
    grey = to_grey(image).astype(np.float32)
    window = (config.window, config.window)
    mean = cv2.boxFilter(grey, cv2.CV_32F, window, borderType=cv2.BORDER_REFLECT)
    square = cv2.sqrBoxFilter(grey, cv2.CV_32F, window, borderType=cv2.BORDER_REFLECT)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    threshold = mean * (1 + config.k * (deviation / config.contrast - 1))
    return _like(image, np.where(grey >= threshold, np.uint8(255), np.uint8(0)))


def _like(image: UInt8Image, grey: NDArray[np.uint8]) -> UInt8Image:
    """Give a grey result as many channels as the image has."""
    return grey if image.ndim == 2 else np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
