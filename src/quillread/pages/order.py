"""Reading order: lines into blocks, blocks one after the other."""

from collections.abc import Sequence

from quillread.types import Box, Line, Polygon, Region

_ASIDE = 0.3
"""Regions that share less of the narrower one's width than this stand side by side."""
_NOTES, _NARROW = 0.4, 0.5
"""Notes have less than this share of the main column's writing, and of its width."""


def order_lines(lines: Sequence[Line]) -> tuple[Region, ...]:
    """Put the lines of a page into regions in reading order.

    Lines that stand under one another, each the other's nearest neighbour, form a region, from the top
    downwards. A region comes before those below it, and of regions side by side the left one comes first. Notes in the
    margin come last.

    Args:
        lines: On a page that lies level.
    """
    boxes = [line.polygon.bounds for line in lines]
    below = {upper: lower for upper in range(len(boxes)) if (lower := _nearest(boxes, upper, 1)) is not None}
    above = {lower: upper for lower in range(len(boxes)) if (upper := _nearest(boxes, lower, -1)) is not None}
    following = {upper: lower for upper, lower in below.items() if above.get(lower) == upper}
    starts = sorted(set(range(len(boxes))) - set(following.values()))
    regions = []
    for start in starts:
        members = [start]
        while members[-1] in following:
            members.append(following[members[-1]])
        regions.append(_region([lines[member] for member in members]))
    text, notes = _part_margins(regions)
    return (*_sort_regions(text), *_sort_regions(notes))


def _part_margins(regions: list[Region]) -> tuple[list[Region], list[Region]]:
    """Part regions into text and notes in the margin: narrow columns beside the main one, with much less writing."""
    columns: list[list[Region]] = []
    for region in sorted(regions, key=lambda region: -region.polygon.bounds.width):
        beside = [c for c in columns if all(_share(region, member) < _ASIDE for member in c)]
        near = [c for c in columns if c not in beside]
        columns = [*beside, [region, *(member for column in near for member in column)]]
    if len(columns) < 2:
        return regions, []
    amounts = [sum(line.polygon.bounds.width for region in column for line in region.lines) for column in columns]
    most = max(amounts)
    main = columns[amounts.index(most)]
    is_note = [
        amount < _NOTES * most and _width(column) < _NARROW * _width(main) and _height_shared(column, main)
        for column, amount in zip(columns, amounts, strict=True)
    ]
    text = [region for column, note in zip(columns, is_note, strict=True) if not note for region in column]
    return text, [region for region in regions if not any(region is member for member in text)]


def _nearest(boxes: list[Box], index: int, direction: int) -> int | None:
    """Index of the nearest box below (1) or above (-1) that shares most of the narrower one's width."""
    own = boxes[index]
    gaps = [
        (direction * (_middle(box) - _middle(own)), other)
        for other, box in enumerate(boxes)
        if other != index and _overlap(own, box) > 0.5 * min(own.width, box.width)
    ]
    return min(((gap, other) for gap, other in gaps if gap > 0), default=(0.0, None))[1]


def _sort_regions(regions: list[Region]) -> list[Region]:
    """Take again and again the uppermost region that has none waiting before it."""
    waiting = sorted(regions, key=lambda region: (region.polygon.bounds.y0, region.polygon.bounds.x0))
    ordered = []
    while waiting:
        free = (r for r in waiting if not any(_precedes(other, r) for other in waiting if other is not r))
        chosen = next(free, waiting[0])
        waiting.remove(chosen)
        ordered.append(chosen)
    return ordered


def _precedes(first: Region, second: Region) -> bool:
    a, b = first.polygon.bounds, second.polygon.bounds
    if _overlap(a, b) > 0.1 * min(a.width, b.width):
        return _middle(a) < _middle(b)
    side_by_side = min(a.y1, b.y1) - max(a.y0, b.y0) > 0
    return a.x0 < b.x0 if side_by_side else a.y0 < b.y0


def _share(a: Region, b: Region) -> float:
    """Share of the narrower region's width that both have."""
    first, second = a.polygon.bounds, b.polygon.bounds
    return _overlap(first, second) / max(min(first.width, second.width), 1.0)


def _width(column: list[Region]) -> float:
    bounds = [region.polygon.bounds for region in column]
    return max(box.x1 for box in bounds) - min(box.x0 for box in bounds)


def _height_shared(column: list[Region], main: list[Region]) -> bool:
    """Whether a column stands beside another, and not above or below it: a date, a signature, a page number."""
    top, bottom = (fn(getattr(r.polygon.bounds, y) for r in main) for fn, y in ((min, "y0"), (max, "y1")))
    middles = [_middle(region.polygon.bounds) for region in column]
    return all(top < middle < bottom for middle in middles)


def _region(lines: list[Line]) -> Region:
    bounds = [line.polygon.bounds for line in lines]
    x0, y0 = min(box.x0 for box in bounds), min(box.y0 for box in bounds)
    x1, y1 = max(box.x1 for box in bounds), max(box.y1 for box in bounds)
    return Region(Polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1))), tuple(lines))


def _middle(box: Box) -> float:
    return (box.y0 + box.y1) / 2


def _overlap(a: Box, b: Box) -> float:
    return min(a.x1, b.x1) - max(a.x0, b.x0)
