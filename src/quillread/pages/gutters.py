"""Gutters: where the two pages of an open book part, or two columns."""

import numpy as np
from numpy.typing import NDArray

_STEPS = 200
"""Places that are looked at, from the left end of the writing to the right one."""
_INTO = 0.05
"""Share of its length with which a line may reach over a gutter."""
_LINES, _LINES_APART = 3, 2
"""Lines that a side has at least; that of a side which stands far from the other."""
_WIDTH = 0.3
"""Share of the wider side's width that the other one has at least."""
_NOTES, _NARROW = 0.4, 0.5
"""Notes in the margin have less than these shares of the fuller side's writing and of the wider side's width."""
_APART = 0.35
"""Free width, as a share of the wider side's, beyond which no note stands: few lines make a page there."""
_SHARED = 0.5
"""Share of the lower side's height at which the other one has writing, too."""
_MOST = 0.5
"""Share of the writing that stands on both sides; above and below may be headings and footers across both."""

Parts = tuple[NDArray[np.intp], ...]
_Bounds = NDArray[np.float32]
"""x0, y0, x1, y1 of boxes, shape (n, 4)."""


def part_at_gutter(bounds: _Bounds) -> Parts | None:
    """Part the lines of a page that lies level where a gutter runs down between two pages or columns.

    One step of a recursive X-Y cut (Nagy and Seth, 1984): lines that run across the gutter, above or below the columns,
    are cut off with all that is above or below them. Of several gutters, the one with the most writing on its lesser
    side and the least across is taken. A narrow column with much less writing is no page but notes in the margin,
    unless it stands far away.

    Args:
        bounds: Boxes of the lines: x0, y0, x1, y1; shape (n, 4).

    Returns:
        Indexes of the lines above, left, right and below, rising; None if there is no gutter.
    """
    if len(bounds) < 2 * _LINES_APART:
        return None
    places = np.linspace(bounds[:, 0].min(), bounds[:, 2].max(), _STEPS + 1)[1:-1]
    found = [part for x in places.tolist() if (part := _part_at(bounds, x)) is not None]
    return max(found, key=lambda part: part[0])[1] if found else None


def _part_at(bounds: _Bounds, x: float) -> tuple[float, Parts] | None:
    """Part lines at a place, if a gutter is there; with how good a gutter it is."""
    slack = _INTO * (bounds[:, 2] - bounds[:, 0])
    is_left, is_right = bounds[:, 2] - slack <= x, bounds[:, 0] + slack >= x
    is_across = ~(is_left | is_right)
    enough, across = _MOST * _writing(bounds), _writing(bounds[is_across])
    if not is_left.any() or not is_right.any() or across > enough:
        return None
    middles = (bounds[:, 1] + bounds[:, 3]) / 2
    # Bands between the lines that run across, numbered from the top; the fullest one is parted.
    band = np.searchsorted(np.sort(middles[is_across]), middles)
    amounts = np.bincount(band, np.where(is_across, 0, bounds[:, 2] - bounds[:, 0]))
    fullest = int(amounts.argmax())
    inside = (band == fullest) & ~is_across
    left, right = np.flatnonzero(inside & is_left), np.flatnonzero(inside & ~is_left)
    if amounts[fullest] < enough or not _are_pages(bounds[left], bounds[right], across):
        return None
    # A line that runs across ends the band that is above it.
    below = np.flatnonzero((band > fullest) | (is_across & (band == fullest)))
    lesser = min(_writing(bounds[left]), _writing(bounds[right]))
    return lesser - across, (np.flatnonzero(band < fullest), left, right, below)


def _are_pages(left: _Bounds, right: _Bounds, across: float) -> bool:
    """Whether the lines on either side of a place are pages, or columns, that stand beside each other."""
    fewest = min(len(left), len(right))
    if fewest < _LINES_APART:
        return False
    narrow, wide = sorted(float(np.ptp(side[:, ::2])) for side in (left, right))
    little, much = sorted(_writing(side) for side in (left, right))
    free = float(right[:, 0].min() - left[:, 2].max())
    are_full = fewest >= _LINES and (little >= _NOTES * much or narrow >= _NARROW * wide)
    are_apart = free >= _APART * wide and not across
    tops, ends = (left[:, 1].min(), right[:, 1].min()), (left[:, 3].max(), right[:, 3].max())
    lower = min(ends[0] - tops[0], ends[1] - tops[1])
    are_beside = min(ends) - max(tops) >= _SHARED * lower
    return bool(narrow >= _WIDTH * wide and are_beside and (are_full or are_apart))


def _writing(bounds: _Bounds) -> float:
    return float((bounds[:, 2] - bounds[:, 0]).sum())
