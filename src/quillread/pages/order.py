"""Reading order: lines into blocks, blocks one after the other."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quillread.types import Line, Polygon, Region

_ASIDE = 0.3
"""Regions that share less of the narrower one's width than this stand side by side."""
_NOTES, _NARROW = 0.4, 0.5
"""Notes have less than this share of the main column's writing, and of its width."""

_Bounds = NDArray[np.float32]
"""x0, y0, x1, y1 of boxes, shape (n, 4)."""
_Square = NDArray[np.float32]
"""A value for each pair, shape (n, n)."""


def order_lines(lines: Sequence[Line]) -> tuple[Region, ...]:
    """Put the lines of a page into regions in reading order.

    Lines that stand under one another, each the other's nearest neighbour, form a region, from the top
    downwards. A region comes before those below it, and of regions side by side the left one comes first. Notes in the
    margin come last.

    Args:
        lines: On a page that lies level.
    """
    if not lines:
        return ()
    bounds = _bounds_of(lines)
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
    share = _overlap(bounds) / np.maximum(np.minimum.outer(width, width), 1)
    columns: list[list[int]] = []
    for index in np.argsort(-width, kind="stable").tolist():
        is_near = [bool((share[index, column] >= _ASIDE).any()) for column in columns]
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
    is_near = _overlap(bounds) > 0.5 * np.minimum.outer(width, width)
    gap = middles[None, :] - middles[:, None]
    return _least(np.where(is_near & (gap > 0), gap, np.inf)), _least(np.where(is_near & (gap < 0), -gap, np.inf))


def _least(gaps: _Square) -> dict[int, int]:
    best = gaps.argmin(axis=1)
    return {index: int(other) for index, other in enumerate(best) if np.isfinite(gaps[index, other])}


def _sort_regions(regions: list[Region]) -> list[Region]:
    """Take again and again the uppermost region that has none waiting before it."""
    if not regions:
        return []
    bounds = _bounds_of(regions)
    by_place = np.lexsort((bounds[:, 0], bounds[:, 1]))
    precedes = _precedes(bounds[by_place])
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


def _precedes(bounds: _Bounds) -> NDArray[np.bool_]:
    """Whether the first of two boxes is read before the second, shape (n, n)."""
    x0, y0, x1, y1 = bounds.T
    middles = _middles(bounds)
    shares_width = _overlap(bounds) > 0.1 * np.minimum.outer(x1 - x0, x1 - x0)
    side_by_side = np.minimum.outer(y1, y1) > np.maximum.outer(y0, y0)
    beside = np.where(side_by_side, np.less.outer(x0, x0), np.less.outer(y0, y0))
    precedes = np.where(shares_width, np.less.outer(middles, middles), beside)
    np.fill_diagonal(precedes, False)
    return np.asarray(precedes, np.bool_)


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


def _overlap(bounds: _Bounds) -> _Square:
    """Width that two boxes share; negative is their distance."""
    return np.asarray(np.minimum.outer(bounds[:, 2], bounds[:, 2]) - np.maximum.outer(bounds[:, 0], bounds[:, 0]))
