"""From a page image to its ink: even light, no paper edge, no ruling, level lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.images.geometry import Points
from quillread.images.tones import darkest_channel
from quillread.types import UInt8Image

Mask = NDArray[np.uint8]
"""0 or 1, shape (h, w)."""

Floats = NDArray[np.float32]

_LONG_SIDE = 1600
_MIN_AREA = 6
_MAX_TURN = 8.0
_STEEPEST, _TILT_SIDE, _PLAIN = 45.0, 1024, 4.0
"""Greatest tilt that is looked for, in degrees; longer side of the copy on which it is; how much more rows must differ
at it than at most angles."""
_FAINTEST = 0.06
"""Least darkness of ink, as a share of the paper's brightness."""
_LEVEL_RULE, _UPRIGHT_RULE = 6, 11
"""Greatest thickness in pixels of ruling, and of the line of a margin, which is often double."""
_PATCH = 61
"""Side in pixels of the neighbourhood for background and contrast: wider than any stroke."""


@dataclass(frozen=True, slots=True)
class Ink:
    """The writing on a page, reduced and turned level."""

    mask: Mask
    """1 where there is ink."""
    to_page: NDArray[np.float64]
    """Affine map, shape (2, 3), from pixels of `mask` to pixels of the page."""


def find_ink(image: UInt8Image, long_side: int = _LONG_SIDE, bands: Sequence[Points] = ()) -> Ink:
    """Separate writing from paper on a reduced copy.

    Lines come out level to a few tenths of a degree if the page is turned by no more than 8 degrees. Rules
    across the page, the surroundings of a photographed page and specks are skipped.

    Args:
        image: uint8 RGB, shape (H, W, 3), not empty.
        long_side: The copy's longer side is at most this long; letters should be some 10 to 40 pixels high on it.
        bands: Outlines of what is known to be paper, however dark it is: lines of writing that were seen in a shadow or
            on a sheet darker than the brightest. Pixels of the image, each of shape (n, 2).
    """
    grey, scale = _reduce(image, long_side)
    size = (grey.shape[1], grey.shape[0])
    known = np.zeros(grey.shape, np.uint8)
    for band in bands:
        cv2.fillPoly(known, [np.rint(band / scale).astype(np.int32)], 1)
    darkness, edge = _find_darkness(grey, known)
    mask = _binarise(darkness)
    turn = _estimate_turn(mask)
    to_page = np.diag([*scale, 1.0])[:2]
    if abs(turn) >= 0.25:
        forward = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), turn, 1.0)
        mask = _binarise(cv2.warpAffine(darkness, forward, size, flags=cv2.INTER_LINEAR))
        edge = cv2.warpAffine(edge, forward, size, flags=cv2.INTER_NEAREST, borderValue=1)
        to_page = to_page @ np.vstack([cv2.invertAffineTransform(forward), [0, 0, 1]])
    return Ink(_drop_noise(mask, edge), to_page)


def estimate_tilt(image: UInt8Image) -> float:
    """Angle in degrees by which to turn a page (counter-clockwise) to make its lines level, from -45 to 45.

    0 where no angle stands out.

    Args:
        image: uint8 RGB, shape (H, W, 3), not empty.
    """
    grey, _ = _reduce(image, _TILT_SIDE)
    darkness, edge = _find_darkness(grey, np.zeros(grey.shape, np.uint8))
    xs, ys = _sample_points(_drop_noise(_binarise(darkness), edge))
    if not len(xs):
        return 0.0
    angles = np.arange(-_STEEPEST, _STEEPEST + 0.1, 1.0)
    contrasts = np.array([_row_contrast(xs, ys, angle) for angle in angles])
    best = int(contrasts.argmax())
    return float(angles[best]) if contrasts[best] > _PLAIN * np.median(contrasts) else 0.0


