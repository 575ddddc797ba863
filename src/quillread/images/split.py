"""Where the ink of a line is, and how a line that is too long is cut at the gaps between its words."""

import math
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.images.ink import to_grey
from quillread.types import Box, UInt8Image

_CONTRAST = 12
"""Ink is darker than the paper around it by this many grey levels."""
_RULE = 1.5
"""A run of ink in one row that is longer than this many heights of the line is a rule, not writing."""
_NEAR = 0.4
"""How far from the wanted place a cut may lie, in lengths of a part."""
_DISTANCE_COST = 0.02
"""What a cut at the end of that range costs more than one in its middle, in mean ink of the line; breaks ties only."""


def ink_mask(image: UInt8Image) -> NDArray[np.bool_]:
    """Tell ink from paper, whatever the light: darker than the mean of the surroundings.

    Args:
        image: uint8 RGB (H, W, 3) or grey (H, W).

    Returns:
        bool (H, W), true for ink. Specks of a single pixel are left out, and ruled lines.
    """
    grey = to_grey(image)
    block = max(3, grey.shape[0]) | 1
    dark = cv2.adaptiveThreshold(grey, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, block, _CONTRAST)
    crowd = cv2.boxFilter(dark, cv2.CV_16U, (3, 3), normalize=False, borderType=cv2.BORDER_REPLICATE)
    ruled = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((1, round(_RULE * grey.shape[0])), np.uint8))
    return np.asarray((dark > 0) & (crowd > 1) & (ruled == 0))


def ink_bounds(image: UInt8Image) -> Box:
    """Find the box around the ink of a line, in pixels; the whole image if there is none."""
    mask = ink_mask(image)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return Box(0.0, 0.0, float(mask.shape[1]), float(mask.shape[0]))
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def split_line(image: UInt8Image, max_width: float) -> list[tuple[int, int]]:
    """Cut a line into parts of about the same length, at the widest gaps near the places where that would be.

    Args:
        image: uint8 RGB (H, W, 3).
        max_width: Longest part, in pixels; at least 1.

    Returns:
        Left and right end of each part, in pixels, from left to right, without gaps or overlap. A cut goes through
        ink only if there is no gap in reach.
    """
    width, most = image.shape[1], int(max_width)
    if width <= most:
        return [(0, width)]
    cost = _cut_cost(ink_mask(image))
    cuts = [0]
    while (left := width - cuts[-1]) > most:
        parts = -(-left // most)
        share = left / parts
        # What remains on the right must fit into one part fewer.
        low = max(left - (parts - 1) * most, math.ceil(share * (1 - _NEAR)), 1)
        high = min(most, math.floor(share * (1 + _NEAR)), left - 1)
        offsets = np.arange(low, max(low, high) + 1)
        far = np.abs(offsets - share) / (_NEAR * share)
        cuts.append(cuts[-1] + int(offsets[np.argmin(cost[cuts[-1] + offsets] + _DISTANCE_COST * far)]))
    return list(pairwise([*cuts, width]))


def _cut_cost(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much a cut before each column hurts, (W + 1,): ink close by, and ink in wider and wider surroundings.

    The narrow window keeps the cut out of the ink; the wide ones prefer a gap between words to one between letters.
    In units of the mean ink of the line.
    """
    ink = mask.sum(axis=0, dtype=np.float64)
    rows = np.flatnonzero(mask.any(axis=1))
    height = float(rows[-1] + 1 - rows[0]) if len(rows) else float(mask.shape[0])
    total = np.concatenate(([0.0], np.cumsum(ink)))
    places = np.arange(len(ink) + 1)
    cost = np.zeros(len(places))
    for share, weight in ((0.04, 4.0), (0.15, 1.0), (0.3, 1.0), (0.6, 1.0)):
        reach = max(1, round(share * height / 2))
        low, high = np.maximum(places - reach, 0), np.minimum(places + reach, len(ink))
        cost += weight * (total[high] - total[low]) / (high - low)
    return np.asarray(cost / max(float(ink.mean()), 1e-9))
