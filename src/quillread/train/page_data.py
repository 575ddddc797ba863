"""Pages to train the line finder on: real ones and synthetic ones, warped and lit anew each time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from quillread.data.source import Source
from quillread.formats.layout import find_image, find_layouts
from quillread.images.page_view import LONG_SIDE, page_pixels, view_page
from quillread.images.read import open_document
from quillread.models.page import TURNS
from quillread.train.page_synthesis import make_page, transform_points
from quillread.train.page_targets import Floats, PageSample, TargetLine, draw_targets
from quillread.train.papers import change_light, photograph
from quillread.train.print_lines import add_print
from quillread.types import Line, Page

_BODY = 0.42
"""Height of small letters as a share of what a polygon reaches above its baseline: ascenders take the rest."""
_BODY_IN_PITCH = (0.22, 0.36)
"""Bounds of the height of small letters as a share of the line distance: some polygons are thin, others boxes."""
_KEPT = 1.5
"""Real pages are kept at this times the resolution of the network's view, so that they can be enlarged."""


@dataclass(frozen=True, slots=True)
class PageDataConfig:
    """How pages are changed before they are learnt."""

    side: int = 640
    """Side of the square cut out of a page, in pixels; divisible by 32."""
    real: float = 0.5
    """Share of real pages."""
    turned: float = 0.2
    """Share of pages turned by 90, 180 or 270 degrees: they teach the turn alone."""
    printed: float = 0.3
    """Share of real pages on which small print is put where they are empty."""
    scale: tuple[float, float] = (0.7, 1.35)
    """Range of sizes, over that of the network's view."""
    tilt: float = 4.0
    """Largest tilt in degrees."""


def load_pages(folders: Sequence[Path]) -> list[PageSample]:
    """Load pages that have a PAGE or ALTO file, reduced.

    Where the ground truth leaves out writing cannot be told from the file: only the hull of its lines counts as known,
    with a margin of a line.

    Raises:
        DataError: If a folder holds no such pages, or one is damaged or without its image.
    """
    found = (pair for folder in folders for pair in find_layouts(folder))
    return [_load_page(find_image(path, page), page) for path, page in found]


def _load_page(image_path: Path, page: Page) -> PageSample:
    with open_document(image_path) as document:
        image = document.page(0)
    view = view_page(image, round(_KEPT * LONG_SIDE))
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


class SyntheticPages(Dataset[PageSample]):
    """Synthetic pages by number; page i is the same for the same seed.

    Args:
        sources: Lines to write with.
        length: How many there are.
        seed: Of everything.
    """

    def __init__(self, sources: Sequence[Source], length: int, seed: int) -> None:
        self._sources, self._length, self._seed = sources, length, seed

    def __len__(self) -> int:
        """How many there are."""
        return self._length

    def __getitem__(self, index: int) -> PageSample:
        """Make a page."""
        return make_page(self._sources, np.random.default_rng((self._seed, 1, index)))


class PageDataset(Dataset[tuple[torch.Tensor, ...]]):
    """Endless pages; page i is the same for the same seed.

    Args:
        real: Real pages.
        synthetic: Synthetic pages; one of the two may be empty.
        config: How pages are changed.
        length: How many count as one pass.
        seed: Of everything.
        first: Number of the page that is called 0: those before it were seen.
    """

    def __init__(
        self,
        real: Sequence[PageSample],
        synthetic: Sequence[PageSample],
        config: PageDataConfig,
        length: int,
        seed: int,
        first: int = 0,
    ) -> None:
        self._real, self._synthetic, self._config, self._length = real, synthetic, config, length
        self._seed, self._first = seed, first

    def __len__(self) -> int:
        """Pages in one pass."""
        return self._length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        """Pixels float16 (1, side, side), maps uint8 (4, side / 2, ...), known uint8 (side / 2, ...), turn int64 ()."""
        rng = np.random.default_rng((self._seed, 2, self._first + index))
        is_real = bool(self._real) and (not self._synthetic or rng.random() < self._config.real)
        pages, kept = (self._real, _KEPT) if is_real else (self._synthetic, 1.0)
        page = pages[int(rng.integers(len(pages)))]
        if is_real and rng.random() < self._config.printed:
            page = add_print(page, kept, rng)
        sample = warp(page, kept, self._config, rng)
        turn = int(rng.integers(1, len(TURNS))) if rng.random() < self._config.turned else 0
        maps, known = draw_targets(sample)
        grey = np.rot90(change_light(sample.grey, rng), turn)
        if turn:
            known = np.zeros_like(known)
        pixels = page_pixels(np.ascontiguousarray(grey), 32)
        return (
            torch.from_numpy(pixels.astype(np.float16))[None],  # half the way from the workers
            torch.from_numpy(maps),
            torch.from_numpy(known),
            torch.tensor(turn),
        )


def warp(page: PageSample, kept: float, config: PageDataConfig, rng: np.random.Generator) -> PageSample:
    """Scale, tilt and bend a page, and cut a square out of it.

    Args:
        page: A page.
        kept: Its resolution over that of the network's view.
        config: How much.
        rng: Draws all of it.
    """
    side = config.side
    height, width = page.grey.shape
    factor = rng.uniform(*config.scale) / kept
    scaled = np.array([width, height]) * factor
    # The square lies anywhere on the page, or the page anywhere in the square.
    slack = side - scaled
    corner = np.array([rng.uniform(min(0.0, s), max(0.0, s)) for s in slack])
    quad = np.array([(0, 0), (scaled[0], 0), scaled, (0, scaled[1])]) + corner
    angle = np.radians(rng.uniform(-config.tilt, config.tilt)) * (rng.random() < 0.7)
    turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    middle = np.full(2, side / 2)
    quad = (quad - middle) @ turn.T + middle
    if rng.random() < 0.4:
        quad += rng.normal(0, 0.012, (4, 2)) * scaled
    grey, matrix = photograph(page.grey, quad, (side, side), rng)
    known = page.known
    if known is not None:
        known = cv2.warpPerspective(known, matrix, (side, side), flags=cv2.INTER_NEAREST, borderValue=1)
    lines = [
        TargetLine(transform_points(line.baseline, matrix), line.body * factor, line.printed) for line in page.lines
    ]
    return _bend(PageSample(grey, lines, known), rng)


def _bend(page: PageSample, rng: np.random.Generator) -> PageSample:
    """Bend the lines of a page up and down, as near the spine of a book."""
    if rng.random() < 0.5:
        return page
    side = page.grey.shape[1]
    depth, length, phase = rng.uniform(0, 0.018) * side, rng.uniform(0.6, 2.5) * side, rng.uniform(0, 2 * np.pi)

    def shift(x: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(depth * np.sin(2 * np.pi * x / length + phase))

    xs, ys = np.meshgrid(np.arange(side, dtype=np.float32), np.arange(len(page.grey), dtype=np.float32))
    source = (ys - shift(xs)).astype(np.float32)
    grey = cv2.remap(page.grey, xs, source, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    known = page.known
    if known is not None:
        known = cv2.remap(known, xs, source, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=1)
    lines = [TargetLine(_follow(line.baseline, shift), line.body, line.printed) for line in page.lines]
    return PageSample(grey, lines, known)


def _follow(baseline: Floats, shift: Any) -> Floats:
    """Move a baseline, in steps short enough to follow the bend."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(baseline, axis=0).T))])
    at = np.linspace(0, along[-1], max(2, int(along[-1] / 16)))
    points = np.stack([np.interp(at, along, baseline[:, axis]) for axis in (0, 1)], axis=1)
    points[:, 1] += shift(points[:, 0])
    return points
