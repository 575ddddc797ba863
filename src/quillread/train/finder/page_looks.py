"""Looks of pages for the training of the line finder: each is warped, photographed and lit anew each time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from quillread.models.page import TURNS, page_pixels
from quillread.train.finder.page_samples import KEPT, Floats, PageSample, TargetLine, draw_targets
from quillread.train.finder.print_lines import add_print


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
        pages, kept = (self._real, KEPT) if is_real else (self._synthetic, 1.0)
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


def transform_points(points: Floats, matrix: Floats) -> Floats:
    """Apply a homography, (3, 3), to points (N, 2)."""
    mapped = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    return np.asarray(mapped[:, :2] / mapped[:, 2:], np.float64)


def photograph(
    grey: NDArray[np.uint8], quad: NDArray[np.float64], shape: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Lay a sheet on a desk and photograph it from aslant, with shadows.

    Args:
        grey: The sheet, uint8 (h, w).
        quad: (4, 2) where its corners come to lie, from the upper left one clockwise.
        shape: Height and width of the photograph.
        rng: Draws desk and shadow.

    Returns:
        The photograph, uint8, and the homography (3, 3) from the sheet to it.
    """
    height, width = grey.shape
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, quad.astype(np.float32))
    desk = rng.uniform(10, 140) * (1 + rng.uniform(0, 0.3) * _grain(shape, rng))
    warped = cv2.warpPerspective(grey, matrix, shape[::-1], flags=cv2.INTER_AREA).astype(np.float32)
    inside = cv2.warpPerspective(np.full_like(grey, 255), matrix, shape[::-1], flags=cv2.INTER_LINEAR) / np.float32(255)
    picture = warped * inside + np.clip(desk, 0, 255) * (1 - inside)
    return np.clip(picture, 0, 255).astype(np.uint8), np.asarray(matrix, np.float64)


def _grain(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """The look of a table: spots, or streaks along it or across it, as in wood."""
    size, streak = rng.uniform(5, 200), rng.choice([1.0, 1.0, 8.0, 20.0])
    drawn = shape[0], max(2, round(shape[1] / streak))
    streaks = cv2.resize(make_clouds(drawn, size / streak**0.5, rng), shape[::-1], interpolation=cv2.INTER_LINEAR)
    if shape[0] == shape[1] and rng.random() < 0.5:
        streaks = np.ascontiguousarray(streaks.T)
    return np.asarray(streaks, np.float32)


def change_light(grey: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change light, contrast, sharpness and grain, as other cameras and lamps would."""
    look = grey.astype(np.float32)
    if rng.random() < 0.6:
        look *= 1 + rng.uniform(0, 0.25) * np.clip(make_clouds(grey.shape[:2], rng.uniform(200, 900), rng), -2.5, 2)
    if rng.random() < 0.5:
        look = 255 * np.power(np.clip(look, 0, 255) / 255, np.float32(np.exp(rng.normal(0, 0.3))))
    look = look * rng.uniform(0.7, 1.1) + rng.uniform(-15, 15)
    if rng.random() < 0.4:
        look = cv2.GaussianBlur(look, (0, 0), float(rng.uniform(0.4, 1.2)))
    if rng.random() < 0.5:
        look += rng.uniform(0, 9) * rng.standard_normal(look.shape).astype(np.float32)
    return np.clip(look, 0, 255).astype(np.uint8)


def make_clouds(shape: tuple[int, int], size: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Make smooth noise of deviation 1, float32 (h, w), in clouds of about `size` pixels."""
    small = rng.standard_normal((max(2, int(shape[0] / size) + 2), max(2, int(shape[1] / size) + 2)))
    return np.asarray(cv2.resize(small.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)
