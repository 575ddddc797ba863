"""What belongs to the lines of PAGE and ALTO files: their outlines, and bands along their baselines."""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.images.crop import Outline, usual_height
from quillread.images.geometry import Points, normals_at, points_at, polyline_length
from quillread.types import Box, Line, Page, Polygon, Word

_BAND = (0.75, 0.3, 0.25)
"""What belongs to a line above, below and at either end of its baseline, in line distances."""
_FARTHEST, _OWN = (0.85, 0.4), (1.0, 0.5)
"""How far above and below its baseline a polygon that is taken together with the band may reach, in line distances, or
in heights of the polygon itself if that is more: a heading may be higher than lines are apart."""
_TALLEST = 2.0
"""A band comes from lines no farther apart than so many times the height of the polygons: lines may stand far apart."""
_MOST_PLACES = 500
"""Of a band along a baseline."""
_AT_ONCE = 256
"""Lines that are compared with all others at a time."""
_MOST_CORNERS = 1000
"""Of an outline of which words have their parts."""
_SIDE = 1024
"""Pixels on the longer side of the picture in which outlines are put together."""


def outline_lines(page: Page, outline: Outline = "polygon") -> Page:
    """Give the lines of a page the outline that they are cut out along.

    A line without a polygon has the band along its baseline, one without a baseline has its polygon, and one whose
    polygon crosses itself has the hull of that.

    Polygons cut off the tips of letters where a program drew them narrow (kraken, Transkribus), and take in parts of
    the lines above and below where they bulge; a band along the baseline does neither, and knows nothing of what stands
    out of it. Together they are what lies in either, as far as a line can reach.

    Args:
        page: As the readers of PAGE and ALTO return it.
        outline: Which one.
    """
    pitch = line_pitch(page)
    if outline == "both":
        pitch = min(pitch, _TALLEST * _usual_height(page))

    def outlined(line: Line) -> Line:
        box, base = line.polygon.bounds, Polygon(line.baseline).bounds
        # The readers take the box of the baseline for a polygon, and the lower edge of the polygon for a baseline.
        if box == base or (outline == "baseline" and base != replace(box, y0=box.y1)):
            return replace(line, polygon=_along_baseline(line, pitch))
        line = replace(line, polygon=_untangled(line.polygon))
        if outline == "both" and base != replace(box, y0=box.y1):
            return replace(line, polygon=_both(line, pitch))
        return line

    regions = (replace(region, lines=tuple(map(outlined, region.lines))) for region in page.regions)
    return replace(page, regions=tuple(regions))


def _usual_height(page: Page) -> float:
    """Estimate the height of the writing from the polygons of a page, in pixels; infinite if there are none."""
    shapes = [(np.array(line.baseline), np.array(line.polygon.points)) for line in page.lines]
    heights = [usual_height(*shape) for shape in shapes if polyline_length(shape[0]) > 0]
    return float(np.median([height for height in heights if height > 1] or [np.inf]))


def line_pitch(page: Page) -> float:
    """Estimate the distance of the baselines of a page in pixels, a tenth of the longest if there is one only."""
    boxes = np.array([_corners(Polygon(line.baseline).bounds) for line in page.lines]).reshape(-1, 4)
    if np.ptp(boxes[:, ::2], axis=1).sum() < np.ptp(boxes[:, 1::2], axis=1).sum():
        boxes = boxes[:, [1, 0, 3, 2]]  # lines that run downwards lie beside each other
    gaps = [
        gap for start in range(0, len(boxes), _AT_ONCE) for gap in _gaps_below(boxes[start : start + _AT_ONCE], boxes)
    ]
    if gaps:
        return float(np.median(gaps))
    return float((boxes[:, 2] - boxes[:, 0]).max(initial=0)) / 10 or 1.0


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x0, box.y0, box.x1, box.y1


