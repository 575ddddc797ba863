"""Baselines and outlines that people draw: cut to the page, or refused with the place where they are wrong.

What lies beyond the page is cut off. A shape that crosses itself is refused rather than mended: which of its loops
was meant, only whoever has drawn it knows.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.images.geometry import polyline_length
from quillread.serve.faults import RequestError
from quillread.types import Line, Point

_MOST_POINTS = 1_000
_LEAST_LENGTH = 2.0
"""Pixels of a baseline."""
_LEAST_AREA = 4.0
"""Square pixels of an outline."""
_AT_ONCE = 128
"""Sides that are compared with all others at a time."""

Shape = Sequence[Sequence[float]]


class ShapeError(RequestError):
    """A baseline or an outline that cannot be; `point` in the answer is where, if it is somewhere."""

    status: ClassVar[int] = 422

    def __init__(
        self, message: str, *, code: str, hint: str | None = None, point: Point | None = None, **facts: Any
    ) -> None:
        place = {} if point is None else {"point": [round(value, 1) for value in point]}
        super().__init__(message, hint=hint, code=code, **place, **facts)


def fit_baseline(points: Shape, size: tuple[int, int], *, strict: bool = True) -> tuple[Point, ...]:
    """Cut a baseline to its page.

    Args:
        points: From the start of the writing to its end.
        size: Width and height of the page.
        strict: Whether it may not cross itself, as someone has just drawn it.

    Raises:
        ShapeError: If it has no length on the page, or crosses itself.
    """
    given = _checked(points, "baseline", 2)
    pieces = [piece for side in pairwise(given) if (piece := _clip_side(*side, size))]
    found = _without_repeats([point for piece in pieces for point in piece])
    if len(found) < 2 or polyline_length(found) < _LEAST_LENGTH:
        message = f"the baseline has no length on the page of {size[0]} x {size[1]} pixels"
        raise ShapeError(message, code="shape-off-page", point=given[0])
    if strict:
        _refuse_crossing(found, "baseline", closed=False)
    return tuple(found)


def fit_polygon(points: Shape, size: tuple[int, int], what: str = "polygon") -> tuple[Point, ...]:
    """Cut an outline to its page.

    Args:
        points: Its corners; the last joins the first.
        size: Width and height of the page.
        what: How errors name it.

    Raises:
        ShapeError: If it has no area on the page, or crosses itself.
    """
    given = _without_repeats(_checked(points, what, 3))
    if len(given) > 1 and given[0] == given[-1]:
        del given[-1]
    _refuse_crossing(given, what, closed=True)
    found = clip_polygon(given, size)
    if not found:
        message = f"the {what} has no area on the page of {size[0]} x {size[1]} pixels"
        raise ShapeError(message, code="shape-off-page", point=given[0])
    return found


def clip_polygon(points: Sequence[Point], size: tuple[int, int]) -> tuple[Point, ...]:
    """Cut an outline to its page; nothing is left of one that has no area there."""
    found = list(points)
    for axis, sign in ((0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)):
        found = cut(found, axis, 0.0 if sign > 0 else float(size[axis]), sign)
    found = _without_repeats(found)
    is_large = len(found) > 2 and cv2.contourArea(np.array(found, np.float32)) >= _LEAST_AREA
    return tuple(found) if is_large else ()


def lies_in(line: Line, polygon: Sequence[Sequence[float]]) -> bool:
    """Whether the middle of a line, halfway between the ends of its baseline, lies in an outline."""
    x, y = np.mean([line.baseline[0], line.baseline[-1]], axis=0).tolist()
    return len(polygon) > 2 and cv2.pointPolygonTest(np.array(polygon, np.float32), (x, y), False) >= 0


def cut(points: Sequence[Point], axis: int, bound: float, sign: float) -> list[Point]:
    """Keep the part of an outline on one side of a line along the page (Sutherland and Hodgman, 1974).

    Args:
        points: Its corners.
        axis: 0 for a vertical line, 1 for a level one.
        bound: Where it is.
        sign: 1 keeps what lies beyond, -1 what lies before.
    """
    kept: list[Point] = []
    for before, point in zip([points[-1], *points[:-1]] if points else [], points, strict=True):
        was_in, is_in = (sign * (end[axis] - bound) >= 0 for end in (before, point))
        if was_in != is_in:
            share = (bound - before[axis]) / (point[axis] - before[axis])
            place = [before[other] + share * (point[other] - before[other]) for other in (0, 1)]
            place[axis] = bound
            kept.append((place[0], place[1]))
        if is_in:
            kept.append(point)
    return kept


def _checked(points: Shape, what: str, least: int) -> list[Point]:
    if len(points) > _MOST_POINTS:
        message = f"the {what} has {len(points):,} points, and may have {_MOST_POINTS:,}"
        raise ShapeError(message, hint="simplify it", code="shape-most-points", most=_MOST_POINTS)
    if len(points) < least:
        message = f"the {what} has {len(points)} points, and needs {least}"
        raise ShapeError(message, code="shape-few-points", least=least)
    for point in points:
        if not all(math.isfinite(value) and abs(value) < 1e7 for value in point):
            message = f"the {what} has coordinates that are not on any page: {list(point)}"
            raise ShapeError(message, code="shape-off-page")
    return [(float(x), float(y)) for x, y in points]


def _without_repeats(points: Sequence[Point]) -> list[Point]:
    return [point for index, point in enumerate(points) if index == 0 or point != points[index - 1]]


def _clip_side(start: Point, end: Point, size: tuple[int, int]) -> tuple[Point, Point] | None:
    """The part of a side that lies on the page (Liang and Barsky, 1984)."""
    low, high = 0.0, 1.0
    for axis in (0, 1):
        step = end[axis] - start[axis]
        for bound, sign in ((0.0, 1.0), (float(size[axis]), -1.0)):
            room = sign * (start[axis] - bound)
            if step == 0:
                if room < 0:
                    return None
            elif sign * step > 0:
                low = max(low, -room / (sign * step))
            else:
                high = min(high, room / (-sign * step))
    if low >= high:
        return None
    ends = [(start[0] + at * (end[0] - start[0]), start[1] + at * (end[1] - start[1])) for at in (low, high)]
    return ends[0] if low > 0 else start, ends[1] if high < 1 else end


def _refuse_crossing(points: Sequence[Point], what: str, *, closed: bool) -> None:
    """Refuse a shape two sides of which cross; sides that only touch do not."""
    corners = np.array([*points, points[0]] if closed else points)
    starts, ends = corners[:-1], corners[1:]
    for first in range(0, len(starts), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        crossing = _crosses(starts[some], ends[some], starts, ends)
        if crossing.any():
            row, column = np.argwhere(crossing)[0]
            point = _meeting(starts[some][row], ends[some][row], starts[column], ends[column])
            hint = "draw it so that it goes round the writing once"
            message = f"the {what} crosses itself at ({point[0]:.0f}, {point[1]:.0f})"
            raise ShapeError(message, hint=hint, code="shape-crosses", point=point)


def _crosses(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], d: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether sides from a to b, (N, 2), cross sides from c to d, (M, 2); shape (N, M)."""

    def side(start: NDArray[np.float64], end: NDArray[np.float64], point: NDArray[np.float64]) -> NDArray[np.float64]:
        along, to = end - start, point - start
        return np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0])

    a, b = a[:, None], b[:, None]
    parted = side(a, b, c) * side(a, b, d) < 0
    return np.asarray(parted & (side(c, d, a) * side(c, d, b) < 0))


def _meeting(a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], d: NDArray[np.float64]) -> Point:
    along, other, between = b - a, d - c, c - a
    share = (between[0] * other[1] - between[1] * other[0]) / (along[0] * other[1] - along[1] * other[0])
    x, y = (a + share * along).tolist()
    return x, y
