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
