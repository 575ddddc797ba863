"""Cut a line of writing out of a page and lay it flat along its baseline."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError, ImageError
from quillread.images.geometry import (
    AffineMap,
    CoordMap,
    CurveMap,
    Points,
    outline,
    polyline_length,
    resample,
)
from quillread.types import Box, Line, UInt8Image

_ENOUGH_ROWS = 24
"""Rows of a line that suffice for the colour of its paper."""

_Mask = NDArray[np.float32]
"""float32 (h, w): 1 where the page shows, 0 where paper is filled in."""


Outline = Literal["both", "polygon", "baseline"]
"""Along what lines that are known are cut out: their polygon, a band along their baseline, or both together."""


@dataclass(frozen=True, slots=True)
class CropConfig:
    """How much of the page around a line comes with it. Lengths are fractions of the line's usual height."""

    margin: float = 0.04
    """Kept around the polygon, so that it does not cut into strokes; the outer half fades into paper."""

    level: float = 0.03
    """A baseline that strays no farther than this from the horizontal keeps its pixels as they are."""

    reach: float = 0.5
    """How far a part of the polygon may stand out above or below the rest before it is cut off."""

    outline: Outline = "both"
    """Along what the lines of `segmentation` are cut out: their polygon, a band along their baseline, or both."""

    def __post_init__(self) -> None:
        if self.outline not in get_args(Outline):
            raise ConfigError(f"crop.outline must be {', '.join(get_args(Outline))}, got {self.outline!r}")
        for name in ("margin", "level", "reach"):
            if not 0 <= getattr(self, name) <= 2:
                raise ConfigError(f"crop.{name} must be 0 to 2, got {getattr(self, name)}")


def crop_line(image: UInt8Image, line: Line, config: CropConfig | None = None) -> tuple[UInt8Image, CoordMap]:
    """Cut out one line along its baseline, so that the writing runs level from left to right.

    One pixel of the crop is one pixel of the page (measured on the baseline, where that bends). What lies
    outside the polygon is filled with the colour of the paper beside the ink.

    Args:
        image: The page; uint8 RGB, shape (H, W, 3).
        line: On the page, in its pixels.
        config: The defaults if not given.

    Returns:
        The crop, uint8 RGB (h, w, 3), and the map from its pixels back to those of the page.

    Raises:
        ImageError: If the baseline has no length or cannot be followed, the polygon has no area on the page,
            or `image` is of another form.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"a page must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
    config = config or CropConfig()
    check_extent(line, image.shape[1], image.shape[0])
    baseline, polygon = _confine(line, image.shape[1], image.shape[0])
    height = usual_height(baseline, polygon)
    margin = max(1.0, config.margin * height)
    edge = outline(polygon, step=max(1.0, height / 16))
    if _is_level(baseline, config.level * height):
        pixels, to_page, edge = _slice(image, edge, _frame(edge, config.reach, margin))
        on_page = np.ones(pixels.shape[:2], bool)
    else:
        smooth = _smooth(baseline, height)
        if polyline_length(smooth) < polyline_length(baseline) / 2:
            raise _fault(line, "turns back on itself")
        curve = CurveMap(resample(smooth, 1.0), 0.0, 0.0)
        edge = curve.forward_points(edge)
        pixels, on_page, to_page, edge = _straighten(image, edge, curve, _frame(edge, config.reach, margin))
    mask = _soft_mask(edge, pixels.shape[:2], margin) * on_page
    if not (mask == 1).any():
        raise _fault(line, "turns back on itself")
    return _fill_with_paper(pixels, mask), to_page


def check_extent(line: Line, width: int, height: int) -> None:
    """Refuse a line that is far longer than its page: time and memory grow with its length.

    Args:
        line: On the page.
        width: Of the page, in pixels.
        height: Of the page, in pixels.

    Raises:
        ImageError: If its baseline is longer than any writing on the page can be, or the way around its polygon.
    """
    for points, what, most in ((line.baseline, "a baseline", 4), (line.polygon.points, "an outline", 20)):
        with np.errstate(over="ignore", invalid="ignore"):
            length = polyline_length(points) if points else 0.0
        if length > most * (width + height):
            raise _fault(line, f"has {what} of {length:,.0f} pixels on a page of {width} x {height}")


def _confine(line: Line, width: int, height: int) -> tuple[Points, Points]:
    """Return baseline and polygon, the latter moved to the border of the page where it lies beyond.

    Raises:
        ImageError: If either is degenerate.
    """
    far = np.array((width, height))
    baseline = np.clip(np.array(line.baseline, np.float64).reshape(-1, 2), -far, 2 * far)
    polygon = np.array(line.polygon.points, np.float64).reshape(-1, 2)
    if not (np.isfinite(baseline).all() and np.isfinite(polygon).all()):
        raise _fault(line, "has coordinates that are not numbers")
    if len(baseline) < 2 or polyline_length(baseline) == 0:
        raise _fault(line, "has a baseline without length")
    if len(polygon) < 3 or cv2.contourArea(_on_page(polygon, width, height)) < 1:
        raise _fault(line, f"has no area on the page of {width} x {height} pixels")
    return baseline, _on_page(polygon, width, height).astype(np.float64)


def _fault(line: Line, what: str) -> ImageError:
    ends = " to ".join(f"({x:.0f}, {y:.0f})" for x, y in (line.baseline[:1] + line.baseline[-1:]))
    return ImageError(f"the line from {ends} {what}", hint="correct the segmentation, or drop the line")


def _on_page(points: Points, width: int, height: int) -> NDArray[np.float32]:
    return np.clip(points, 0, (width, height)).astype(np.float32)


def usual_height(baseline: Points, polygon: Points) -> float:
    """Estimate the height of the writing from the area of its polygon, in pixels."""
    shape = polygon.astype(np.float32)
    # A baseline that covers a part of its polygon only must not make the line look tall.
    return float(min(cv2.contourArea(shape) / polyline_length(baseline), *cv2.minAreaRect(shape)[1]))


def _is_level(baseline: Points, tolerance: float) -> bool:
    heights = resample(baseline, 4.0)[:, 1]
    return bool(baseline[-1, 0] > baseline[0, 0] and np.abs(heights - np.median(heights)).max() <= tolerance)


def _smooth(baseline: Points, height: float) -> Points:
    """Round off a baseline's corners over about one line height, and its jitter with them; the ends stay."""
    points = resample(baseline, 1.0)
    reach = min(max(1, round(height / 2)), len(points) - 1)
    window = np.ones(2 * reach + 1) / (2 * reach + 1)
    for _ in range(2):
        # Reflected in the end points, the polyline goes straight on there.
        before, after = 2 * points[0] - points[reach:0:-1], 2 * points[-1] - points[-2 : -reach - 2 : -1]
        padded = np.vstack((before, points, after))
        points = np.column_stack([np.convolve(axis, window, "valid") for axis in padded.T])
    return points


