"""Small print beside writing: the lines of forms that say what to write where."""

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.pages.bodies import Body

_LOWER = 0.8
"""Small print has letters lower than this, over those of the writing."""
_PIECES = 12
"""Fewer pieces of ink tell nothing."""
_STRAIGHT = 0.5
"""At least this share of its pieces ends within a pixel of a straight line."""
_JOINED, _WIDE = 0.35, 3.0
"""At least this share of its pieces is wider than so many heights of letters: its words run together when reduced."""


def is_small_print(own: NDArray[np.bool_], body: Body, usual: float) -> bool:
    """Whether a line is print, smaller than the writing of its page.

    Its letters are low and so close that they run together, but its words stand in a straight row, as joined-up letters
    of a hand with their descenders do not. The bounds were set on 20 pages of training data, whose print is that of
    one form.

    Args:
        own: Where the line has ink, shape (h, w).
        body: Its band.
        usual: Height of small letters on the page, in pixels.
    """
    height = body.height
    if height >= _LOWER * usual:
        return False
    top, foot = max(0, int(body.tops.min() - height)), int(body.feet.max() + height)
    _, _, stats, _ = cv2.connectedComponentsWithStats(own[top:foot].astype(np.uint8), connectivity=8)
    stats = stats[1:][stats[1:, cv2.CC_STAT_HEIGHT] > 0.5 * height]
    if len(stats) < _PIECES:
        return False
    joined = float((stats[:, cv2.CC_STAT_WIDTH] > _WIDE * height).mean())
    xs = stats[:, cv2.CC_STAT_LEFT] + stats[:, cv2.CC_STAT_WIDTH] / 2
    ends = (stats[:, cv2.CC_STAT_TOP] + stats[:, cv2.CC_STAT_HEIGHT]).astype(float)
    return joined >= _JOINED and _share_in_row(xs, ends, height) >= _STRAIGHT


def _share_in_row(xs: NDArray[np.float64], ys: NDArray[np.float64], height: float) -> float:
    """Share of points within a pixel of the straight line that most of them follow."""
    off = ys - np.polyval(np.polyfit(xs, ys, 1), xs)
    for _ in range(3):
        near = np.abs(off - np.median(off)) < 0.25 * height + 1
        if near.sum() < _PIECES // 2:
            break
        off = ys - np.polyval(np.polyfit(xs[near], ys[near], 1), xs)
    return float((np.abs(off) <= 1).mean())
