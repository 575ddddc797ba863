"""Photographs of a sheet taken at an angle: the sheet laid flat, where its edges are seen beyond doubt."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.images.geometry import CoordMap, PerspectiveMap, Points
from quillread.images.tones import darkest_channel
from quillread.types import UInt8Image

_LONG_SIDE = 600
"""Pixels of the longer side of the copy on which edges are looked for."""
_Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SheetConfig:
    """Whether photographed sheets are laid flat."""

    flatten: bool = False
    """Look for a sheet, and lay it flat where its edges are seen beyond doubt."""


def flatten_sheet(image: UInt8Image) -> tuple[UInt8Image, CoordMap | None]:
    """Undo the perspective of a photographed sheet of paper.

    It is done only if four straight edges are seen, bright inside and darker outside, that are those of a rectangle
    seen at an angle, nothing as bright as the sheet lies beside it, and the angle is worth the loss of sharpness.
    What lies around the sheet is cut off.

    Args:
        image: A page, uint8 RGB, shape (H, W, 3).

    Returns:
        The sheet, uint8 RGB (h, w, 3), and the map from its pixels back to those of the image; the image itself and
        None where it is left alone.
    """
    if image.ndim != 3 or min(image.shape[:2]) < 100:
        return image, None
    corners = find_sheet(image)
    if corners is None or not _is_seen_at_an_angle(corners, image.shape[1::-1]):
        return image, None
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    width, height = round(max(sides[0], sides[2])), round(max(sides[1], sides[3]))
    target = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(corners.astype(np.float32), target)
    # cv2 counts from the centres of pixels, corners and maps from their edges.
    centred = _shift(-0.5) @ matrix @ _shift(0.5)
    flat = cv2.warpPerspective(image, centred, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(flat, np.uint8), PerspectiveMap.inverse_of(matrix)


def find_sheet(image: UInt8Image) -> Points | None:
    """Find the corners of a sheet of paper that lies on something darker.

    Args:
        image: uint8 RGB, shape (H, W, 3).

    Returns:
        Top left, top right, bottom right, bottom left, in pixels of the image, float64 (4, 2); None if there is none
        or any doubt.
    """
    scale = max(1.0, max(image.shape[:2]) / _LONG_SIDE)
    size = (max(1, round(image.shape[1] / scale)), max(1, round(image.shape[0] / scale)))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    # Writing and rules must not part the paper: the closing is wider than strokes are.
    grey = np.asarray(cv2.morphologyEx(darkest_channel(small), cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8)), np.uint8)
    level, bright = cv2.threshold(cv2.GaussianBlur(grey, (5, 5), 0), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    contours, _ = cv2.findContours(bright, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not contours:
        return None
    contour = max(contours, key=cv2.contourArea)
    corners = _four_corners(contour)
    if corners is None or not _is_a_sheet(corners, contour, grey, float(level)):
        return None
    # The contour runs through the centres of the paper's outermost pixels.
    return np.asarray((corners + 0.5) * (image.shape[1] / size[0], image.shape[0] / size[1]))


def _four_corners(contour: NDArray[np.int32]) -> Points | None:
    """Fit four lines to the sides of a contour and cut them; in the order of reading."""
    hull = cv2.convexHull(contour)
    length = cv2.arcLength(hull, True)
    rough = next((c for c in (cv2.approxPolyDP(hull, e * length, True) for e in (0.02, 0.04)) if len(c) == 4), None)
    if rough is None:
        return None
    quad = _in_reading_order(rough.reshape(4, 2).astype(np.float64))
    points = contour.reshape(-1, 2).astype(np.float64)
    lines = []
    for start, stop in zip(quad, np.roll(quad, -1, axis=0), strict=True):
        span = float(np.linalg.norm(stop - start))
        direction = (stop - start) / span
        along, away = (points - start) @ direction, np.abs((points - start) @ (-direction[1], direction[0]))
        near = points[(along > 0.05 * span) & (along < 0.95 * span) & (away < 0.02 * length)]
        if len(near) < 0.8 * span:
            return None  # the side is not seen along most of its length
        vx, vy, x, y = cv2.fitLine(near.astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01).ravel().tolist()
        if np.abs((near - (x, y)) @ (-vy, vx)).mean() > 0.004 * length:
            return None  # bent: a book, a curled sheet
        lines.append((vx, vy, x, y))
    cut = [_intersect(lines[side - 1], lines[side]) for side in range(4)]
    return None if any(corner is None for corner in cut) else np.array(cut)


def _intersect(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, float] | None:
    """Cut two lines, each (direction x, direction y, point x, point y); None if they are nearly parallel."""
    cross = a[0] * b[1] - a[1] * b[0]
    if abs(cross) < 0.3:
        return None
    along = ((b[2] - a[2]) * b[1] - (b[3] - a[3]) * b[0]) / cross
    return a[2] + along * a[0], a[3] + along * a[1]


def _in_reading_order(quad: Points) -> Points:
    """Turn corners so that they run clockwise from the top left; the turn nearest to upright."""
    centre = quad.mean(axis=0)
    quad = quad[np.argsort(np.arctan2(*(quad - centre).T[::-1]))]
    return np.roll(quad, -int(quad.sum(axis=1).argmin()), axis=0)


def _is_a_sheet(corners: Points, contour: NDArray[np.int32], grey: _Grey, level: float) -> bool:
    height, width = grey.shape
    area = float(cv2.contourArea(corners.astype(np.float32)))
    inside = ((corners > 1) & (corners < (width - 2, height - 2))).all()
    if not inside or not 0.2 * width * height < area or not cv2.isContourConvex(corners.astype(np.float32)):
        return False
    if not 0.97 < float(cv2.contourArea(contour)) / area < 1.03:
        return False
    mask = np.zeros(grey.shape, np.uint8)
    cv2.fillConvexPoly(mask, np.rint(corners).astype(np.int32), 1)
    reach = np.ones((9, 9), np.uint8)
    around, within = cv2.dilate(mask, reach) - mask, mask - cv2.erode(mask, reach)
    others = grey[cv2.dilate(mask, reach) == 0]
    # A second sheet, the facing page: what is written there must not be cut off.
    if others.size and float((others > level).mean()) > 0.02:
        return False
    paper, beside = grey[within > 0], grey[around > 0]
    return float(np.percentile(paper, 10)) - float(np.percentile(beside, 90)) > 20


def _is_seen_at_an_angle(corners: Points, size: tuple[int, ...]) -> bool:
    """Tell whether opposite sides differ enough in length or direction; within what a camera held by hand does."""
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.linalg.norm(sides, axis=1)
    turns = np.degrees(np.arctan2(sides[:, 1], sides[:, 0])) - (0, 90, 180, -90)
    turns = (turns + 180) % 360 - 180
    tapers = [abs(np.log(lengths[side] / lengths[side + 2])) for side in (0, 1)]
    splay = max(abs(turns[0] - turns[2]), abs(turns[1] - turns[3]))
    return bool(max(tapers) < np.log(2) and np.abs(turns).max() < 30 and (max(tapers) > 0.04 or splay > 2.0))


def _shift(by: float) -> NDArray[np.float64]:
    return np.array([(1.0, 0.0, by), (0.0, 1.0, by), (0.0, 0.0, 1.0)])
