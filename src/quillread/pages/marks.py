"""The marks of the line-finding network: found on its maps, joined, and those that are left alone, print among them."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.pages.bodies import Body
from quillread.pages.ink import Floats

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


_SURE = 0.4
"""Least value of a pixel of the baseline map that counts."""
_SHORTEST = 3
"""Columns of the shortest baseline, in pixels of the maps."""
_SUPPORT = 0.4
"""Least mean value of the body map above a baseline; less is a rule, or a scrap beyond the end of a line."""
_SCRAP = 2.0
"""Columns are further apart than this, in heights of small letters: a bar in a narrower gap was put too early."""
_WRITING = 0.5
"""Where a smaller share of all lines is writing, print is not a side matter: it is kept."""
_EDGE, _LETTER = 0.004, 0.5
"""A line may be cut off by the side of the image if it comes this near to it: over the width of the image, or over the
height of small letters."""
_FEWEST_CUT, _MOSTLY = 3, 0.6
"""Fewer lines at the side of the image, or a smaller share of a column, may be a note that begins there."""
_SMALL_PRINT = 0.8
"""Print with letters higher than this, over those of the writing, is kept."""
_TALLEST = 60
"""Small letters higher than this, in pixels of the maps, are taken for as high as this."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A piece of a baseline, in pixels of the maps."""

    xs: Floats
    """Rising, shape (n,)."""
    ys: Floats
    """Shape (n,)."""
    body: float
    """Height of the small letters above it."""
    printed: bool = False
    """Whether the letters are print."""