def _frame(edge: Points, reach: float, margin: float) -> Box:
    """Find the box around the outline of a level line, with its margin; lone spikes are cut off.

    Args:
        edge: The outline, level; no two neighbours far apart.
        reach: What a spike may rise above nine tenths of the outline, in parts of the height of the latter.
        margin: In pixels.
    """
    left, right = edge[:, 0].min(), edge[:, 0].max()
    columns = np.minimum(63, (edge[:, 0] - left) * (64 / max(right - left, 1e-6))).astype(int)
    tops, bottoms = np.full(64, np.inf), np.full(64, -np.inf)
    np.minimum.at(tops, columns, edge[:, 1])
    np.maximum.at(bottoms, columns, edge[:, 1])
    filled = np.isfinite(tops)
    top, bottom = np.percentile(tops[filled], 10), np.percentile(bottoms[filled], 90)
    excess = reach * max(bottom - top, 0.0)
    return Box(
        float(left) - margin,
        max(float(tops.min()), float(top - excess)) - margin,
        float(right) + margin,
        min(float(bottoms.max()), float(bottom + excess)) + margin,
    )


def _slice(image: UInt8Image, edge: Points, frame: Box) -> tuple[UInt8Image, CoordMap, Points]:
    """Cut an upright box out of the page; also returns the outline on the cut-out."""
    height, width = image.shape[:2]
    x0, x1 = (int(np.clip(x, 0, width)) for x in (np.floor(frame.x0), np.ceil(frame.x1)))
    y0, y1 = (int(np.clip(y, 0, height)) for y in (np.floor(frame.y0), np.ceil(frame.y1)))
    return image[y0:y1, x0:x1], AffineMap.shift(x0, y0), edge - (x0, y0)


def _straighten(
    image: UInt8Image, edge: Points, curve: CurveMap, frame: Box
) -> tuple[UInt8Image, NDArray[np.bool_], CoordMap, Points]:
    """Lay the page flat along a curve within `frame`, which like `edge` is measured along and off the curve.

    Returns:
        The pixels, where they lie on the page, the map back, and the outline on the result.
    """
    height, width = int(np.ceil(frame.height)), int(np.ceil(frame.width))
    to_page = CurveMap(curve.curve, -frame.x0, -frame.y0)
    x = np.arange(width) + 0.5
    first = to_page.back_points(np.column_stack((x, np.full(width, 0.5))))
    normal = to_page.back_points(np.column_stack((x, np.full(width, 1.5)))) - first
    first = first - 0.5
    rows = np.arange(height, dtype=np.float32)[:, None]
    xs, ys = (rows * normal[:, axis].astype(np.float32) + first[:, axis].astype(np.float32) for axis in (0, 1))
    page_height, page_width = image.shape[:2]
    on_page = (xs > -1) & (xs < page_width) & (ys > -1) & (ys < page_height)
    return _sample(image, xs, ys), on_page, to_page, edge - (frame.x0, frame.y0)


