"""The polygon around the ink of a line."""

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.pages.bodies import Body
from quillread.pages.ink import Floats
from quillread.types import Point

Bools = NDArray[np.bool_]


def outline_ink(own: Bools, other: Bools, body: Body, pitch: float) -> tuple[Point, ...]:
    """Draw the outline of one line: its ink and its body with a margin, less what belongs to other lines.

    Args:
        own: Where the line has ink, shape (h, w).
        other: Where other lines have ink, shape (h, w).
        body: Its band, from its first inked column to its last.
        pitch: Line distance in pixels.

    Returns:
        Points in pixels of `own`: the upper rim from left to right, the lower one back.
    """
    margin = max(2.0, 0.04 * pitch)
    first, last = int(body.xs[0]), int(body.xs[-1])
    own, other = own[:, first : last + 1], other[:, first : last + 1]
    upper = _rim(own, other, body.tops, pitch, margin)
    lower = len(own) - _rim(own[::-1], other[::-1], len(own) - body.feet, pitch, margin)
    xs = np.arange(first, last + 1, dtype=np.float32) + 0.5
    xs[0], xs[-1] = first - margin, last + 1 + margin
    return (*_thin_out(xs, upper), *_thin_out(xs[::-1], lower[::-1]))


def _rim(own: Bools, other: Bools, tops: Floats, pitch: float, margin: float) -> Floats:
    """Upper edge per column: above the ink of the line and its neighbourhood, below what stands over it."""
    height = len(own)
    tight = np.minimum(np.where(own.any(axis=0), own.argmax(axis=0), height), tops).astype(np.float32)
    reach = 2 * round(0.15 * pitch) + 1
    wide = cv2.erode(tight.reshape(1, -1), np.ones((1, reach), np.uint8)).ravel() - margin
    over = other & (np.arange(height)[:, None] < tight - 1)
    lowest = np.where(over.any(axis=0), height - over[::-1].argmax(axis=0), -height)
    return np.asarray(np.minimum(np.maximum(wide, lowest), tight), np.float32)


def _thin_out(xs: Floats, ys: Floats) -> list[Point]:
    rim = np.stack([xs, ys], axis=1).astype(np.float32).reshape(-1, 1, 2)
    return [(float(x), float(y)) for x, y in cv2.approxPolyDP(rim, 0.8, False).reshape(-1, 2)]
