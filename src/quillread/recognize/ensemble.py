"""Several recognisers, or one that looks at variants of each line, whose readings vote."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np

from quillread.decode.voting import vote
from quillread.models.model_folder import ModelInfo
from quillread.types import Polygon, Transcript, UInt8Image

_VARIANTS = ((0.0, 1.0), (0.15, 1.0), (-0.15, 1.0), (0.0, 0.93), (0.0, 1.07), (0.07, 1.0), (-0.07, 1.0))
"""Shear and stretch in width, the most useful first; the first is the image itself."""

MOST_VARIANTS = len(_VARIANTS)


@dataclass(frozen=True, slots=True)
class Variant:
    """How a line image is changed."""

    shear: float
    """Pixels to the right for each pixel up."""
    stretch: float
    """Width as a multiple."""


def variants(count: int) -> list[Variant]:
    """The first `count` variants, at most `MOST_VARIANTS`."""
    return [Variant(*values) for values in _VARIANTS[:count]]


def vary(image: UInt8Image, variant: Variant) -> UInt8Image:
    """Change a line image, uint8 RGB (H, W, 3); what is uncovered is filled with its paper. Only the width changes."""
    if variant == Variant(0.0, 1.0):
        return image
    height, width = image.shape[:2]
    # The top goes to the right where the shear is above 0; the left end of the writing stays within the image.
    matrix = np.array([[variant.stretch, -variant.shear, _shift(variant, height)], [0, 1, 0]], np.float64)
    size = (max(1, round(width * variant.stretch + abs(variant.shear) * height)), height)
    paper = np.percentile(image.reshape(-1, 3), 80, axis=0).tolist()
    method = cv2.INTER_AREA if variant.stretch < 1 else cv2.INTER_LINEAR
    changed = cv2.warpAffine(image, matrix, size, flags=method, borderMode=cv2.BORDER_CONSTANT, borderValue=paper)
    return np.asarray(changed, np.uint8)


def _shift(variant: Variant, height: int) -> float:
    """How far to the right the bottom of the line is moved."""
    return max(variant.shear, 0.0) * height


def place_back(read: Transcript, variant: Variant, shape: Sequence[int]) -> Transcript:
    """Move what was read in a variant of a line image to the line image, of a shape (H, W, ...)."""
    height, width = shape[:2]

    def back(x: float, y: float) -> float:
        found = (x - _shift(variant, height) + variant.shear * y) / variant.stretch
        return min(max(found, 0.0), float(width))

    words = (
        replace(word, polygon=Polygon(tuple((back(x, y), y) for x, y in word.polygon.points))) for word in read.words
    )
    characters = (replace(c, x0=back(c.x0, height / 2), x1=back(c.x1, height / 2)) for c in read.characters)
    return replace(read, words=tuple(words), characters=tuple(characters))


class LineReader(Protocol):
    """What reads line images: a `LineRecognizer`, or several."""

    info: ModelInfo
    """Of the model, or of the first of several."""

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        """One transcript an image, uint8 RGB (H, W, 3), in order; positions in pixels of that image."""


class VaryingReader:
    """Reads each line and variants of it, and lets the readings vote.

    Args:
        reader: Reads them.
        variants: How the line is changed; the first leaves it as it is.
    """

    def __init__(self, reader: LineReader, variants: Sequence[Variant]) -> None:
        self.info = reader.info
        self._reader = reader
        self._variants = variants

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        """Read line images."""
        views = [self._read(images, variant) for variant in self._variants]
        return [vote(readings) for readings in zip(*views, strict=True)]

    def _read(self, images: Sequence[UInt8Image], variant: Variant) -> list[Transcript]:
        """Read a variant of each image; places on the image itself."""
        found = self._reader.read([vary(image, variant) for image in images])
        return [place_back(read, variant, image.shape) for read, image in zip(found, images, strict=True)]


class EnsembleReader:
    """Reads with several models, whose readings vote.

    Args:
        readers: At least one; the first decides where readings are even.
    """

    def __init__(self, readers: Sequence[LineReader]) -> None:
        self._readers = readers
        self.infos = tuple(reader.info for reader in readers)
        self.info = self.infos[0]

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        """Read line images."""
        views = [reader.read(images) for reader in self._readers]
        return [vote(readings) for readings in zip(*views, strict=True)]
