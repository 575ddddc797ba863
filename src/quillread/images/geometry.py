"""Maps from the pixels of a derived image back to its source, and the polylines that lines of writing follow.

Points are (x, y) in pixels, origin top-left, y down; arrays of points are float64 (N, 2). Whole numbers are
the corners between pixels: the centre of the first pixel is (0.5, 0.5).
"""

from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quillread.types import Point

Points = NDArray[np.float64]
"""float64, shape (N, 2): x and y."""


class CoordMap(Protocol):
    """Leads from the pixels of an image to those of the image that it was made from."""

    def back_points(self, points: ArrayLike) -> Points:
        """Map points of the derived image, shape (N, 2), to points of its source, shape (N, 2)."""
        ...

    def back(self, x: float, y: float) -> Point:
        """Map one point of the derived image to its source."""
        source_x, source_y = self.back_points([(x, y)])[0].tolist()
        return source_x, source_y


@dataclass(frozen=True, slots=True)
class AffineMap(CoordMap):
    """Scaling, shift, shear, rotation: source = matrix @ (x, y, 1)."""

    matrix: tuple[tuple[float, float, float], tuple[float, float, float]]

    @classmethod
    def shift(cls, dx: float, dy: float) -> Self:
        """Return the map of a cut-out whose top-left corner is (dx, dy) of the source."""
        return cls(((1.0, 0.0, dx), (0.0, 1.0, dy)))

    @classmethod
    def scaling(cls, x: float, y: float) -> Self:
        """Return the map of a resized image, of which one pixel is x by y pixels of the source."""
        return cls(((x, 0.0, 0.0), (0.0, y, 0.0)))

    @classmethod
    def inverse_of(cls, matrix: ArrayLike) -> Self:
        """Return the map that undoes a 2 x 3 matrix from source to derived points.

        Raises:
            numpy.linalg.LinAlgError: If the matrix cannot be undone.
        """
        forward = np.asarray(matrix, np.float64)
        linear = np.linalg.inv(forward[:, :2])
        first, second = np.column_stack((linear, -linear @ forward[:, 2])).tolist()
        return cls((tuple(first), tuple(second)))

    def back_points(self, points: ArrayLike) -> Points:
        """Map points of the derived image, shape (N, 2), to points of its source, shape (N, 2)."""
        matrix = np.array(self.matrix)
        return np.asarray(np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2])


@dataclass(frozen=True, slots=True)
class PerspectiveMap(CoordMap):
    """The view of a plane from another place: source = (u / w, v / w) with (u, v, w) = matrix @ (x, y, 1)."""

    matrix: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]

    @classmethod
    def inverse_of(cls, matrix: ArrayLike) -> Self:
        """Return the map that undoes a 3 x 3 matrix from source to derived points.

        Raises:
            numpy.linalg.LinAlgError: If the matrix cannot be undone.
        """
        first, second, third = np.linalg.inv(np.asarray(matrix, np.float64)).tolist()
        return cls((tuple(first), tuple(second), tuple(third)))

    def back_points(self, points: ArrayLike) -> Points:
        """Map points of the derived image, shape (N, 2), to points of its source, shape (N, 2)."""
        points = np.asarray(points, np.float64)
        u, v, w = np.array(self.matrix) @ np.vstack((points.T, np.ones(len(points))))
        return np.column_stack((u / w, v / w))


@dataclass(frozen=True, slots=True)
class ChainedMap(CoordMap):
    """The way back through several steps."""

    steps: tuple[CoordMap, ...]
    """The maps of the steps, in the order in which the steps were made: the first one leads to the source."""

    def back_points(self, points: ArrayLike) -> Points:
        """Map points of the last image, shape (N, 2), to points of the first, shape (N, 2)."""
        result = np.asarray(points, np.float64)
        for step in reversed(self.steps):
            result = step.back_points(result)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class CurveMap(CoordMap):
    """The map of an image that was straightened along a curve; beyond its ends the curve goes straight on."""

    curve: Points
    """On the source, from left to right of the derived image; float64 (N, 2)."""
    x: float
    """Where the curve begins, on the derived image."""
    y: float
    """The row on which the curve lies, on the derived image."""
    _course: "_Course" = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_course", _Course(self.curve))

    def back_points(self, points: ArrayLike) -> Points:
        """Map points of the straightened image, shape (N, 2), to points of its source, shape (N, 2)."""
        along, away = np.asarray(points, np.float64).T - np.array([[self.x], [self.y]])
        spots, normals = self._course.at(along)
        return np.asarray(spots + normals * away[:, None])

    def forward_points(self, points: ArrayLike) -> Points:
        """Map points of the source, shape (N, 2), to the straightened image, shape (N, 2).

        Exact where the curve is straight or the point lies on it; a point is measured from the nearest of a
        few hundred places on the curve, then twice corrected along it.
        """
        points = np.asarray(points, np.float64)
        places = np.linspace(0.0, self._course.length, 256)
        spots, _ = self._course.at(places)
        squares = (points**2).sum(axis=1)[:, None] - 2 * points @ spots.T + (spots**2).sum(axis=1)
        along = places[squares.argmin(axis=1)]
        for _ in range(2):
            spots, normals = self._course.at(along)
            offsets = points - spots
            along = along + offsets[:, 0] * normals[:, 1] - offsets[:, 1] * normals[:, 0]
        spots, normals = self._course.at(along)
        away = ((points - spots) * normals).sum(axis=1)
        return np.column_stack((along + self.x, away + self.y))


