"""Made-up paper: light, grain, stains, rules."""

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.float32]


def make_paper(shape: tuple[int, int], pitch: float, first: float, rng: np.random.Generator) -> Grey:
    """Make a sheet.

    Args:
        shape: Height and width in pixels.
        pitch: Distance of its rules, if it is ruled.
        first: Row of the first rule.
        rng: Draws its look.

    Returns:
        float32 (h, w), 0 to 255.
    """
    paper = np.full(shape, rng.uniform(150, 252), np.float32)
    paper *= 1 + rng.uniform(0, 0.12) * _clouds(shape, rng.uniform(60, 400), rng)
    paper += rng.uniform(0, 7) * rng.standard_normal(shape).astype(np.float32)
    for _ in range(int(rng.poisson(0.7))):
        _stain(paper, rng)
    kind = rng.random()
    if kind < 0.35:
        _rule(paper, pitch, first, rng)
    elif kind < 0.45:
        step = rng.uniform(8, 20)
        _rule(paper, step, first % step, rng)
        _rule(paper.T, step, rng.uniform(0, step), rng)
    if rng.random() < 0.3:  # the line of a margin
        x = int(rng.uniform(0.05, 0.3) * shape[1])
        paper[:, x : x + int(rng.integers(1, 3))] *= rng.uniform(0.5, 0.9)
    return paper


def _clouds(shape: tuple[int, int], size: float, rng: np.random.Generator) -> Grey:
    """Smooth noise of deviation 1."""
    small = rng.standard_normal((max(2, int(shape[0] / size) + 2), max(2, int(shape[1] / size) + 2)))
    return np.asarray(cv2.resize(small.astype(np.float32), shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _stain(paper: Grey, rng: np.random.Generator) -> None:
    height, width = paper.shape
    centre = int(rng.uniform(0, width)), int(rng.uniform(0, height))
    axes = int(rng.uniform(0.01, 0.12) * width), int(rng.uniform(0.01, 0.12) * width)
    mask = np.zeros_like(paper)
    cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.2 * min(axes)))
    paper *= 1 - rng.uniform(0.05, 0.35) * mask


def _rule(paper: Grey, pitch: float, first: float, rng: np.random.Generator) -> None:
    strength = rng.uniform(0.08, 0.5)
    thickness = int(rng.integers(1, 3))
    shade = np.full(paper.shape[1], 1 - strength, np.float32)
    if rng.random() < 0.25:  # dotted
        period = int(rng.integers(3, 9))
        shade[np.arange(len(shade)) % period >= period // 2] = 1
    start, stop = (0, len(shade)) if rng.random() < 0.5 else np.sort(rng.integers(0, len(shade), 2))
    shade[:start], shade[stop:] = 1, 1
    for y in np.arange(first, len(paper), pitch):
        paper[int(y) : int(y) + thickness] *= shade


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


def _grain(shape: tuple[int, int], rng: np.random.Generator) -> Grey:
    """The look of a table: spots, or streaks along it or across it, as in wood."""
    size, streak = rng.uniform(5, 200), rng.choice([1.0, 1.0, 8.0, 20.0])
    drawn = shape[0], max(2, round(shape[1] / streak))
    streaks = cv2.resize(_clouds(drawn, size / streak**0.5, rng), shape[::-1], interpolation=cv2.INTER_LINEAR)
    if shape[0] == shape[1] and rng.random() < 0.5:
        streaks = np.ascontiguousarray(streaks.T)
    return np.asarray(streaks, np.float32)


def change_light(grey: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change light, contrast, sharpness and grain, as other cameras and lamps would."""
    look = grey.astype(np.float32)
    if rng.random() < 0.6:
        look *= 1 + rng.uniform(0, 0.25) * np.clip(_clouds(grey.shape[:2], rng.uniform(200, 900), rng), -2.5, 2)
    if rng.random() < 0.5:
        look = 255 * np.power(np.clip(look, 0, 255) / 255, np.float32(np.exp(rng.normal(0, 0.3))))
    look = look * rng.uniform(0.7, 1.1) + rng.uniform(-15, 15)
    if rng.random() < 0.4:
        look = cv2.GaussianBlur(look, (0, 0), float(rng.uniform(0.4, 1.2)))
    if rng.random() < 0.5:
        look += rng.uniform(0, 9) * rng.standard_normal(look.shape).astype(np.float32)
    return np.clip(look, 0, 255).astype(np.uint8)
