"""Synthetic pages: lines of strokes, fonts and print, laid out and written on made-up paper."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from quillread.data.source import Source
from quillread.models.page import LONG_SIDE
from quillread.train.finder.page_layout import Block, Layout, lay_out
from quillread.train.finder.page_looks import make_clouds
from quillread.train.finder.page_samples import Floats, PageSample, TargetLine
from quillread.train.finder.print_lines import Written, print_text

Alpha = NDArray[np.float32]

Pen = Callable[[np.random.Generator], Written]
"""Writes one more piece, of a few words."""


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


def make_page(sources: Sequence[Source], rng: np.random.Generator) -> PageSample:
    """Make a page: layout, writing, paper, and the look of a scan; straight and level.

    Args:
        sources: Lines to write with; each page takes one.
        rng: Draws everything.
    """
    ratio = rng.uniform(0.62, 0.85)
    short = round(LONG_SIDE * ratio)
    height, width = (LONG_SIDE, short) if rng.random() < 0.75 else (short, LONG_SIDE)
    source = sources[int(rng.integers(len(sources)))]
    layout = lay_out(height, width, rng)
    ink = np.zeros((height, width), np.float32)
    lines = [line for block in layout.blocks for line in fill_block(ink, block, source, rng)]
    main = layout.blocks[0]
    paper = make_paper((height, width), main.pitch, main.y0, rng)
    _mark_columns(paper, layout, rng)
    grey = paper * (1 - rng.uniform(0.45, 0.95) * ink)
    if rng.random() < 0.3:  # writing that shines through from the back
        grey *= 1 - rng.uniform(0.05, 0.18) * cv2.GaussianBlur(ink[:, ::-1], (0, 0), 1.5)
    return PageSample(np.clip(grey, 0, 255).astype(np.uint8), lines)


def fill_block(ink: Alpha, block: Block, source: Source, rng: np.random.Generator) -> list[TargetLine]:
    """Write or draw a block into `ink`, float32 (h, w), and return the lines to be found."""
    if block.kind == "drawing":
        draw(ink, block, rng)
        return []
    if block.kind == "upright":
        turned = Block(len(ink) - block.y1, len(ink) - block.y0, block.x0, block.x1, block.pitch)
        lying = np.ascontiguousarray(np.rot90(ink, -1))
        write_block(lying, turned, _handwriting(source), rng)
        ink[:] = np.rot90(lying)
        return []
    if block.kind == "print":
        return write_block(ink, block, _printing(source, rng), rng, printed=True)
    return write_block(ink, block, _handwriting(source), rng)


def write_block(
    ink: Alpha, block: Block, pen: Pen, rng: np.random.Generator, *, printed: bool = False
) -> list[TargetLine]:
    """Write the lines of a block into `ink`, and return where they are."""
    lines = []
    body = block.pitch * (rng.uniform(0.35, 0.5) if printed else rng.uniform(0.22, 0.45))
    spread, slope = (0.0, 0.0) if printed else (rng.uniform(0, 0.08), rng.normal(0, 0.004))
    ragged, jitter = rng.uniform(0.0, 0.12), 0.0 if printed else rng.uniform(0, 0.04)
    width = block.x1 - block.x0
    y = block.y0 + block.pitch
    while y < block.y1:
        x0 = block.x0 + rng.uniform(0, jitter) * width
        x1 = block.x1 - rng.uniform(0, ragged) * width
        if rng.random() < 0.12:  # the last line of a paragraph, or a heading
            length = (x1 - x0) * rng.uniform(0.1, 0.9)
            x0 += rng.choice([0.0, 0.0, rng.uniform(0, 1)]) * (x1 - x0 - length)
            x1 = x0 + length
        line = write_line(ink, (x0, x1, y + rng.normal(0, 0.4 * spread) * block.pitch), body, slope, pen, rng)
        if line is not None:
            lines.append(TargetLine(line.baseline, line.body, printed))
            if not printed and rng.random() < 0.05:
                cross_out(ink, line, rng)
            if not printed and rng.random() < 0.03:
                lines += _insert(ink, line, block, pen, rng)
        y += block.pitch * (1 + rng.normal(0, spread)) * (rng.uniform(1.5, 3) if rng.random() < 0.04 else 1)
    return lines


def write_line(
    ink: Alpha, place: tuple[float, float, float], body: float, slope: float, pen: Pen, rng: np.random.Generator
) -> TargetLine | None:
    """Write one line from x0 to about x1 on the height y; None if nothing fits.

    Args:
        ink: The page, written into.
        place: x0, x1 and y of the baseline at its start.
        body: Height of the small letters.
        slope: Fall of the line, y per x.
        pen: Whose pieces are strung together.
        rng: Draws them.
    """
    x0, x1, y = place
    x = x0
    if not 0 < y < len(ink):
        return None
    while x < x1 - 2 * body:
        piece = pen(rng)
        factor = body / piece.body * rng.uniform(0.9, 1.1)
        size = max(1, round(piece.alpha.shape[1] * factor)), max(1, round(piece.alpha.shape[0] * factor))
        alpha = cv2.resize(piece.alpha, size, interpolation=cv2.INTER_AREA)[:, : max(1, int(x1 - x))]
        foot = y + slope * (x - x0)
        _paste(ink, alpha, int(x), round(foot - piece.foot * factor))
        x += alpha.shape[1] + rng.uniform(0.5, 1.6) * body
        if rng.random() < 0.05:
            break
    end = min(x, x1)
    if end - x0 < 2 * body:
        return None
    return TargetLine(np.array([(x0, y), (end, y + slope * (end - x0))]), body)


def _insert(ink: Alpha, line: TargetLine, block: Block, pen: Pen, rng: np.random.Generator) -> list[TargetLine]:
    """Squeeze a few small words in above a line."""
    (x0, y0), (x1, _) = line.baseline[0], line.baseline[-1]
    start = rng.uniform(x0, x1)
    stop = min(x1, start + rng.uniform(3, 12) * line.body)
    body = min(line.body, 0.25 * block.pitch) * rng.uniform(0.6, 0.9)
    inserted = write_line(ink, (start, stop, y0 - rng.uniform(0.45, 0.6) * block.pitch), body, 0.0, pen, rng)
    return [inserted] if inserted else []


def _handwriting(source: Source) -> Pen:
    def write(rng: np.random.Generator) -> Written:
        return cut_out(source, rng)

    return write


def _printing(source: Source, rng: np.random.Generator) -> Pen:
    """Print the words of a source in one type."""
    face = int(rng.integers(100))

    def write(rng: np.random.Generator) -> Written:
        text = source.text(int(rng.integers(len(source)))).strip()
        return print_text(text.upper() if rng.random() < 0.1 else text or "-", face)

    return write


def cut_out(source: Source, rng: np.random.Generator) -> Written:
    """Take a line of a source off its paper and find its baseline.

    Small letters end where the number of strokes changes most; see `pages.bodies`.
    """
    image = source.sample(int(rng.integers(len(source))), rng).image[..., 0]
    low, high = np.percentile(image[::2, ::2], (1, 90))
    alpha = np.clip((high - image.astype(np.float32)) / max(high - low, 1.0), 0, 1).astype(np.float32)
    alpha[alpha < 0.15] = 0
    mask = alpha > 0.4
    edges = np.pad((mask[:, 1:] & ~mask[:, :-1]).sum(axis=1).astype(np.float32), 3)
    profile = cv2.GaussianBlur(edges[:, None], (1, 0), sigmaX=1, sigmaY=max(1.0, len(mask) / 24)).ravel()[3:-3]
    change = np.gradient(profile)
    foot = int(np.argmin(change))
    top = int(np.argmax(change[: max(1, foot)]))
    return Written(alpha, float(foot), max(float(foot - top), 0.2 * len(alpha)))


def cross_out(ink: Alpha, line: TargetLine, rng: np.random.Generator) -> None:
    """Strike through a part of a line; it stays a line."""
    (x0, y0), (x1, y1) = line.baseline[0], line.baseline[-1]
    start = rng.uniform(x0, x1)
    stop = min(x1, start + rng.uniform(2, 12) * line.body)
    xs = np.arange(start, stop, max(1.0, 0.3 * line.body))
    if len(xs) < 2:
        return
    ys = np.interp(xs, (x0, x1), (y0, y1)) - line.body * (0.5 + rng.uniform(0, 0.5) * rng.standard_normal(len(xs)))
    points = np.stack([xs, ys], 1).astype(np.int32)
    cv2.polylines(ink, [points], False, 0.9, max(1, round(0.12 * line.body)), cv2.LINE_AA)


def draw(ink: Alpha, block: Block, rng: np.random.Generator) -> None:
    """Draw something that is not writing: curves, ovals, boxes, hatching."""
    low, high = np.array((block.x0, block.y0)), np.array((block.x1, block.y1))
    if (high <= low).any():
        return
    for _ in range(int(rng.integers(3, 25))):
        centre = rng.uniform(low, high)
        size = rng.uniform(0.03, 0.35) * (high - low)
        depth, width, kind = float(rng.uniform(0.4, 1)), int(rng.integers(1, 4)), int(rng.integers(4))
        if kind == 0:
            angles = float(rng.uniform(0, 360)), 0.0, float(rng.uniform(90, 360))
            cv2.ellipse(ink, _pixel(centre), _pixel(size), *angles, depth, width, cv2.LINE_AA)
        elif kind == 1:
            cv2.rectangle(ink, _pixel(centre - size), _pixel(centre + size), depth, width, cv2.LINE_AA)
        elif kind == 2:
            points = centre + np.cumsum(rng.normal(0, 0.15, (int(rng.integers(4, 40)), 2)), axis=0) * size
            cv2.polylines(ink, [points.astype(np.int32)], False, depth, width, cv2.LINE_AA)
        else:
            slant, step = rng.normal(0, 1, 2), rng.uniform(3, 10)
            for i in range(int(size[0] / step)):
                start = centre + np.array((i * step, 0.0))
                cv2.line(ink, _pixel(start), _pixel(start + slant * size[1]), depth, 1, cv2.LINE_AA)


def _pixel(point: Floats) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _mark_columns(paper: Alpha, layout: Layout, rng: np.random.Generator) -> None:
    """Draw the rules between columns, and darken the fold of a book."""
    shade, width = rng.uniform(0.3, 0.85), int(rng.integers(1, 3))
    for x in layout.rules:
        paper[:, int(x) : int(x) + width] *= shade
    if layout.spine is not None:
        reach = rng.uniform(0.01, 0.05) * paper.shape[1]
        fold = np.exp(-np.abs(np.arange(paper.shape[1]) - layout.spine) / reach)
        paper *= (1 - rng.uniform(0.2, 0.7) * fold).astype(np.float32)


def _paste(ink: Alpha, alpha: Alpha, x: int, y: int) -> None:
    """Lay writing over the page, as far as it lies on it."""
    top, left = max(0, y), max(0, x)
    bottom, right = min(ink.shape[0], y + alpha.shape[0]), min(ink.shape[1], x + alpha.shape[1])
    if bottom > top and right > left:
        target = ink[top:bottom, left:right]
        np.maximum(target, alpha[top - y : bottom - y, left - x : right - x], out=target)


def make_paper(shape: tuple[int, int], pitch: float, first: float, rng: np.random.Generator) -> Alpha:
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
    paper *= 1 + rng.uniform(0, 0.12) * make_clouds(shape, rng.uniform(60, 400), rng)
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


def _stain(paper: Alpha, rng: np.random.Generator) -> None:
    height, width = paper.shape
    centre = int(rng.uniform(0, width)), int(rng.uniform(0, height))
    axes = int(rng.uniform(0.01, 0.12) * width), int(rng.uniform(0.01, 0.12) * width)
    mask = np.zeros_like(paper)
    cv2.ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), max(1.0, 0.2 * min(axes)))
    paper *= 1 - rng.uniform(0.05, 0.35) * mask


def _rule(paper: Alpha, pitch: float, first: float, rng: np.random.Generator) -> None:
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
