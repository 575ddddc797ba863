"""Baselines and outlines of lines, drawn from their ink: what both line finders do last."""

import numpy as np
from numpy.typing import NDArray

from quillread.errors import ImageError
from quillread.pages.bodies import Body
from quillread.types import Line, Point, Polygon, Region, UInt8Image

MIN_SIDE = 8
"""Images with a shorter side, in pixels, hold no writing."""

Curves = tuple[tuple[Point, ...], tuple[Point, ...]]
"""Baseline and polygon."""


def check_page(image: UInt8Image) -> None:
    """Refuse what is no page image.

    Raises:
        ImageError: If `image` is not uint8 (H, W, 3).
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(f"a page must be uint8 (H, W, 3), got {image.dtype} {image.shape}")


def keep_words(own: NDArray[np.bool_], pitch: float) -> NDArray[np.bool_]:
    """Drop specks that stand apart from the rest of a line, which would lengthen it."""
    weight = own.sum(axis=0)
    columns = np.flatnonzero(weight)
    groups = np.split(columns, np.flatnonzero(np.diff(columns) > 1.2 * pitch) + 1)
    kept = np.zeros(len(weight), bool)
    for group in groups:
        kept[group] = weight[group].sum() >= 0.05 * pitch**2
    # A short line, such as a page number, may be no heavier than a speck.
    return own & kept if kept.any() else own


def baseline_points(body: Body, pitch: float) -> tuple[Point, ...]:
    """Points about a line distance apart."""
    count = max(2, round(len(body.xs) / pitch) + 1)
    at = np.linspace(body.xs[0], body.xs[-1] + 1, count)
    return tuple(zip(at.tolist(), np.interp(at, body.xs, body.feet).tolist(), strict=True))


def map_region(region: Region, matrix: NDArray[np.float64], size: tuple[int, int]) -> Region:
    """Map a region with an affine matrix, shape (2, 3), onto a page of a width and height."""
    lines = tuple(
        Line(_map_points(line.baseline, matrix, size), Polygon(_map_points(line.polygon.points, matrix, size)))
        for line in region.lines
    )
    return Region(Polygon(_map_points(region.polygon.points, matrix, size)), lines)


def _map_points(points: tuple[Point, ...], matrix: NDArray[np.float64], size: tuple[int, int]) -> tuple[Point, ...]:
    mapped = np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]
    return tuple(map(tuple, np.clip(mapped, 0, size).round(1).tolist()))
