"""Where things stand on synthetic pages."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np

Kind = Literal["writing", "print", "upright", "drawing"]


@dataclass(frozen=True, slots=True)
class Block:
    """A column of lines on a page, or a drawing; lengths in pixels."""

    x0: float
    x1: float
    y0: float
    y1: float
    pitch: float
    """Line distance."""
    kind: Kind = "writing"
    """`upright` is writing turned by 90 degrees."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The blocks of a page, the main one first, and where rules part its columns."""

    blocks: tuple[Block, ...]
    rules: tuple[float, ...] = ()
    """Columns of upright rules."""
    spine: float | None = None
    """Column of the fold of an open book."""


def lay_out(height: int, width: int, rng: np.random.Generator) -> Layout:
    """Draw a layout: a letter, columns, a table, an open book, a printed page or an empty one.

    Args:
        height: Of the page, in pixels.
        width: Of the page, in pixels.
        rng: Draws everything.
    """
    left, right = rng.uniform(0.03, 0.25), rng.uniform(0.02, 0.14)
    top, bottom = rng.uniform(0.03, 0.15), rng.uniform(0.02, 0.12)
    if rng.random() < 0.15:
        bottom = rng.uniform(0.3, 0.8)  # a page that is not full
    pitch = float(np.exp(rng.uniform(np.log(13), np.log(56))))
    main = Block(left * width, (1 - right) * width, top * height, (1 - bottom) * height, pitch)
    kind = rng.random()
    if kind < 0.015:
        main = replace(main, y1=main.y0)  # nothing is written, whatever rules the paper has
    elif kind < 0.035:
        main = replace(main, kind="drawing")
    elif kind < 0.09:
        main = replace(main, kind="print", pitch=min(pitch, 30.0))
    if kind < 0.17 and main.kind == "writing":
        return _table(main, rng)
    columns = 2 if width > height and rng.random() < 0.6 else int(rng.choice([1, 1, 1, 1, 1, 1, 2, 3]))
    gap = rng.uniform(0.03, 0.12 if width > height else 0.06) * width
    blocks = _columns(main, columns, gap)
    spine = (blocks[0].x1 + blocks[1].x0) / 2 if columns == 2 and width > height and rng.random() < 0.7 else None
    if rng.random() < 0.3:
        blocks = _add_print(blocks, height, rng)
    if rng.random() < 0.08:
        blocks = _add_drawing(blocks, rng)
    if left > 0.1 and rng.random() < 0.6:
        blocks.append(_note(blocks[0], width, rng))
    return Layout(tuple(blocks), spine=spine)


def _columns(main: Block, count: int, gap: float) -> list[Block]:
    step = (main.x1 - main.x0 + gap) / count
    return [replace(main, x0=main.x0 + i * step, x1=main.x0 + (i + 1) * step - gap) for i in range(count)]


def _table(main: Block, rng: np.random.Generator) -> Layout:
    """Columns of different width, each parted from the next by a rule or by nothing."""
    pitch = min(main.pitch, 32.0)
    most = max(3, int((main.x1 - main.x0) / (2.5 * pitch)))
    count = int(rng.integers(3, min(14, most) + 1))
    edges = main.x0 + (main.x1 - main.x0) * np.cumsum(np.r_[0, rng.dirichlet(np.full(count, 6.0))])
    pad = rng.uniform(0.15, 0.5) * pitch
    cells = [
        replace(main, x0=a + pad, x1=b - pad, pitch=pitch)
        for a, b in pairwise(edges.tolist())
        if b - a > 2 * pad + pitch
    ]
    return Layout(tuple(cells or [main]), tuple(edges.tolist()) if rng.random() < 0.7 else ())


def _add_print(blocks: list[Block], height: int, rng: np.random.Generator) -> list[Block]:
    """Print a few small lines above or below everything."""
    first = blocks[0]
    pitch = rng.uniform(9, 26)
    tall = rng.integers(1, 5) * pitch
    span = first.x0, first.x0 + rng.uniform(0.3, 1) * (max(b.x1 for b in blocks) - first.x0)
    if rng.random() < 0.7:
        notice = Block(*span, 0.02 * height, 0.02 * height + tall, pitch, "print")
        blocks = [replace(b, y0=max(b.y0, notice.y1 + 0.3 * b.pitch)) for b in blocks]
    else:
        notice = Block(*span, 0.97 * height - tall, 0.97 * height, pitch, "print")
        blocks = [replace(b, y1=min(b.y1, notice.y0)) for b in blocks]
    return [*blocks, notice]


def _add_drawing(blocks: list[Block], rng: np.random.Generator) -> list[Block]:
    """Let a drawing take the upper or lower part of the main block."""
    first, *rest = blocks
    y = first.y0 + rng.uniform(0.25, 0.75) * (first.y1 - first.y0)
    parts = replace(first, y1=y), replace(first, y0=y)
    text, drawing = parts if rng.random() < 0.5 else parts[::-1]
    return [text, *rest, replace(drawing, kind="drawing")]


def _note(main: Block, width: int, rng: np.random.Generator) -> Block:
    """A note in the margin, smaller than the text; some stand upright."""
    start = rng.uniform(main.y0, max(main.y0, main.y1 - 2 * main.pitch))
    stop = min(main.y1, start + rng.uniform(1, 12) * main.pitch)
    kind: Kind = "upright" if rng.random() < 0.35 else "writing"
    if kind == "upright":
        stop = main.y1
    return Block(0.015 * width, main.x0 - 0.02 * width, start, stop, main.pitch * rng.uniform(0.5, 0.9), kind)
