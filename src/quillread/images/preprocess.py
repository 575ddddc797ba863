"""The chain of steps that cleans a line image before the model sees it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from quillread.config import suggest
from quillread.errors import ConfigError, ImageError
from quillread.images.cache import StepCache
from quillread.images.geometry import ChainedMap, CoordMap
from quillread.images.ink import to_grey
from quillread.images.steps_ink import AdaptiveThresholdConfig, SauvolaConfig, adaptive_threshold, otsu, sauvola
from quillread.images.steps_shape import UNMOVED, DeskewConfig, DeslantConfig, deskew, deslant
from quillread.images.steps_tone import (
    ContrastStretchConfig,
    IlluminationConfig,
    MedianConfig,
    NonLocalMeansConfig,
    contrast_stretch,
    illumination,
    median,
    non_local_means,
)
from quillread.types import UInt8Image

CLASSIC = ("grayscale", "non_local_means", "median", "adaptive_threshold")
"""The steps of the classic recipe that clean; perspective belongs to the augmentation, 224 x 224 is the canvas."""


@dataclass(frozen=True, slots=True)
class PreprocessConfig:
    """Which steps run on a line image, in which order. Stored with the weights, so that reading repeats them."""

    steps: tuple[str, ...] = ()
    """Names of `STEPS` in the order in which they run; none by default."""
    non_local_means: NonLocalMeansConfig = field(default_factory=NonLocalMeansConfig)
    median: MedianConfig = field(default_factory=MedianConfig)
    adaptive_threshold: AdaptiveThresholdConfig = field(default_factory=AdaptiveThresholdConfig)
    sauvola: SauvolaConfig = field(default_factory=SauvolaConfig)
    deskew: DeskewConfig = field(default_factory=DeskewConfig)
    deslant: DeslantConfig = field(default_factory=DeslantConfig)
    contrast_stretch: ContrastStretchConfig = field(default_factory=ContrastStretchConfig)
    illumination: IlluminationConfig = field(default_factory=IlluminationConfig)

    def __post_init__(self) -> None:
        for place, name in enumerate(self.steps):
            if name not in STEPS:
                raise ConfigError(f"preprocess.steps: unknown step {name!r}{suggest(str(name), list(STEPS))}")
            if name in self.steps[:place]:
                raise ConfigError(f"preprocess.steps: {name!r} is there twice")


def preprocess(
    image: UInt8Image, config: PreprocessConfig, cache: StepCache | None = None
) -> tuple[UInt8Image, CoordMap]:
    """Run the chain on a line image.

    Args:
        image: uint8 RGB (H, W, 3).
        config: The steps; without any, the image itself is returned.
        cache: Where results of non-local means are looked up and kept.

    Returns:
        uint8 RGB (H2, W2, 3), and the map from its pixels back to those of `image`.

    Raises:
        ImageError: If there are steps and the image is empty or of another form.
        OutputError: If the cache cannot be written.
    """
    if not config.steps:
        return image, UNMOVED
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(f"a line image must be uint8 (H, W, 3) and not empty, got {image.dtype} {image.shape}")
    image = np.ascontiguousarray(image)
    maps: list[CoordMap] = []
    for name in config.steps:
        image, back = STEPS[name](image, config, cache)
        if back is not UNMOVED:
            maps.append(back)
    if image.ndim == 2:
        image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB), np.uint8)
    return image, ChainedMap(tuple(maps)) if maps else UNMOVED


def _denoise(image: UInt8Image, config: PreprocessConfig, cache: StepCache | None) -> tuple[UInt8Image, CoordMap]:
    settings = config.non_local_means
    if cache is None:
        return non_local_means(image, settings), UNMOVED
    return cache.result(image, settings, non_local_means), UNMOVED


Step = Callable[[UInt8Image, PreprocessConfig, StepCache | None], tuple[UInt8Image, CoordMap]]

STEPS: dict[str, Step] = {
    "grayscale": lambda image, config, cache: (to_grey(image), UNMOVED),
    "non_local_means": _denoise,
    "median": lambda image, config, cache: (median(image, config.median), UNMOVED),
    "adaptive_threshold": lambda image, config, cache: (adaptive_threshold(image, config.adaptive_threshold), UNMOVED),
    "otsu": lambda image, config, cache: (otsu(image), UNMOVED),
    "sauvola": lambda image, config, cache: (sauvola(image, config.sauvola), UNMOVED),
    "deskew": lambda image, config, cache: deskew(image, config.deskew),
    "deslant": lambda image, config, cache: deslant(image, config.deslant),
    "contrast_stretch": lambda image, config, cache: (contrast_stretch(image, config.contrast_stretch), UNMOVED),
    "illumination": lambda image, config, cache: (illumination(image, config.illumination), UNMOVED),
}
"""The steps by name. After `grayscale` the image has one channel until the end of the chain, which makes all
steps after it faster."""