class _Course:
    """A polyline prepared for being asked for many places on it.

    Args:
        points: Shape (N, 2), at least two of them different.
    """

    def __init__(self, points: ArrayLike) -> None:
        points = np.asarray(points, np.float64)
        moves = np.any(np.diff(points, axis=0) != 0, axis=1)
        self._points = np.vstack((points[:1], points[1:][moves]))
        self._places = _distances(self._points)
        directions = _unit(np.diff(self._points, axis=0))
        # The direction at a point is the mean of those of the segments that meet in it.
        self._directions = _unit(np.vstack((directions[:1], directions[:-1] + directions[1:], directions[-1:])))

    @property
    def length(self) -> float:
        """In pixels."""
        return float(self._places[-1])

    def at(self, distances: ArrayLike) -> tuple[Points, Points]:
        """Points and unit normals at distances from the first point, each (M, 2); see `points_at`, `normals_at`."""
        distances = np.asarray(distances, np.float64)
        inside = np.column_stack([np.interp(distances, self._places, axis) for axis in self._points.T])
        along = _unit(np.column_stack([np.interp(distances, self._places, axis) for axis in self._directions.T]))
        beyond = distances - np.clip(distances, 0.0, self.length)
        return inside + beyond[:, None] * along, np.column_stack((-along[:, 1], along[:, 0]))


def polyline_length(points: ArrayLike) -> float:
    """Measure a polyline of shape (N, 2), in pixels."""
    return float(_distances(np.asarray(points, np.float64))[-1])


def resample(points: ArrayLike, step: float) -> Points:
    """Place points along a polyline at equal distances of about `step`; both ends stay where they are.

    Raises:
        ValueError: If the polyline has no length.
    """
    points = np.asarray(points, np.float64)
    length = polyline_length(points)
    if not length > 0:
        raise ValueError(f"a polyline of length {length} cannot be resampled")
    return points_at(points, np.linspace(0.0, length, max(2, round(length / step) + 1)))


def points_at(points: ArrayLike, distances: ArrayLike) -> Points:
    """Find the points at given distances along a polyline; beyond an end it goes straight on.

    Args:
        points: Shape (N, 2), at least two of them different.
        distances: From the first point, in pixels, shape (M,).

    Returns:
        float64, shape (M, 2).
    """
    return _Course(points).at(distances)[0]


def normals_at(points: ArrayLike, distances: ArrayLike) -> Points:
    """Find the unit normals at given distances along a polyline; they turn gradually from point to point.

    Args:
        points: Shape (N, 2), at least 2 of them different.
        distances: From the first point, in pixels, shape (M,).

    Returns:
        float64, shape (M, 2): to the right of the direction of travel, so downwards for a line of writing.
    """
    return _Course(points).at(distances)[1]


def outline(points: ArrayLike, step: float) -> Points:
    """Add points to the outline of a polygon until neighbours are at most `step` apart; corners stay."""
    corners = np.asarray(points, np.float64)
    corners = np.vstack((corners, corners[:1]))
    sides = np.diff(corners, axis=0)
    counts = np.maximum(1, np.ceil(np.hypot(sides[:, 0], sides[:, 1]) / step)).astype(int)
    side = np.repeat(np.arange(len(sides)), counts)
    number = np.arange(len(side)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray(corners[side] + sides[side] * (number / counts[side])[:, None])


def _unit(vectors: Points) -> Points:
    lengths = np.hypot(vectors[:, 0], vectors[:, 1])
    return vectors / np.where(lengths > 0, lengths, 1.0)[:, None]


def _distances(points: Points) -> NDArray[np.float64]:
    """Measure the distance of each point from the first one, along the polyline."""
    return np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))))
