"""Which lines of a new layout are lines that a page has already: those whose baselines run along each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from quillread.images.crop import usual_height
from quillread.images.geometry import polyline_length
from quillread.types import Line

_PLACES = 17
"""Of a baseline that are compared."""
_REACH = 0.4
"""Baselines this much of the height of the lower line apart run along each other."""
_SHARE = 0.5
"""Part of a baseline that must lie on the other."""


@dataclass(frozen=True, slots=True)
class Matches:
    """New lines by number, with the old line that each is."""

    same: dict[int, int] = field(default_factory=dict)
    """New line -> old line, one to one."""
    covered: frozenset[int] = frozenset()
    """New lines that are no old line as a whole, but lie on some that stay: a part of one, or several in one."""


def match_lines(new: Sequence[Line], old: Sequence[Line], stays: Sequence[bool]) -> Matches:
    """Find which lines are the same.

    Args:
        new: Lines as they were found.
        old: Lines as they are.
        stays: For each old line, whether it stays where it is whatever is found.
    """
    if not new or not old:
        return Matches()
    new_on_old, old_on_new = _shares(new, old)
    both = np.minimum(new_on_old, old_on_new)
    rows, columns = np.nonzero(both >= _SHARE)
    order = sorted(zip(rows.tolist(), columns.tolist(), strict=True), key=lambda pair: (-both[pair], pair))
    same: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in order:
        if row not in same and column not in taken:
            same[row] = column
            taken.add(column)
    on_kept = (new_on_old * np.asarray(stays)).sum(axis=1)
    covered = frozenset(row for row in np.flatnonzero(on_kept >= _SHARE).tolist() if row not in same)
    return Matches(same, covered)


def _shares(new: Sequence[Line], old: Sequence[Line]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Part of each new baseline on each old one, and part of each old one on each new, both (N, M)."""
    places = [_places(line) for line in new], [_places(line) for line in old]
    heights = [_height(line) for line in new], [_height(line) for line in old]
    shares = np.zeros((len(new), len(old))), np.zeros((len(new), len(old)))
    low, high = (np.array([spots.min(axis=0) for spots in places[1]]), np.array([s.max(axis=0) for s in places[1]]))
    reaches = _REACH * np.minimum.outer(heights[0], heights[1])
    for row, spots in enumerate(places[0]):
        reach = reaches[row][:, None]
        near = ((low - reach <= spots.max(axis=0)) & (spots.min(axis=0) <= high + reach)).all(axis=1)
        for column in np.flatnonzero(near).tolist():
            shares[0][row, column] = _share(spots, places[1][column], reaches[row, column])
            shares[1][row, column] = _share(places[1][column], spots, reaches[row, column])
    return shares


def _places(line: Line) -> NDArray[np.float64]:
    points = np.asarray(line.baseline, np.float64)
    distances = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))))
    at = np.linspace(0.0, distances[-1], _PLACES)
    return np.column_stack([np.interp(at, distances, axis) for axis in points.T])


def _height(line: Line) -> float:
    if polyline_length(line.baseline) <= 0:
        return 1.0
    return max(usual_height(np.array(line.baseline), np.array(line.polygon.points)), 2.0)


def _share(spots: NDArray[np.float64], other: NDArray[np.float64], reach: float) -> float:
    """Part of some places that are within reach of a polyline."""
    starts, sides = other[:-1], np.diff(other, axis=0)
    squares = np.maximum((sides**2).sum(axis=1), 1e-9)
    offsets = spots[:, None] - starts[None]
    along = np.clip((offsets * sides).sum(axis=2) / squares, 0.0, 1.0)
    gaps = offsets - along[..., None] * sides
    return float(((gaps**2).sum(axis=2).min(axis=1) <= reach**2).mean())
