"""Bodies of lines and the ink that belongs to each."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.pages.ink import Floats, Mask, count_strokes
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


Owners = NDArray[np.int32]
"""For each pixel the number of the line that its ink belongs to, from 1; 0 for none. Shape (h, w)."""


def assign_ink(mask: Mask, bodies: list[Body], pitch: float) -> Owners:
    """Give each connected piece of ink to a line, or cut it between the lines that it joins.

    A piece goes to the line whose letter bodies it takes part in; one that takes a fair part in several lines
    is cut half-way between their bodies. A piece between two lines, such as a dot or an accent, goes to the
    nearer one, rather to the lower. Loose ink further away than half a line distance belongs to no line.

    Args:
        mask: 1 where there is ink.
        bodies: The lines; line i of the list has number i + 1.
        pitch: Line distance in pixels.
    """
    bands = _paint(bodies, mask.shape)
    count, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=8)
    ink = np.flatnonzero(mask)
    pieces = labels.ravel()[ink].astype(np.int64)
    met = pieces * (len(bodies) + 1) + bands.ravel()[ink]
    share = np.bincount(met, minlength=count * (len(bodies) + 1)).reshape(count, -1)
    share[:, 0] = 0
    owner = share.argmax(axis=1).astype(np.int32)
    second = np.partition(share, -2, axis=1)[:, -2]
    is_loose = share.max(axis=1) == 0
    owner[is_loose] = _nearest_lines(stats[is_loose], centres[is_loose, 0].astype(int), bodies, pitch)
    is_joint = (second > 0.5 * share.max(axis=1)) | (second > 3 * _stroke_area(mask, bodies))
    is_joint &= second > 0
    found = owner[pieces]
    joint = is_joint[pieces]
    if joint.any():
        found[joint] = _nearest_band(bands).ravel()[ink[joint]]
    owners = np.zeros(mask.shape, np.int32)
    owners.ravel()[ink] = found
    return owners


def _paint(bodies: list[Body], shape: tuple[int, ...]) -> Owners:
    bands = np.zeros(shape, np.int32)
    for number, body in enumerate(bodies, start=1):
        rim = np.concatenate([np.stack([body.xs, body.tops], 1), np.stack([body.xs, body.feet], 1)[::-1]])
        cv2.fillPoly(bands, [np.rint(rim).astype(np.int32)], number)
    return bands


def _stroke_area(mask: Mask, bodies: list[Body]) -> float:
    """Area of one upright stroke through the body of a line."""
    width = float(mask.sum()) / max(1.0, float(count_strokes(mask).sum()))
    return width * float(np.median([np.mean(body.feet - body.tops) for body in bodies]))


def _nearest_band(bands: Owners) -> Owners:
    """Number of the band nearest to each pixel."""
    _, nearest = cv2.distanceTransformWithLabels(
        (bands == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    number_of = np.zeros(int(nearest.max()) + 1, np.int32)
    number_of[nearest[bands > 0]] = bands[bands > 0]
    return np.asarray(number_of[nearest], np.int32)


def _nearest_lines(
    stats: NDArray[np.int32], columns: NDArray[np.intp], bodies: list[Body], pitch: float
) -> NDArray[np.int32]:
    """For each component the nearer of the lines above and below its middle column; 0 if both are far.

    Args:
        stats: Of the components, as OpenCV gives them, shape (n, 5).
        columns: Their middles, shape (n,).
        bodies: The lines.
        pitch: Line distance in pixels.
    """
    first = stats[:, cv2.CC_STAT_TOP]
    last = first + stats[:, cv2.CC_STAT_HEIGHT] - 1
    number, least = np.zeros(len(stats), np.int32), np.full(len(stats), 0.5 * pitch)
    for candidate, body in enumerate(bodies, start=1):
        at = columns - int(body.xs[0])
        reached = np.flatnonzero((at >= 0) & (at < len(body.xs)))
        # Accents stand further from their own letters than commas and broken descenders from theirs.
        above, below = first[reached] - body.feet[at[reached]], body.tops[at[reached]] - last[reached]
        cost = np.where(above >= 0, 1.4 * above, np.where(below >= 0, below, np.inf))
        better = reached[cost < least[reached]]
        least[better] = cost[cost < least[reached]]
        number[better] = candidate
    return number
