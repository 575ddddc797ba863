"""Reading order: lines into blocks, blocks one after the other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quillread.pages.gutters import part_at_gutter
from quillread.types import Line, Polygon, Region

_ASIDE = 0.3
"""Regions that share less of the narrower one's width than this stand side by side."""
_NOTES, _NARROW = 0.4, 0.5
"""Notes have less than this share of the main column's writing, and of its width."""

_AT_ONCE = 256
"""Boxes that are compared with all others at a time: noise may look like thousands of lines."""

_Bounds = NDArray[np.float32]
"""x0, y0, x1, y1 of boxes, shape (n, 4)."""
_Pairs = NDArray[np.float32]
"""A value for each pair of some boxes and all, shape (m, n)."""


def order_lines(lines: Sequence[Line]) -> tuple[Region, ...]:
    """Put the lines of a page into regions in reading order.

    Lines that stand under one another, each the other's nearest neighbour, form a region, from the top
    downwards. A region comes before those below it, and of regions side by side the left one comes first. Notes in the
    margin come last. Of two pages or columns with a gutter between them, the left one comes first with all that is on
    it, its notes too.

    Args:
        lines: On a page that lies level.
    """
    if not lines:
        return ()
    bounds = _bounds_of(lines)
    parts = part_at_gutter(bounds)
    if parts is not None:
        return tuple(region for part in parts for region in order_lines([lines[index] for index in part]))
    below, above = _nearest(bounds)
    following = {upper: lower for upper, lower in below.items() if above.get(lower) == upper}
    _part_at_openings(following, below, _middles(bounds))
    starts = sorted(set(range(len(lines))) - set(following.values()))
    regions = []
    for start in starts:
        members = [start]
        while members[-1] in following:
            members.append(following[members[-1]])
        regions.append(_region([lines[member] for member in members]))
    text, notes = _part_margins(regions)
    return (*_sort_regions(text), *_sort_regions(notes))


def _part_at_openings(following: dict[int, int], below: dict[int, int], middles: NDArray[np.float32]) -> None:
    """Part a block where a line beside it leads into it: a salutation stands lower than the date, above the letter.

    Without that, a date on the right and an indented first line would be one block, and "Dear ..." to their left be
    read before both.
    """
    leading = {lower: upper for upper, lower in following.items()}
    for aside, lower in below.items():
        if following.get(aside) == lower:
            continue
        while lower in leading:
            upper = leading[lower]
            if middles[upper] < middles[aside] < middles[lower]:
                del following[upper], leading[lower]
                break
            lower = upper


def _part_margins(regions: list[Region]) -> tuple[list[Region], list[Region]]:
    """Part regions into text and notes in the margin: narrow columns beside the main one, with much less writing."""
    bounds = _bounds_of(regions)
    width = bounds[:, 2] - bounds[:, 0]
    columns: list[list[int]] = []
    for index in np.argsort(-width, kind="stable").tolist():
        share = (_overlap(bounds[[index]], bounds) / np.maximum(np.minimum(width[index], width), 1))[0]
        is_near = [bool((share[column] >= _ASIDE).any()) for column in columns]
        joined = [index, *(member for column, near in zip(columns, is_near, strict=True) if near for member in column)]
        columns = [*(column for column, near in zip(columns, is_near, strict=True) if not near), joined]
    if len(columns) < 2:
        return regions, []
    written = np.array([sum(line.polygon.bounds.width for line in region.lines) for region in regions])
    amounts = [float(written[column].sum()) for column in columns]
    main = columns[amounts.index(max(amounts))]
    notes = {
        member
        for column, amount in zip(columns, amounts, strict=True)
        if amount < _NOTES * max(amounts) and _stand_beside(bounds[column], bounds[main])
        for member in column
    }
    text = [region for index, region in enumerate(regions) if index not in notes]
    return text, [region for index, region in enumerate(regions) if index in notes]