def _reduce(image: UInt8Image, long_side: int) -> tuple[Mask, tuple[float, float]]:
    """A copy in its darkest channel, shape (h, w), and how many pixels of the page one of it is wide and high."""
    scale = min(1.0, long_side / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    reduced = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return darkest_channel(np.asarray(reduced, np.uint8)), (image.shape[1] / size[0], image.shape[0] / size[1])


def _find_darkness(grey: Mask, known: Mask) -> tuple[Floats, Mask]:
    """How much darker than its paper each pixel is, 0 to 1, and 1 for the surroundings and outer edge of the paper."""
    light, edge = _find_paper(grey, known)
    return np.clip(1 - grey.astype(np.float32) / light, 0, 1).astype(np.float32), edge


def _find_paper(grey: Mask, known: Mask) -> tuple[Floats, Mask]:
    """Brightness of the paper under each pixel, at least 1, and 1 for its surroundings and outer edge.

    The surroundings are as bright as themselves, so that nothing there is darker than its paper. What is `known` to be
    paper is not among them.
    """
    small = _quarter(grey)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (_PATCH // 4, _PATCH // 4))
    paper = cv2.medianBlur(cv2.morphologyEx(small, cv2.MORPH_CLOSE, kernel), 5)
    size = (grey.shape[1], grey.shape[0])
    light = cv2.resize(cv2.GaussianBlur(paper, (0, 0), 2), size, interpolation=cv2.INTER_LINEAR).astype(np.float32)
    surroundings = (paper < 0.55 * np.percentile(paper, 90)).astype(np.uint8)
    surroundings = cv2.resize(surroundings, size, interpolation=cv2.INTER_NEAREST) & (1 - known)
    light[surroundings > 0] = np.minimum(light, grey)[surroundings > 0]
    band = round(0.025 * min(size))
    framed = cv2.copyMakeBorder(surroundings, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    edge = cv2.dilate(framed, np.ones((2 * band + 1, 2 * band + 1), np.uint8))[1:-1, 1:-1] & (1 - known)
    return np.maximum(light, 1), np.ascontiguousarray(edge)


def _quarter(image: NDArray[Any]) -> NDArray[Any]:
    """A copy of a quarter of the height and width; of a strip it has a pixel at least."""
    height, width = image.shape
    if min(height, width) > 2:
        return np.asarray(cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA))
    size = (max(1, round(width / 4)), max(1, round(height / 4)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _binarise(darkness: Floats) -> Mask:
    """Take for ink what is about as dark as strokes nearby and darker than the paper's grain; drop rules."""
    smooth = cv2.GaussianBlur(darkness, (0, 0), 0.7)
    small = _quarter(smooth)
    deepest = cv2.dilate(small, np.ones((_PATCH // 4, _PATCH // 4), np.uint8))
    contrast = cv2.resize(cv2.GaussianBlur(deepest, (0, 0), 6), darkness.shape[::-1], interpolation=cv2.INTER_LINEAR)
    faintest = max(_FAINTEST, 4 * float(np.median(small)))
    ink = smooth > np.maximum(0.45 * contrast, faintest)
    if ink.any():
        # Show-through, creases and the grain of a table are faint beside the writing.
        faintest = max(faintest, 0.3 * float(np.median(smooth[ink])))
    # Ruling is often fainter than the writing on it, so it is looked for where writing is not yet sure.
    rules = _find_rules((smooth > faintest).astype(np.uint8))
    ink = (smooth > np.maximum(0.45 * contrast, faintest)).astype(np.uint8)
    # Feet that lie along a rule went with it; they are what touches the strokes that are left.
    near_strokes = cv2.dilate(ink & (1 - rules), np.ones((5, 3), np.uint8))
    return np.asarray(ink & ((1 - rules) | near_strokes), np.uint8)


def _estimate_turn(mask: Mask) -> float:
    """Angle in degrees by which to turn the page (counter-clockwise) to make its lines level.

    Lines are level when the rows differ most in how many strokes they cross.
    """
    xs, ys = _sample_points(count_strokes(mask))
    if not len(xs):
        return 0.0

    def contrast(angle: float) -> float:
        return _row_contrast(xs, ys, angle)

    coarse = max(np.arange(-_MAX_TURN, _MAX_TURN + 0.1, 0.5), key=lambda a: (contrast(a), -abs(a)))
    return float(max(coarse + np.arange(-0.4, 0.41, 0.1), key=contrast))


def _sample_points(mask: Mask) -> tuple[Floats, Floats]:
    """Coordinates of up to some 60,000 marked pixels from the middle of the mask; none if they are too few to tell."""
    ys, xs = np.nonzero(mask)
    if len(xs) < 50:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    keep = slice(None, None, max(1, len(xs) // 60_000))
    middle = mask.shape[1] / 2, mask.shape[0] / 2
    return (xs[keep] - middle[0]).astype(np.float32), (ys[keep] - middle[1]).astype(np.float32)


def _row_contrast(xs: Floats, ys: Floats, angle: float) -> float:
    """How much neighbouring rows, three pixels high, differ in their points once these are turned by degrees."""
    turned = ys * np.cos(np.radians(angle)) - xs * np.sin(np.radians(angle))
    rows = ((turned - turned.min()) / 3).astype(np.int64)
    return float((np.diff(np.bincount(rows).astype(np.float64)) ** 2).sum())


def count_strokes(mask: Mask) -> Mask:
    """Mark the left edge of every stroke: bodies of letters have many, level rules and blots have few."""
    edges = mask.copy()
    edges[:, 1:] &= 1 - mask[:, :-1]
    return edges


def _find_rules(faint: Mask) -> Mask:
    """Mark long thin lines, level or upright, without the strokes that cross them."""
    upright = _find_level_rules(np.ascontiguousarray(faint.T), _UPRIGHT_RULE).T
    # The upright rules go first: those of squared paper would pass for strokes that cross the level ones.
    return np.asarray(_find_level_rules(faint & (1 - upright), _LEVEL_RULE) | upright, np.uint8)


def _find_level_rules(mask: Mask, thickest: int) -> Mask:
    width = mask.shape[1]
    run = max(25, width // 40)
    # One pixel of slack on either side lets a run follow a slight slope.
    loose = cv2.dilate(mask, np.ones((3, 1), np.uint8))
    runs = cv2.morphologyEx(loose, cv2.MORPH_OPEN, np.ones((1, run), np.uint8))
    joined = cv2.morphologyEx(runs, cv2.MORPH_CLOSE, np.ones((1, run), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    thickness = stats[:, cv2.CC_STAT_AREA] / np.maximum(stats[:, cv2.CC_STAT_WIDTH], 1)
    is_rule = (stats[:, cv2.CC_STAT_WIDTH] > 0.2 * width) & (thickness < thickest + 3)
    is_rule[0] = False
    if not is_rule.any():
        return np.zeros_like(mask)
    tall = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((thickest + 1, 1), np.uint8))
    return np.asarray(is_rule[labels] & (tall == 0), np.uint8)


def _drop_noise(mask: Mask, edge: Mask) -> Mask:
    """Drop specks, and what lies wholly along the edge of the paper: shadows, torn rims, the next sheet."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    ink = np.flatnonzero(mask)
    pieces = labels.ravel()[ink]
    inner = np.bincount(pieces[edge.ravel()[ink] == 0], minlength=len(stats))
    keep = (stats[:, cv2.CC_STAT_AREA] >= _MIN_AREA) & (inner > 0)
    kept = np.zeros(mask.shape, np.uint8)
    kept.ravel()[ink] = keep[pieces]
    return kept


def drop_blots(mask: Mask, thickness: float) -> Mask:
    """Drop what is mostly thicker than a stroke: stains, fingers, the edge of a book."""
    side = max(3, round(thickness))
    thick = cv2.morphologyEx(mask, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    core = np.bincount(labels[thick > 0], minlength=len(stats))
    keep = core < 0.4 * stats[:, cv2.CC_STAT_AREA]
    keep[0] = False
    return np.asarray(keep[labels], np.uint8)
