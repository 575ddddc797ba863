"""Pages with known lines, and the maps that the line-finding network is to make of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.data.page_lines import read_all_pages
from quillread.errors import DataError
from quillread.images.read import open_document
from quillread.models.page import LONG_SIDE, MAPS, STRIDE, view_page
from quillread.types import Line, Page

Floats = NDArray[np.float64]

_REACH = 1.0
"""Of baselines and bars to either side, in pixels of the maps: they are 3 thick, so closer lines run together."""
_SHIFT = 4  # cv2 takes coordinates with this many binary places

_BODY = 0.42
"""Height of small letters as a share of what a polygon reaches above its baseline: ascenders take the rest."""
_BODY_IN_PITCH = (0.22, 0.36)
"""Bounds of the height of small letters as a share of the line distance: some polygons are thin, others boxes."""
KEPT = 1.5
"""Real pages are kept at this times the resolution of the network's view, so that they can be enlarged."""


@dataclass(frozen=True, slots=True)
class TargetLine:
    """A line whose place is known."""

    baseline: Floats
    """(N, 2) x and y, from the start of the writing to its end."""
    body: float
    """Height of its small letters, in the same unit."""
    printed: bool = False
    """Whether it is print, not writing."""


@dataclass(frozen=True, slots=True)
class PageSample:
    """A page to learn from."""

    grey: NDArray[np.uint8]
    """uint8 (h, w)."""
    lines: Sequence[TargetLine]
    """In pixels of `grey`."""
    known: NDArray[np.uint8] | None = None
    """uint8 (h, w): 1 where all lines are among `lines`, 0 where there may be others; None if all are, everywhere."""


def draw_targets(sample: PageSample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw the maps of a page.

    Args:
        sample: Both sides divisible by `STRIDE`.

    Returns:
        The maps, 0 or 1, uint8 (4, h / 2, w / 2) in the order of `MAPS`, and where they are known, (h / 2, w / 2).
    """
    height, width = (side // STRIDE for side in sample.grey.shape)
    maps = np.zeros((len(MAPS), height, width), np.uint8)
    baseline, body, end, printed = maps
    for line in sample.lines:
        feet = line.baseline / STRIDE
        up = line.body / STRIDE
        band = [_fixed(np.concatenate([feet, feet[::-1] - (0, up)]))]
        cv2.fillPoly(body, band, 1, shift=_SHIFT)
        cv2.fillPoly(printed, band, int(line.printed), shift=_SHIFT)
        # Filled, since cv2 draws lines between pixels thicker than it is told.
        thick = np.concatenate([feet - (0, _REACH), feet[::-1] - (0, -_REACH)])
        cv2.fillPoly(baseline, [_fixed(thick)], 1, shift=_SHIFT)
        for x, y in (feet[0], feet[-1]):
            left, right, top, foot = x - _REACH, x + _REACH, y - 1.3 * up, y + 0.6 * up
            cv2.fillPoly(
                end, [_fixed(np.array([(left, top), (right, top), (right, foot), (left, foot)]))], 1, shift=_SHIFT
            )
    if sample.known is None:
        return maps, np.ones((height, width), np.uint8)
    return maps, np.ascontiguousarray(sample.known[::STRIDE, ::STRIDE][:height, :width])


def _fixed(points: Floats) -> NDArray[np.int32]:
    # Pixel i covers i to i + 1, while cv2 puts its middle at i.
    return np.round((points - 0.5) * (1 << _SHIFT)).astype(np.int32)


def load_pages(folders: Sequence[Path]) -> list[PageSample]:
    """Load pages that have a PAGE or ALTO file, reduced.

    Where the ground truth lacks writing cannot be told from the file: only the hull of its lines counts as known,
    with a margin of a line.

    Raises:
        DataError: If a folder holds no such pages, or one is damaged or without its image.
    """
    return [_load_page(*found) for folder in folders for found in pages_with_lines(folder)]


def pages_with_lines(folder: Path) -> list[tuple[Path, int, Page]]:
    """Read the pages of a folder whose ground truth has lines, each with the path of its image and its number in it.

    Raises:
        DataError: If there is none, or a file cannot be used: what is trained on is to be whole.
    """
    pages, faults = read_all_pages(folder)
    if faults:
        raise DataError(f"{folder}: {faults[0]}", hint="repair the file, or remove it from the folder")
    found = [(image, number, page) for (image, number), page in pages.items() if page.lines]
    if not found:
        raise DataError(f"{folder}: holds no PAGE or ALTO file with lines", hint="name a folder of pages with XML")
    return found


def _load_page(image_path: Path, number: int, page: Page) -> PageSample:
    with open_document(image_path) as document:
        image = document.page(number - 1)
    view = view_page(image, round(KEPT * LONG_SIDE))
    scale = np.array(view.scale)
    lines = _bound_bodies([_target(line, scale) for line in page.lines])
    known = np.zeros(view.grey.shape, np.uint8)
    edges = [line.baseline + np.array((0, rise * line.body)) for line in lines for rise in (-3, 2)]
    points = np.concatenate(edges)
    reach = float(np.median([line.body for line in lines]))
    cv2.fillConvexPoly(known, cv2.convexHull(points.astype(np.int32)), 1)
    known = cv2.dilate(known, np.ones((1, 2 * round(2 * reach) + 1), np.uint8))
    return PageSample(view.grey, lines, known)


def _target(line: Line, scale: Floats) -> TargetLine:
    baseline = np.array(line.baseline, np.float64) / scale
    outline = np.array(line.polygon.points, np.float64) / scale
    rise = np.interp(outline[:, 0], *baseline[np.argsort(baseline[:, 0])].T) - outline[:, 1]
    above = rise[rise > 0]
    return TargetLine(baseline, max(4.0, _BODY * float(np.median(above)) if len(above) else 4.0))


def _bound_bodies(lines: list[TargetLine]) -> list[TargetLine]:
    """Keep the bodies of a page's lines to what its line distance leaves room for."""
    middles = np.array([line.baseline.mean(axis=0) for line in lines])
    left, right = (np.array([pick(line.baseline[:, 0]) for line in lines]) for pick in (np.min, np.max))
    distances = []
    for i in range(len(lines)):
        is_below = (middles[:, 1] > middles[i, 1]) & (left < right[i]) & (right > left[i])
        distances += [(middles[is_below, 1] - middles[i, 1]).min()] if is_below.any() else []
    if not distances:
        return lines
    low, high = np.array(_BODY_IN_PITCH) * float(np.median(distances))
    return [TargetLine(line.baseline, float(np.clip(line.body, low, high))) for line in lines]