def _sample(image: UInt8Image, xs: NDArray[np.float32], ys: NDArray[np.float32]) -> UInt8Image:
    """Interpolate the image at places, given as x and y of pixel indices, each (h, w) and linear down each column."""
    height, width = image.shape[:2]
    pieces = []
    # OpenCV takes no image of 32,767 pixels or more on a side, so a long line goes through it piece by piece.
    for start in range(0, xs.shape[1], 8192):
        own_xs, own_ys = xs[:, start : start + 8192], ys[:, start : start + 8192]
        left, right = _span(own_xs, width)
        top, bottom = _span(own_ys, height)
        part = image[top:bottom, left:right]
        moved = own_xs - np.float32(left), own_ys - np.float32(top)
        pieces.append(cv2.remap(part, *moved, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
    return np.hstack(pieces) if len(pieces) > 1 else pieces[0]


def _span(places: NDArray[np.float32], size: int) -> tuple[int, int]:
    """Pixels from one index to another that interpolating at places needs; at least one of `size`."""
    # Linear down each column, they are furthest out in the first or last row.
    ends = places[[0, -1]]
    low = int(np.clip(np.floor(ends.min()) - 2, 0, size - 1))
    return low, int(np.clip(np.ceil(ends.max()) + 3, low + 1, size))


def _soft_mask(edge: Points, shape: tuple[int, ...], margin: float) -> _Mask:
    """Draw the polygon with its margin, of which the outer half fades."""
    outside = np.ones(shape, np.uint8)
    cv2.fillPoly(outside, [np.round(edge - 0.5).astype(np.int32)], 0)
    distance = cv2.distanceTransform(outside, cv2.DIST_L2, 5)
    return np.asarray(np.clip(2 - distance / (margin / 2), 0, 1), np.float32)


def _fill_with_paper(pixels: UInt8Image, mask: _Mask) -> UInt8Image:
    paper = np.broadcast_to(np.round(_paper(pixels, mask == 1)).astype(np.uint8), pixels.shape)
    return np.asarray(cv2.blendLinear(pixels, np.ascontiguousarray(paper), mask, 1 - mask), np.uint8)


def _paper(pixels: UInt8Image, inside: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Estimate the colour of the paper along a line: float32, shape (1, w, 3).

    It is measured in stretches of three line heights, as the light on a photographed page falls off, with a
    gradual change from one to the next.
    """
    height, width = inside.shape
    ends = np.linspace(0, width, max(1, round(width / (3 * height))) + 1).astype(int)
    if height >= 2 * _ENOUGH_ROWS and inside[::2, ::2].any():  # a quarter of the pixels tells the colour as well
        pixels, inside, ends = np.ascontiguousarray(pixels[::2, ::2]), inside[::2, ::2], ends // 2
    height, columns = inside.shape
    spread = width / columns
    mask = inside.astype(np.uint8)
    centres, colours = [], []
    for start, end in pairwise(ends):
        here = mask[:, start:end]
        if cv2.countNonZero(here) >= height or len(ends) == 2:
            centres.append(spread * (start + end) / 2)
            colours.append(_paper_colour(pixels[:, start:end], here))
    if not colours:
        centres, colours = [0.0], [_paper_colour(pixels, mask)]
    channels = [np.interp(np.arange(width), centres, channel) for channel in np.array(colours).T]
    return np.stack(channels, axis=-1)[None].astype(np.float32)


def _paper_colour(pixels: UInt8Image, inside: NDArray[np.uint8]) -> list[float]:
    """Return the median colour of the pixels (h, w, 3) inside, on the more numerous side of Otsu's threshold."""
    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)
    counts = _count_levels(grey, 0, inside)
    # All that the threshold depends on is how many pixels have each level.
    levels = np.repeat(np.arange(256, dtype=np.uint8), counts)[None]
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_OTSU)
    is_bright = grey > threshold
    if 2 * counts[int(threshold) + 1 :].sum() < counts.sum():
        is_bright = ~is_bright
    paper = inside & is_bright
    return [_median_level(_count_levels(pixels, channel, paper)) for channel in range(3)]


def _count_levels(pixels: NDArray[np.uint8], channel: int, mask: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels of a mask have each level, shape (256,)."""
    return np.asarray(cv2.calcHist([pixels], [channel], mask, [256], [0, 256]).ravel(), np.int64)


def _median_level(counts: NDArray[np.int64]) -> float:
    passed, count = np.cumsum(counts), int(counts.sum())
    return float(np.searchsorted(passed, ((count - 1) // 2, count // 2), side="right").mean())
