"""Which line each stroke of ink belongs to."""

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.pages.bodies import Body
from quillread.pages.ink import Mask, count_strokes

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
    share = np.bincount(
        (labels.astype(np.int64) * (len(bodies) + 1) + bands)[mask > 0], minlength=count * (len(bodies) + 1)
    ).reshape(count, -1)
    share[:, 0] = 0
    owner = share.argmax(axis=1).astype(np.int32)
    second = np.partition(share, -2, axis=1)[:, -2]
    is_loose = share.max(axis=1) == 0
    owner[is_loose] = _nearest_lines(stats[is_loose], centres[is_loose, 0].astype(int), bodies, pitch)
    is_joint = (second > 0.5 * share.max(axis=1)) | (second > 3 * _stroke_area(mask, bodies))
    is_joint &= second > 0
    owners = owner[labels]
    joint = is_joint[labels]
    if joint.any():
        owners[joint] = _nearest_band(bands)[joint]
    owners[mask == 0] = 0
    return np.asarray(owners, np.int32)


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
