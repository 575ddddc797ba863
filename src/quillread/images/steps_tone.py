"""Steps of preprocessing that change tones: denoising, contrast, illumination, thresholds.

Each takes uint8 RGB (H, W, 3) or grey (H, W) and returns a new image of the same kind and size. That of a threshold
holds only 0 and 255: brightness decides, and RGB has the same value in all three channels.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError
from quillread.images.tones import to_grey
from quillread.types import UInt8Image

_LIGHT_HEIGHT = 64
"""The light is estimated on a copy that is at most this high."""


@dataclass(frozen=True, slots=True)
class NonLocalMeansConfig:
    """Denoising that averages patches that look alike; names in brackets are OpenCV's."""

    strength: float = 10.0
    """Difference of grey levels that counts as noise (`h`); more removes faint strokes."""
    template_window: int = 7
    """Size of the patches in pixels, odd (`templateWindowSize`)."""
    search_window: int = 21
    """Size of the surroundings in which patches are looked for, in pixels, odd (`searchWindowSize`)."""

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 255:
            raise ConfigError(
                f"preprocess.non_local_means.strength must be above 0 and at most 255, got {self.strength}"
            )
        for name in ("template_window", "search_window"):
            if (size := getattr(self, name)) % 2 == 0 or not 3 <= size <= 99:
                raise ConfigError(f"preprocess.non_local_means.{name} must be odd, 3 to 99, got {size}")


@dataclass(frozen=True, slots=True)
class MedianConfig:
    """Denoising that takes the middle value of the pixels around: specks go, edges stay."""

    size: int = 3
    """Side of the square of pixels, odd (`ksize`). Strokes thinner than half of it go, too."""

    def __post_init__(self) -> None:
        if self.size % 2 == 0 or not 3 <= self.size <= 99:
            raise ConfigError(f"preprocess.median.size must be odd, 3 to 99, got {self.size}")


@dataclass(frozen=True, slots=True)
class ContrastStretchConfig:
    """Which brightness becomes black and which white; in between, levels are spread evenly."""

    black_percentile: float = 1.0
    """Percentile of brightness that becomes black."""
    white_percentile: float = 75.0
    """Percentile of brightness that becomes white; more than half of a line image is paper."""
    min_contrast: float = 32.0
    """Least difference of the two, in grey levels, that is stretched to the full range; keeps paper blank."""

    def __post_init__(self) -> None:
        if not 0 <= self.black_percentile < self.white_percentile <= 100:
            raise ConfigError(
                "preprocess.contrast_stretch: black_percentile must be below white_percentile, both from 0 to 100"
            )
        if not 1 <= self.min_contrast <= 255:
            raise ConfigError(f"preprocess.contrast_stretch.min_contrast must be 1 to 255, got {self.min_contrast}")


@dataclass(frozen=True, slots=True)
class IlluminationConfig:
    """How the light on the paper is told from the writing."""

    reach: float = 0.25
    """Size of what is filled in as writing, in heights of the line; more than the widest stroke."""

    def __post_init__(self) -> None:
        if not 0.05 <= self.reach <= 2:
            raise ConfigError(f"preprocess.illumination.reach must be 0.05 to 2, got {self.reach}")


def non_local_means(image: UInt8Image, config: NonLocalMeansConfig) -> UInt8Image:
    """Denoise with OpenCV's fast non-local means (Buades, Coll & Morel, CVPR 2005).

    RGB is compared as a whole, which takes 2.6 times as long as grey. OpenCV's own function for colour is not used:
    it compares light tones so coarsely that faint strokes are lost.
    """
    result = cv2.fastNlMeansDenoising(
        image,
        h=config.strength,
        templateWindowSize=config.template_window,
        searchWindowSize=config.search_window,
    )
    return np.asarray(result, np.uint8)


def median(image: UInt8Image, config: MedianConfig) -> UInt8Image:
    """Replace every pixel by the median of those around it, each channel by itself."""
    return np.asarray(cv2.medianBlur(image, config.size), np.uint8)


def contrast_stretch(image: UInt8Image, config: ContrastStretchConfig) -> UInt8Image:
    """Make the ink black and the paper white; the channels of RGB are stretched alike, so that hues stay."""
    counts = np.bincount(to_grey(image).ravel(), minlength=256).cumsum()
    black = int(np.searchsorted(counts, config.black_percentile / 100 * counts[-1], side="right"))
    white = int(np.searchsorted(counts, config.white_percentile / 100 * counts[-1], side="left"))
    span = max(white - black, config.min_contrast)
    levels = (np.arange(256) - (white - span)) * (255 / span)
    return np.asarray(cv2.LUT(image, levels.round().clip(0, 255).astype(np.uint8)), np.uint8)


def illumination(image: UInt8Image, config: IlluminationConfig) -> UInt8Image:
    """Divide by the light on the paper, so that shadows and stains go and the paper is white everywhere.

    The light is the image without its strokes (a grey closing), smoothed; each channel by itself, which takes the
    tint of the paper away, too.
    """
    height, width = image.shape[:2]
    scale = max(1.0, height / _LIGHT_HEIGHT)
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    reach = max(3, round(config.reach * size[1]))
    light = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((reach, reach), np.uint8))
    light = cv2.GaussianBlur(light, (0, 0), reach / 2, borderType=cv2.BORDER_REPLICATE)
    light = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.divide(image, light, scale=255), np.uint8)


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