def _gaps_below(some: NDArray[np.float64], boxes: NDArray[np.float64]) -> list[float]:
    """Distances of some boxes, rows of x0, y0, x1, y1, from the nearest of all below, where there is one."""
    middles, others = (some[:, 1] + some[:, 3]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    shared = np.minimum.outer(some[:, 2], boxes[:, 2]) - np.maximum.outer(some[:, 0], boxes[:, 0])
    narrower = np.minimum.outer(some[:, 2] - some[:, 0], boxes[:, 2] - boxes[:, 0])
    gaps = others[None, :] - middles[:, None]
    nearest = np.where((shared > 0.3 * narrower) & (gaps > 1), gaps, np.inf).min(axis=1)
    found: list[float] = nearest[np.isfinite(nearest)].tolist()
    return found


def _along_baseline(line: Line, pitch: float, reach: tuple[float, float, float] = _BAND) -> Polygon:
    """Draw a band along a baseline that reaches above, below and beyond the ends of it, in line distances."""
    length = polyline_length(line.baseline)
    if length == 0:
        return line.polygon
    above, below, over = (part * pitch for part in reach)
    distances = np.linspace(-over, length + over, 2 + min(int(4 * length / pitch), _MOST_PLACES))
    places, normals = points_at(line.baseline, distances), normals_at(line.baseline, distances)
    return _polygon(np.vstack((places - above * normals, (places + below * normals)[::-1])))


def _polygon(points: Points) -> Polygon:
    return Polygon(tuple((x, y) for x, y in points.tolist()))


def _untangled(polygon: Polygon) -> Polygon:
    """Return the hull of a polygon whose corners are in the wrong order, so that its sides cross; others as they are.

    Small loops, as programs draw them, do not count: the parts to the left and to the right of the outline must
    be about as large.
    """
    points = np.array(polygon.points, np.float32)
    hull = cv2.convexHull(points)
    area = cv2.contourArea(points)
    if 2 * area >= cv2.contourArea(hull):
        return polygon
    box = cv2.minAreaRect(points)
    matrix = cv2.getAffineTransform(cv2.boxPoints(box)[:3], np.array([(0, 255), (0, 0), (255, 0)], np.float32))
    filled = np.zeros((256, 256), np.uint8)
    cv2.fillPoly(filled, [np.round(points @ matrix[:, :2].T + matrix[:, 2]).astype(np.int32)], 1)
    if 2 * area >= filled.mean() * box[1][0] * box[1][1]:
        return polygon
    return _polygon(hull[:, 0].astype(np.float64))


def _both(line: Line, pitch: float) -> Polygon:
    """Put the polygon of a line and the band along its baseline together; if they lie apart, the polygon alone."""
    baseline, polygon = np.array(line.baseline), np.array(line.polygon.points)
    length = polyline_length(baseline)
    if length == 0:
        return line.polygon
    own = usual_height(baseline, polygon)
    band = np.array(_along_baseline(line, pitch).points)
    # The baseline may be that of a part of the polygon: beyond its ends the latter is not bounded.
    above, below = (max(a * pitch, b * own) / pitch for a, b in zip(_FARTHEST, _OWN, strict=True))
    bounds = np.array(_along_baseline(line, pitch, (above, below, length / pitch)).points)
    low, high = np.vstack((polygon, band)).min(axis=0), np.vstack((polygon, band)).max(axis=0)
    scale = min(1.0, _SIDE / float((high - low).max()))
    parts = np.zeros((3, *(np.ceil((high - low)[::-1] * scale).astype(int) + 1)), np.uint8)
    for part, points in zip(parts, (polygon, band, bounds), strict=True):
        cv2.fillPoly(part, [np.round((points - low) * scale).astype(np.int32)], 1)
    rims, _ = cv2.findContours((parts[0] | parts[1]) & parts[2], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    rim = max(rims, key=cv2.contourArea, default=None)
    # Elsewhere than its polygon, or turning back on itself, a baseline says nothing of where the writing is.
    if rim is None or not (parts[0] & parts[1]).any() or 4 * cv2.contourArea(rim) < parts[0].sum():
        return line.polygon
    return _polygon(cv2.approxPolyDP(rim, 1.0, True)[:, 0] / scale + low)


def fit_words(line: Line, words: Sequence[Word]) -> tuple[Word, ...]:
    """Give words outlines that lie within that of their line, as OCR-D wants them in PAGE.

    Words are read in boxes as high as what was cut out; here each has its part of the line instead. One that lies
    beside the line, or has another form than a box, keeps its own outline, within the bounds of the line; so do those
    of a line whose outline has very many corners.
    """
    rim = np.array(line.polygon.points)
    return tuple(
        word if word.polygon == line.polygon else replace(word, polygon=_part(rim, word.polygon)) for word in words
    )


def _part(rim: Points, word: Polygon) -> Polygon:
    """Cut the part between the left and the right side of a box of a word out of the outline of its line."""
    corners = np.array(word.points)
    start, along = corners[[0, -1]].mean(axis=0), corners[1:3].mean(axis=0) - corners[[0, -1]].mean(axis=0)
    width = float(np.hypot(*along))
    if len(corners) == 4 and width > 0 and len(rim) <= _MOST_CORNERS:
        x, y = along / width
        turn = np.array(((x, y), (-y, x)))
        xs, tops, feet = _columns((rim - start) @ turn.T, (corners - start) @ turn.T, width)
        if len(xs) > 1:
            part = np.vstack((np.column_stack((xs, tops)), np.column_stack((xs, feet))[::-1]))
            return _polygon(part @ turn + start)
    return _polygon(np.clip(corners, rim.min(axis=0), rim.max(axis=0)))


def _columns(rim: Points, word: Points, width: float) -> tuple[NDArray[np.float64], ...]:
    """Find where an outline has its upper and its lower edge over the width of a word; both lie level.

    Returns:
        x, top and bottom, at the sides of the word and around each corner of the outline between them.
    """
    corners = rim[:, 0][(rim[:, 0] > 0) & (rim[:, 0] < width)]
    xs = np.unique(np.clip(np.concatenate(([0, width], corners - 0.5, corners + 0.5)), 0, width))
    ends = np.roll(rim, -1, axis=0)
    sides = ends - rim
    slopes = sides[:, 1] / np.where(sides[:, 0] == 0, 1, sides[:, 0])
    crosses = (rim[:, 0] <= xs[:, None]) != (ends[:, 0] <= xs[:, None])
    ys = np.sort(np.where(crosses, rim[:, 1] + slopes * (xs[:, None] - rim[:, 0]), np.inf), axis=1)
    ys = np.clip(ys[:, : crosses.sum(axis=1).max()], word[:, 1].min(), word[:, 1].max())
    # Each column goes in and out of the outline by turns; columns that cross it less often end beyond it.
    longest = (ys[:, 1::2] - ys[:, ::2]).argmax(axis=1) if ys.shape[1] else np.zeros(0, int)
    rows = np.arange(len(longest))
    tops, feet = ys[rows, 2 * longest], ys[rows, 2 * longest + 1]
    kept = feet - tops > 0.5
    return xs[rows][kept], tops[kept], feet[kept]
