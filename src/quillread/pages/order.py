"""Reading order: lines into blocks, blocks one after the other."""

from collections.abc import Sequence

from quillread.types import Box, Line, Polygon, Region


def order_lines(lines: Sequence[Line]) -> tuple[Region, ...]:
    """Put the lines of a page into regions in reading order.

    Lines that stand under one another, each the other's nearest neighbour, form a region, from the top
    downwards. A region comes before those below it, and of regions side by side the left one comes first.
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
    return tuple(_sort_regions(regions))


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


def _region(lines: list[Line]) -> Region:
    bounds = [line.polygon.bounds for line in lines]
    x0, y0 = min(box.x0 for box in bounds), min(box.y0 for box in bounds)
    x1, y1 = max(box.x1 for box in bounds), max(box.y1 for box in bounds)
    return Region(Polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1))), tuple(lines))


def _middle(box: Box) -> float:
    return (box.y0 + box.y1) / 2


def _overlap(a: Box, b: Box) -> float:
    return min(a.x1, b.x1) - max(a.x0, b.x0)
