"""What the line-finding network is to answer: maps drawn from known lines."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.models.page import MAPS, STRIDE

Floats = NDArray[np.float64]

_REACH = 1.0
"""Of baselines and bars to either side, in pixels of the maps: they are 3 thick, so closer lines run together."""
_SHIFT = 4  # cv2 takes coordinates with this many binary places


@dataclass(frozen=True, slots=True)
class TargetLine:
    """A line whose place is known."""

    baseline: Floats
    """(N, 2) x and y, from the start of the writing to its end."""
    body: float
    """Height of its small letters, in the same unit."""
    printed: bool = False
    """Whether it is print, not writing."""


@dataclass(frozen=True, slots=True)
class PageSample:
    """A page to learn from."""

    grey: NDArray[np.uint8]
    """uint8 (h, w)."""
    lines: Sequence[TargetLine]
    """In pixels of `grey`."""
    known: NDArray[np.uint8] | None = None
    """uint8 (h, w): 1 where all lines are among `lines`, 0 where there may be others; None if all are, everywhere."""


def draw_targets(sample: PageSample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw the maps of a page.

    Args:
        sample: Both sides divisible by `STRIDE`.

    Returns:
        The maps, 0 or 1, uint8 (4, h / 2, w / 2) in the order of `MAPS`, and where they are known, (h / 2, w / 2).
    """
    height, width = (side // STRIDE for side in sample.grey.shape)
    maps = np.zeros((len(MAPS), height, width), np.uint8)
    baseline, body, end, printed = maps
    for line in sample.lines:
        feet = line.baseline / STRIDE
        up = line.body / STRIDE
        band = [_fixed(np.concatenate([feet, feet[::-1] - (0, up)]))]
        cv2.fillPoly(body, band, 1, shift=_SHIFT)
        cv2.fillPoly(printed, band, int(line.printed), shift=_SHIFT)
        # Filled, since cv2 draws lines between pixels thicker than it is told.
        thick = np.concatenate([feet - (0, _REACH), feet[::-1] - (0, -_REACH)])
        cv2.fillPoly(baseline, [_fixed(thick)], 1, shift=_SHIFT)
        for x, y in (feet[0], feet[-1]):
            left, right, top, foot = x - _REACH, x + _REACH, y - 1.3 * up, y + 0.6 * up
            cv2.fillPoly(
                end, [_fixed(np.array([(left, top), (right, top), (right, foot), (left, foot)]))], 1, shift=_SHIFT
            )
    if sample.known is None:
        return maps, np.ones((height, width), np.uint8)
    return maps, np.ascontiguousarray(sample.known[::STRIDE, ::STRIDE][:height, :width])


def _fixed(points: Floats) -> NDArray[np.int32]:
    # Pixel i covers i to i + 1, while cv2 puts its middle at i.
    return np.round((points - 0.5) * (1 << _SHIFT)).astype(np.int32)