def find_marks(maps: Floats) -> list[Mark]:
    """Take the baselines off the maps; where the network put an upright bar, one ends.

    Args:
        maps: Probabilities, shape (4, h, w), in the order of `MAPS`.
    """
    baseline, body, end, printed = maps
    score = baseline * (1 - end)
    count, labels = cv2.connectedComponents((score > _SURE).astype(np.uint8), connectivity=8)
    if count == 1:
        return []
    ys, xs = np.nonzero(labels)
    weight = score[ys, xs]
    width = maps.shape[2]
    column = labels[ys, xs].astype(np.int64) * width + xs
    # One weighted height for each column of each component.
    keys, inverse = np.unique(column, return_inverse=True)
    heights = np.bincount(inverse, weights=weight * ys) / np.bincount(inverse, weights=weight)
    starts = np.flatnonzero(np.diff(keys // width, prepend=-1))
    marks = []
    for own_xs, own_ys in zip(np.split(keys % width, starts[1:]), np.split(heights, starts[1:]), strict=True):
        if len(own_xs) >= _SHORTEST and _support(body, own_xs, own_ys) >= _SUPPORT:
            height = _body(body, own_xs, own_ys)
            is_print = _support(printed, own_xs, own_ys) > 0.5
            marks.append(Mark(own_xs.astype(np.float32), own_ys.astype(np.float32), height, is_print))
    return marks


def join_marks(marks: list[Mark], end: Floats, reach: float) -> list[Mark]:
    """Join pieces that continue one another and have no bar between them; of rival pieces the nearest.

    Args:
        marks: Pieces.
        end: Map of the bars, shape (h, w).
        reach: Widest gap that is bridged, in heights of small letters.
    """
    if not marks:
        return []
    pairs = sorted(
        (cost, i, j)
        for i, j in _candidates(marks, reach)
        if (cost := _joining_cost(marks[i], marks[j], end, reach)) < np.inf
    )
    following: dict[int, int] = {}
    followed: set[int] = set()
    for _, i, j in pairs:
        if i not in following and j not in followed:
            following[i] = j
            followed.add(j)
    joined = []
    for start in sorted(set(range(len(marks))) - followed):
        members = [marks[start]]
        while start in following:
            start = following[start]
            members.append(marks[start])
        lengths = [len(mark.xs) for mark in members]
        printed = float(np.average([mark.printed for mark in members], weights=lengths)) > 0.5
        joined.append(
            Mark(
                np.concatenate([mark.xs for mark in members]),
                np.concatenate([mark.ys for mark in members]),
                float(np.average([mark.body for mark in members], weights=lengths)),
                printed,
            )
        )
    return joined


def drop_print(marks: list[Mark]) -> list[Mark]:
    """Drop print that stands beside writing: small print of forms, letterheads, stamps.

    Where less than half of the length of all lines is writing, all of them are kept; and so is print with letters about
    as high as those of the writing.
    """
    writing = [mark for mark in marks if not mark.printed]
    if sum(len(mark.xs) for mark in writing) < _WRITING * sum(len(mark.xs) for mark in marks) or not writing:
        return marks
    # A neat hand may pass for print, but not for small print.
    most = _SMALL_PRINT * float(np.median([mark.body for mark in writing]))
    return [mark for mark in marks if not mark.printed or mark.body > most]


def median_slope(marks: list[Mark]) -> float:
    """Slope in degrees, downwards, that half of the length of all lines does not exceed; 0 without lines."""
    if not marks:
        return 0.0
    rises = np.array([(mark.ys[-1] - mark.ys[0], mark.xs[-1] - mark.xs[0]) for mark in marks])
    slopes = np.degrees(np.arctan2(rises[:, 0], rises[:, 1]))
    order = np.argsort(slopes, kind="stable")
    lengths = np.cumsum(rises[order, 1])
    return float(slopes[order][np.searchsorted(lengths, lengths[-1] / 2)])


def drop_cut(marks: list[Mark], width: int) -> list[Mark]:
    """Drop a column that the left or right edge of the image cuts off while most of the writing is elsewhere.

    In a photograph of an open book it holds the ends of the lines of the facing page.

    Args:
        marks: Lines.
        width: Of the maps.
    """
    starts = np.array([mark.xs[0] for mark in marks])
    ends = np.array([mark.xs[-1] for mark in marks])
    near = np.array([max(_EDGE * width, _LETTER * mark.body) for mark in marks])
    cut = _cut_column(starts, ends, near) | _cut_column(width - 1 - ends, width - 1 - starts, near)
    return [mark for mark, is_cut in zip(marks, cut.tolist(), strict=True) if not is_cut]


def _cut_column(starts: Floats, ends: Floats, near: Floats) -> NDArray[np.bool_]:
    """Which lines stand in a column that the left edge cuts off; all arrays of shape (n,)."""
    at_edge = starts <= near
    none = np.zeros(len(starts), bool)
    if at_edge.sum() < _FEWEST_CUT:
        return none
    # A line that runs across both pages by mistake does not widen the column.
    reach = float(np.percentile(ends[at_edge], 75)) + float(near.max())
    inside = ends <= reach
    lengths = ends - starts
    mostly_cut = (inside & at_edge).sum() >= _MOSTLY * inside.sum()
    return inside if mostly_cut and lengths[inside].sum() < 0.5 * lengths.sum() else none


def _candidates(marks: list[Mark], reach: float) -> list[tuple[int, int]]:
    """Pairs of pieces of which the second may continue the first: found for all at once, as noise gives thousands."""
    first = np.array([(mark.xs[0], mark.ys[0]) for mark in marks])
    last = np.array([(mark.xs[-1], mark.ys[-1]) for mark in marks])
    body = np.array([mark.body for mark in marks])
    higher = np.maximum.outer(body, body)
    gap = first[None, :, 0] - last[:, None, 0]
    rise = np.abs(first[None, :, 1] - last[:, None, 1])
    near = (gap > 0) & (gap < reach * higher) & (rise < 3 * higher)
    return [(int(i), int(j)) for i, j in np.argwhere(near)]


def _joining_cost(left: Mark, right: Mark, end: Floats, reach: float) -> float:
    """Gap and step between the end of one piece and the start of another; infinite if they do not belong together."""
    gap = float(right.xs[0] - left.xs[-1])
    body = max(left.body, right.body)
    if not 0 < gap < reach * body:
        return np.inf
    before, after = left.ys[left.xs >= left.xs[-1] - 2 * body], right.ys[right.xs <= right.xs[0] + 2 * body]
    rise = abs(float(np.median(after) - np.median(before)))
    if rise > 0.4 * body + 0.1 * gap:
        return np.inf
    if gap <= _SCRAP * body:
        return gap + 4 * rise
    at = np.linspace(0, 1, int(gap) + 2)
    xs = left.xs[-1] + at * gap
    ys = left.ys[-1] + at * (right.ys[0] - left.ys[-1]) - 0.5 * body
    crossed = end[np.clip(ys, 0, len(end) - 1).astype(int), xs.astype(int)]
    return np.inf if crossed.max() > 0.5 else gap + 4 * rise


def _support(body: Floats, xs: NDArray[np.int64], ys: NDArray[np.float64]) -> float:
    """How sure the network is of letters right above a baseline, from 0 to 1."""
    rows = np.clip(np.rint(ys).astype(int) - np.array([[1], [2]]), 0, len(body) - 1)
    return float(body[rows, xs].mean())


def _body(body: Floats, xs: NDArray[np.int64], ys: NDArray[np.float64]) -> float:
    """Height of the letters above a baseline: how far up the body map reaches in the usual column."""
    rows = np.rint(ys).astype(int) - np.arange(1, _TALLEST + 1)[:, None]
    inside = (rows >= 0) & (body[np.clip(rows, 0, len(body) - 1), xs] > 0.5)
    gap = ~inside
    return max(2.0, float(np.median(np.where(gap.any(axis=0), gap.argmax(axis=0), _TALLEST))))
