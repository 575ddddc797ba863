"""Where the letters of a line stand and how high their bodies reach."""

from dataclasses import dataclass

import cv2
import numpy as np

from quillread.pages.ink import Floats, Mask
from quillread.pages.trace import Trace, smooth, straighten


@dataclass(frozen=True, slots=True)
class Body:
    """The band of a line between the tops of its small letters and its baseline; arrays of shape (n,)."""

    xs: Floats
    """Consecutive columns."""
    tops: Floats
    feet: Floats
    """The baseline, below `tops`."""

    @property
    def height(self) -> float:
        """Height of the small letters where the line begins."""
        return float(self.feet[0] - self.tops[0])


_LONE_PITCH = 2.6
"""Line distance of a page on which no line stands over another, in heights of small letters."""
_FARTHEST = 6.0
"""Lines further apart than this, in heights of small letters, tell nothing of the line distance."""
_ALIKE = 1.4
"""Lines whose small letters are higher or lower than is usual by up to this factor share the distance of the page."""


def line_pitches(bodies: list[Body]) -> list[float]:
    """Estimate the line distance around each line of a page: that of the page, more or less for other sizes of writing.

    Args:
        bodies: At least one.

    Returns:
        Pixels for each line.
    """
    heights = np.array([body.height for body in bodies])
    usual = float(np.median(heights))
    gaps = [gap for body in bodies if (gap := _gap_below(body, bodies)) < _FARTHEST * usual]
    pitch = float(np.median(gaps)) if gaps else _LONE_PITCH * usual
    ratio = heights / usual
    is_other = (ratio > _ALIKE) | (ratio < 1 / _ALIKE)
    return [float(pitch * (min(max(r, 0.4), 2.5) if other else 1.0)) for r, other in zip(ratio, is_other, strict=True)]


def _gap_below(body: Body, bodies: list[Body]) -> float:
    """Distance from the middle of a baseline down to the next one there, at least a height of small letters."""
    column = body.xs[len(body.xs) // 2]
    feet = [float(np.interp(column, b.xs, b.feet)) for b in bodies if b.xs[0] <= column <= b.xs[-1]]
    own = float(body.feet[len(body.xs) // 2])
    return min((foot - own for foot in feet if foot - own > body.height), default=np.inf)


def measure_body(strokes: Mask, trace: Trace, first: int, last: int) -> Body:
    """Find the baseline of a line and the tops of its small letters.

    Small letters end above and below where the number of strokes changes most; ascenders and descenders are
    too few to matter. The baseline follows the writing, the tops stay at one distance from it.

    Args:
        strokes: Left edges of the strokes of this line, or of all lines.
        trace: The course of the line.
        first: First column of the band.
        last: Last column of the band.
    """
    pitch = trace.pitch
    xs = np.arange(first, last + 1, dtype=np.float32)
    middle = trace.at(xs)
    reach = max(3, round(0.6 * pitch))
    blur = 0.8 * pitch, max(0.05 * pitch, 0.8)
    straight = smooth(straighten(strokes, trace, xs, reach), *blur)
    change = np.gradient(straight, axis=0)
    overall = change.sum(axis=1)
    foot = reach + int(np.argmin(overall[reach:-1]))
    top = int(np.argmax(overall[1 : reach + 1])) + 1
    # Far from the foot of the whole line a change is more likely a descender or the next line.
    nearness = np.exp(-(((np.arange(2 * reach + 1) - foot) / (0.1 * pitch)) ** 2) / 2).astype(np.float32)
    local = np.where(straight.max(axis=0) > 0, np.argmin(change * nearness[:, None], axis=0), foot)
    feet = _smooth(middle + local - reach, pitch)
    return Body(xs, feet - max(foot - top, 0.15 * pitch), feet)


def _smooth(values: Floats, pitch: float) -> Floats:
    """Smooth over a line distance and a half, without bending the ends towards the middle."""
    if len(values) < 3:
        return values.astype(np.float32)
    pad = round(2 * pitch)
    span = min(len(values), max(2, round(1.5 * pitch)))
    at = np.arange(span)
    ends = np.polyfit(at, values[:span], 1), np.polyfit(at, values[-span:], 1)
    before, after = np.polyval(ends[0], np.arange(-pad, 0)), np.polyval(ends[1], np.arange(span, span + pad))
    padded = np.concatenate([before, values, after]).astype(np.float32).reshape(1, -1)
    return np.asarray(cv2.GaussianBlur(padded, (0, 0), sigmaX=0.8 * pitch, sigmaY=1).ravel()[pad:-pad], np.float32)
