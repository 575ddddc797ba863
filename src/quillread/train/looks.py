"""From line images to what a network is trained on: cleaned, distorted, brought to its size; knows no torch."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from quillread.images.augment import AUGMENT_HEIGHT, AugmentConfig, augment
from quillread.images.fit import CanvasConfig, ink_pixels, pad_to_canvas, scale_to_height
from quillread.images.preprocess import PreprocessConfig, StepCache, preprocess
from quillread.images.tones import to_grey
from quillread.models.model_folder import INFO_NAME, read_info
from quillread.models.trocr.files import read_json
from quillread.train.config import TrainConfig
from quillread.train.family_settings import SCRATCH_CANVAS
from quillread.types import UInt8Image

_BILINEAR, _BICUBIC = int(Image.Resampling.BILINEAR), int(Image.Resampling.BICUBIC)
_PUBLISHED = 384
"""Height and width of the canvas of all published checkpoints, in pixels."""


class LookMaker:
    """Cleans line images and distorts them: the part that all families share.

    Args:
        clean: The chain of steps that reading repeats.
        distort: The distortions of the training.
        height: Images higher than this are reduced to it before they are distorted, in pixels; not if they are not.
        max_width: Those that are wider, then or without that, are narrowed to this.
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
        look = augment(self.clean(image), rng, self._augment)
        if look.ndim == 2 and not self._grey:
            look = np.asarray(cv2.cvtColor(look, cv2.COLOR_GRAY2RGB), np.uint8)
        return look

    def clean(self, image: UInt8Image) -> UInt8Image:
        """What is distorted of a line: uint8 grey (H, W) or RGB (H, W, 3)."""
        look, _ = preprocess(image, self._clean, self._cache)
        if self._one_channel:
            look = to_grey(look)
        if self._distorts and (look.shape[0] > self._height or look.shape[1] > self._max_width):
            look = self._shrink(look)
        return look

    def _shrink(self, look: UInt8Image) -> UInt8Image:
        height = min(look.shape[0], self._height)
        if self._resample is None:
            return scale_to_height(look, height, self._max_width)
        width = min(self._max_width, max(1, round(look.shape[1] * height / look.shape[0])))
        return np.asarray(Image.fromarray(look).resize((width, height), Image.Resampling(self._resample)))


def trocr_looks(
    config: TrainConfig,
    canvases: tuple[CanvasConfig | None, ...],
    resample: int | None,
    *,
    grey: bool,
    cache: StepCache | None = None,
) -> LookMaker:
    """The looks of TrOCR's lines.

    Args:
        config: Preprocessing and distortions.
        canvases: Where the looks go; None for that of the model.
        resample: The filter on the way there, as Pillow numbers it; None for the mean of the pixels.
        grey: Whether one channel is enough.
        cache: Where slow steps are kept.
    """
    known = [canvas or CanvasConfig() for canvas in canvases]
    # Distortions of an image larger than the canvas would be lost on the way to it.
    height = max(64, *(canvas.height for canvas in known))
    # A line narrower than the canvas must not be narrowed on its way there.
    widest = max(16 * height, *(height * canvas.width // canvas.height + 1 for canvas in known))
    return LookMaker(config.preprocess, config.augment, height, widest, grey=grey, cache=cache, resample=resample)


def compact_looks(config: TrainConfig, cache: StepCache | None = None) -> LookMaker:
    """The looks of a compact network's lines."""
    ink = config.compact.ink
    # What reading keeps of a line, its height and the width of a long one, must not be lost here.
    height = max(AUGMENT_HEIGHT, ink.height)
    width = -(-ink.max_width * height // ink.height)
    return LookMaker(config.preprocess, config.augment, height, width, grey=True, cache=cache)


def training_view(config: TrainConfig) -> tuple[LookMaker, Callable[[UInt8Image], UInt8Image]]:
    """How a training brings lines to its network, for people to look at.

    Returns:
        What cleans and distorts, and what becomes of that: uint8 RGB (h, w, 3) or grey (h, w), as the network gets it
        but for the range of the numbers.
    """
    if config.family == "compact":

        def see_ink(look: UInt8Image) -> UInt8Image:
            ink = ink_pixels(look, config.compact.ink).clip(0, 1)
            return np.asarray(255 - (255 * ink).astype(np.uint8), np.uint8)

        return compact_looks(config), see_ink
    kept = _kept_canvas(config)
    own = config.trocr.canvas or kept
    canvas, resample = _canvas_of(config, own)

    def see_canvas(look: UInt8Image) -> UInt8Image:
        padded = pad_to_canvas(look, canvas)
        return np.asarray(Image.fromarray(padded).resize((canvas.width, canvas.height), resample))

    grey = "grayscale" in config.preprocess.steps
    # A model that learns from the one that it starts from gets looks that are large enough for both.
    canvases = (own, kept) if config.trocr.tuning.distil else (own,)
    return trocr_looks(config, canvases, resample, grey=grey), see_canvas


def _kept_canvas(config: TrainConfig) -> CanvasConfig | None:
    """The canvas on which the model that a run starts from reads; None where no folder says so."""
    if not config.start:
        return SCRATCH_CANVAS
    folder = Path(config.start)
    return read_info(folder).canvas if (folder / INFO_NAME).is_file() else None


def _canvas_of(config: TrainConfig, canvas: CanvasConfig | None) -> tuple[CanvasConfig, int]:
    """The canvas that lines come to if it is not known yet, and the filter on the way: of the start if it is a folder.

    Args:
        config: Of the training.
        canvas: That of the run, or of what it starts from.
    """
    resample = _BICUBIC if "trocr-small" in (config.start or "") else _BILINEAR
    size: object = None
    settings = Path(config.start or "") / "preprocessor_config.json"
    if config.start and settings.is_file():
        values = read_json(settings)
        resample, size = int(values.get("resample", resample)), values.get("size")
    if canvas is not None:
        return canvas, resample
    height, width = (size.get("height"), size.get("width")) if isinstance(size, dict) else (size, size)
    if isinstance(height, int) and isinstance(width, int):
        return CanvasConfig(height, width), resample
    return CanvasConfig(_PUBLISHED, _PUBLISHED), resample
