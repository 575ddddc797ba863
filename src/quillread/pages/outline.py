"""Baselines and outlines of lines, drawn from their ink: what both line finders do last."""

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import ImageError
from quillread.pages.bodies import Body
from quillread.pages.ink import Floats
from quillread.types import Point, Polygon, Region, UInt8Image

MIN_SIDE = 8
"""Images with a shorter side, in pixels, hold no writing."""

Curves = tuple[tuple[Point, ...], tuple[Point, ...]]
"""Baseline and polygon."""


def check_page(image: UInt8Image) -> None:
    """Refuse what is not a page image.

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
        replace(
            line,
            baseline=_map_points(line.baseline, matrix, size),
            polygon=Polygon(_map_points(line.polygon.points, matrix, size)),
        )
        for line in region.lines
    )
    return Region(Polygon(_map_points(region.polygon.points, matrix, size)), lines)


def _map_points(points: tuple[Point, ...], matrix: NDArray[np.float64], size: tuple[int, int]) -> tuple[Point, ...]:
    mapped = np.asarray(points) @ matrix[:, :2].T + matrix[:, 2]
    return tuple(map(tuple, np.clip(mapped, 0, size).round(1).tolist()))


Bools = NDArray[np.bool_]


def outline_ink(own: Bools, other: Bools, body: Body, pitch: float) -> tuple[Point, ...]:
    """Draw the outline of one line: its ink and its body with a margin, less what belongs to other lines.

    Args:
        own: Where the line has ink, shape (h, w).
        other: Where other lines have ink, shape (h, w).
        body: Its band, from its first inked column to its last.
        pitch: Line distance in pixels.

    Returns:
        Points in pixels of `own`: the upper rim from left to right, the lower one back.
    """
    margin = max(2.0, 0.04 * pitch)
    first, last = int(body.xs[0]), int(body.xs[-1])
    own, other = own[:, first : last + 1], other[:, first : last + 1]
    upper = _rim(own, other, body.tops, pitch, margin)
    lower = len(own) - _rim(own[::-1], other[::-1], len(own) - body.feet, pitch, margin)
    xs = np.arange(first, last + 1, dtype=np.float32) + 0.5
    xs[0], xs[-1] = first - margin, last + 1 + margin
    return (*_thin_out(xs, upper), *_thin_out(xs[::-1], lower[::-1]))


def _rim(own: Bools, other: Bools, tops: Floats, pitch: float, margin: float) -> Floats:
    """Upper edge per column: above the ink of the line and its neighbourhood, below what stands over it."""
    height = len(own)
    tight = np.minimum(np.where(own.any(axis=0), own.argmax(axis=0), height), tops).astype(np.float32)
    reach = 2 * round(0.15 * pitch) + 1
    wide = cv2.erode(tight.reshape(1, -1), np.ones((1, reach), np.uint8)).ravel() - margin
    over = other & (np.arange(height)[:, None] < tight - 1)
    lowest = np.where(over.any(axis=0), height - over[::-1].argmax(axis=0), -height)
    return np.asarray(np.minimum(np.maximum(wide, lowest), tight), np.float32)


def _thin_out(xs: Floats, ys: Floats) -> list[Point]:
    rim = np.stack([xs, ys], axis=1).astype(np.float32).reshape(-1, 1, 2)
    return [(float(x), float(y)) for x, y in cv2.approxPolyDP(rim, 0.8, False).reshape(-1, 2)]