def _stand_beside(column: _Bounds, main: _Bounds) -> bool:
    """Whether a narrow column stands beside another, and not above or below it: a date, a signature, a page number."""
    middles = _middles(column)
    is_narrow = np.ptp(column[:, ::2]) < _NARROW * np.ptp(main[:, ::2])
    return bool(is_narrow and (middles > main[:, 1].min()).all() and (middles < main[:, 3].max()).all())


def _nearest(bounds: _Bounds) -> tuple[dict[int, int], dict[int, int]]:
    """For each box the nearest one below and the nearest one above that share most of the narrower one's width."""
    width, middles = bounds[:, 2] - bounds[:, 0], _middles(bounds)
    below: dict[int, int] = {}
    above: dict[int, int] = {}
    for start in range(0, len(bounds), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        is_near = _overlap(bounds[some], bounds) > 0.5 * np.minimum.outer(width[some], width)
        gap = middles[None, :] - middles[some, None]
        below |= _least(np.where(is_near & (gap > 0), gap, np.inf), start)
        above |= _least(np.where(is_near & (gap < 0), -gap, np.inf), start)
    return below, above


def _least(gaps: _Pairs, start: int) -> dict[int, int]:
    best = gaps.argmin(axis=1)
    return {start + row: int(other) for row, other in enumerate(best) if np.isfinite(gaps[row, other])}


def _sort_regions(regions: list[Region]) -> list[Region]:
    """Take again and again the uppermost region that has none waiting before it."""
    if not regions:
        return []
    bounds = _bounds_of(regions)
    by_place = np.lexsort((bounds[:, 0], bounds[:, 1]))
    bounds = bounds[by_place]
    starts = range(0, len(bounds), _AT_ONCE)
    precedes = np.vstack([_precede(bounds[start : start + _AT_ONCE], bounds) for start in starts])
    np.fill_diagonal(precedes, False)
    before = precedes.sum(axis=0)
    waiting = np.ones(len(regions), bool)
    ordered = []
    for _ in regions:
        free = np.flatnonzero(waiting & (before == 0))
        # Where each waits for another, the uppermost one is taken.
        chosen = int(free[0]) if len(free) else int(waiting.argmax())
        waiting[chosen] = False
        before -= precedes[chosen]
        ordered.append(regions[by_place[chosen]])
    return ordered


def _precede(some: _Bounds, bounds: _Bounds) -> NDArray[np.bool_]:
    """Whether some boxes are read before each of all, shape (m, n); of a box and itself it says nothing."""
    (x0, y0, x1, y1), (left, top, right, bottom) = some.T, bounds.T
    shares_width = _overlap(some, bounds) > 0.1 * np.minimum.outer(x1 - x0, right - left)
    side_by_side = np.minimum.outer(y1, bottom) > np.maximum.outer(y0, top)
    beside = np.where(side_by_side, np.less.outer(x0, left), np.less.outer(y0, top))
    return np.asarray(np.where(shares_width, np.less.outer(_middles(some), _middles(bounds)), beside), np.bool_)


def _region(lines: list[Line]) -> Region:
    x0, y0, x1, y1 = (
        pick(getattr(line.polygon.bounds, side) for line in lines)
        for pick, side in ((min, "x0"), (min, "y0"), (max, "x1"), (max, "y1"))
    )
    return Region(Polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1))), tuple(lines))


def _bounds_of(items: Sequence[Line] | Sequence[Region]) -> _Bounds:
    boxes = [item.polygon.bounds for item in items]
    return np.array([(box.x0, box.y0, box.x1, box.y1) for box in boxes], np.float32)


def _middles(bounds: _Bounds) -> NDArray[np.float32]:
    return np.asarray((bounds[:, 1] + bounds[:, 3]) / 2, np.float32)


def _overlap(some: _Bounds, bounds: _Bounds) -> _Pairs:
    """Width that some boxes share with each of all; negative is their distance."""
    return np.asarray(np.minimum.outer(some[:, 2], bounds[:, 2]) - np.maximum.outer(some[:, 0], bounds[:, 0]))
