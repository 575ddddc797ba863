"""Steps that turn and shear a line image: deskew and deslant.

Each takes uint8 RGB (H, W, 3) or grey (H, W) and returns an image of the same kind, of about the same size, with
the map from its pixels back. An image without ink, or whose writing is straight already, is returned as it is.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError
from quillread.images.geometry import AffineMap, CoordMap, Points
from quillread.images.tones import paper_level, to_grey
from quillread.types import UInt8Image

_Matrix = NDArray[np.float64]

UNMOVED = AffineMap.shift(0.0, 0.0)
"""The map of an image whose pixels kept their places."""

_SEARCH_HEIGHT = 64
"""Angles are looked for on a copy that is at most this high."""
_INK_CONTRAST = 20.0
"""Grey levels by which ink is darker than the paper around it, at least."""
_SMOOTH = np.array([0.25, 0.5, 0.25])
_LEAST_INK = 40
"""Pixels of ink on that copy below which there is nothing to measure."""


@dataclass(frozen=True, slots=True)
class DeskewConfig:
    """When a line that climbs or falls is turned level."""

    max_angle: float = 8.0
    """Degrees; steeper lines are not looked for. Above 0, at most 30."""
    min_angle: float = 0.4
    """Degrees; a line that is closer to level keeps its pixels as they are."""
    min_aspect: float = 4.0
    """Ink that is less than this many times wider than high is left alone: one word does not tell its angle."""

    def __post_init__(self) -> None:
        _check_angles("deskew", self.min_angle, self.max_angle, 30.0)
        if self.min_aspect < 1:
            raise ConfigError(f"preprocess.deskew.min_aspect must be at least 1, got {self.min_aspect}")


@dataclass(frozen=True, slots=True)
class DeslantConfig:
    """When slanted writing is sheared upright."""

    max_angle: float = 60.0
    """Degrees from upright; more slanted writing is not looked for. Above 0, at most 70."""
    min_angle: float = 3.0
    """Degrees; writing that is closer to upright keeps its pixels as they are."""

    def __post_init__(self) -> None:
        _check_angles("deslant", self.min_angle, self.max_angle, 70.0)


def _check_angles(step: str, least: float, most: float, bound: float) -> None:
    if not 0 <= least < most <= bound:
        raise ConfigError(
            f"preprocess.{step}: min_angle must be below max_angle, both from 0 to {bound:g}, got {least} and {most}"
        )


def deskew(image: UInt8Image, config: DeskewConfig) -> tuple[UInt8Image, CoordMap]:
    """Turn a line of writing level: by the angle at which its rows of ink are most sharply apart.

    The measure is the sum of the squared row counts of ink (the projection profile of Postl, "Detection of linear
    oblique structures and skew scan in digitized documents", ICPR 1986).
    """
    ink = _ink_points(image)
    if len(ink) < _LEAST_INK:
        return image, UNMOVED
    width, height = np.ptp(ink, axis=0).tolist()
    if width < config.min_aspect * max(height, 1.0):
        return image, UNMOVED
    along, across = ink.T / _reduction(image)
    angle = _sharpest(along, across, config.max_angle, 0.1)
    if not config.min_angle <= abs(angle) < config.max_angle:
        return image, UNMOVED
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return _move(image, np.array([[cos, sin], [-sin, cos]]), ink)


def deslant(image: UInt8Image, config: DeslantConfig) -> tuple[UInt8Image, CoordMap]:
    """Shear writing upright: by the angle at which its columns of ink are most sharply apart.

    The measure is the sum of the squared column counts of ink, after Vinciarelli & Luettin, "A new normalization
    technique for cursive handwritten words", Pattern Recognition Letters 22 (2001).
    """
    ink = _ink_points(image)
    if len(ink) < _LEAST_INK:
        return image, UNMOVED
    across, along = ink.T / _reduction(image)
    angle = _sharpest(along, across, config.max_angle, 1.0)
    if not config.min_angle <= abs(angle) < config.max_angle:
        return image, UNMOVED
    return _move(image, np.array([[1.0, -np.tan(np.radians(angle))], [0.0, 1.0]]), ink)


def _reduction(image: UInt8Image) -> float:
    """How many pixels of the image are one of the copy on which ink and angles are looked for."""
    return max(1.0, float(image.shape[0]) / _SEARCH_HEIGHT)


def _ink_points(image: UInt8Image) -> Points:
    """Find ink: for every pixel of the reduced copy that is ink, its centre in pixels of the image, float64 (N, 2)."""
    grey = to_grey(image)
    height, width = grey.shape
    scale = _reduction(image)
    small = cv2.resize(grey, (max(1, round(width / scale)), round(height / scale)), interpolation=cv2.INTER_AREA)
    around = cv2.blur(small, (_SEARCH_HEIGHT // 2 + 1,) * 2, borderType=cv2.BORDER_REPLICATE)
    depth = around.astype(np.float32) - small
    # Half as dark as the darkest strokes: neither shade nor what shines through from the other side.
    rows, columns = np.nonzero(depth > max(_INK_CONTRAST, 0.5 * float(np.percentile(depth, 98))))
    pixel = (width / small.shape[1], height / small.shape[0])
    return np.asarray(np.column_stack((columns + 0.5, rows + 0.5)) * pixel)


def _sharpest(along: NDArray[np.float64], across: NDArray[np.float64], bound: float, step: float) -> float:
    """Find the angle at which the ink, sheared back by it, piles up most.

    Args:
        along: Place of each pixel of ink in the direction of the line that is looked for, float64 (N,).
        across: Its place at right angles to that.
        bound: Degrees; the angle is within -bound and bound. An angle of `bound` means that no peak was found.
        step: Degrees; how finely the angle is told.
    """
    coarse = 5 * step
    near = _best(along, across, np.arange(-bound, bound + coarse / 2, coarse))
    return _best(along, across, np.arange(near - coarse, near + coarse + step / 2, step).clip(-bound, bound))


def _best(along: NDArray[np.float64], across: NDArray[np.float64], angles: NDArray[np.float64]) -> float:
    scores = []
    for slope in np.tan(np.radians(angles)):
        places = across - slope * along
        counts = np.bincount((places - places.min()).astype(np.int64)).astype(np.float64)
        # Pixels are rows and columns already: without the smoothing, no shear at all would be the sharpest too often.
        scores.append(float((np.convolve(counts, _SMOOTH) ** 2).sum()))
    return float(angles[int(np.argmax(scores))])


def _move(image: UInt8Image, linear: _Matrix, ink: Points) -> tuple[UInt8Image, CoordMap]:
    """Apply a linear map; the result has as much paper on every side of the ink as the image has."""
    moved = ink @ linear.T
    before, after = ink.min(axis=0), image.shape[1::-1] - ink.max(axis=0)
    offset = before - moved.min(axis=0)
    width, height = np.maximum(1, np.ceil(np.ptp(moved, axis=0) + before + after - 1e-6)).astype(int).tolist()
    # cv2 counts from the centres of pixels, the map from their corners.
    centred = np.column_stack((linear, linear @ (0.5, 0.5) + offset - 0.5))
    result = cv2.warpAffine(
        image,
        centred,
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=paper_level(image),
    )
    return np.asarray(result, np.uint8), AffineMap.inverse_of(np.column_stack((linear, offset)))
