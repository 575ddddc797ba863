"""Steps that clean a line image, the chain of them that a model asks for, and a cache of slow ones."""

import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from quillread.config import dump, suggest
from quillread.errors import ConfigError, ImageError, OutputError
from quillread.files import write_atomic
from quillread.images.geometry import ChainedMap, CoordMap
from quillread.images.steps_shape import UNMOVED, DeskewConfig, DeslantConfig, deskew, deslant
from quillread.images.steps_tone import (
    AdaptiveThresholdConfig,
    ContrastStretchConfig,
    IlluminationConfig,
    MedianConfig,
    NonLocalMeansConfig,
    SauvolaConfig,
    adaptive_threshold,
    contrast_stretch,
    illumination,
    median,
    non_local_means,
    otsu,
    sauvola,
)
from quillread.images.tones import to_grey
from quillread.types import UInt8Image

_FAST = 1
"""Level of compression: higher ones save a tenth and take several times as long."""


class StepCache:
    """Keeps what a step made of an image; several processes, on several machines, may share the folder.

    An entry is named after everything that its content depends on, so it never grows old. One that is damaged is
    computed and written anew.

    Args:
        folder: Where the entries lie, in subfolders; made when it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def result(self, image: UInt8Image, settings: Any, step: Callable[[UInt8Image, Any], UInt8Image]) -> UInt8Image:
        """Look up `step(image, settings)`; compute and keep it if it is not there.

        Args:
            image: uint8, any shape.
            settings: A dataclass with the settings of the step; its type stands for the step.
            step: Gives a uint8 image of the same shape.

        Raises:
            OutputError: If the result cannot be kept.
        """
        path = self._path(image, settings)
        found = _read(path, image.shape)
        if found is not None:
            return found
        result = step(image, settings)
        try:
            write_atomic(path, zlib.compress(np.ascontiguousarray(result).data, _FAST))
        except OutputError:
            # On a shared disk, another machine may have written the same content under the same temporary name.
            if _read(path, image.shape) is None:
                raise
        return result

    def _path(self, image: UInt8Image, settings: Any) -> Path:
        facts = [type(settings).__name__, dump(settings), image.shape, cv2.__version__]
        key = hashlib.blake2b(json.dumps(facts).encode(), digest_size=20)
        key.update(np.ascontiguousarray(image).data)
        name = key.hexdigest()
        return self.folder / name[:2] / name[2:]


def _read(path: Path, shape: tuple[int, ...]) -> UInt8Image | None:
    """Read an entry; None if there is none, or it is not whole."""
    try:
        pixels = zlib.decompress(path.read_bytes())
        # A copy, because pixels that lie in bytes could not be written to.
        return np.frombuffer(pixels, np.uint8).reshape(shape).copy()
    except (OSError, zlib.error, ValueError):
        return None


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
