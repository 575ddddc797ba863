"""Where the lines run: the line distance of a page and the middle of each line of letters."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.pages.ink import Floats, Mask, count_strokes

_LEAST_HEIGHT = 6
"""Lower components, in pixels, are dots, dashes and specks."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The course of one line through the bodies of its letters, from left to right."""

    xs: Floats
    """Rising, shape (n,)."""
    ys: Floats
    """Shape (n,)."""
    pitch: float
    """Line distance around it, in pixels."""

    def at(self, x: Floats) -> Floats:
        """Height at each x; level beyond the ends."""
        return np.interp(x, self.xs, self.ys).astype(np.float32)


def trace_lines(mask: Mask, pitch: float) -> list[Trace]:
    """Follow the lines of a page; returned from the top downwards.

    Stroke counts are smoothed along the lines more than across them; the crests of the result are followed
    from column to column, and crests that continue one another are joined. After S. Bukhari, F. Shafait and
    T. Breuel, "Script-independent handwritten textlines segmentation using active contours", ICDAR 2009.

    Args:
        mask: 1 where there is ink, lines about level.
        pitch: Line distance in pixels.
    """
    density = smooth(count_strokes(mask).astype(np.float32), along=0.7 * pitch, across=0.16 * pitch)
    step = max(2, round(pitch / 4))
    columns = np.ascontiguousarray(density[:, step // 2 :: step])
    crests = _find_crests(columns, max(1, round(0.3 * pitch)))
    linked = [chain for chain in _link(crests, 0.25 * pitch) if len(chain) >= 2]
    chains = [[(step // 2 + column * step, y) for column, y in chain] for chain in linked]
    traces = [Trace(xs, ys, pitch) for xs, ys in (np.asarray(points, np.float32).T for points in chains)]
    kept = _drop_crowding(_join(traces, pitch))
    return sorted(kept, key=lambda trace: float(trace.ys.mean()))


def smooth(values: Floats, along: float, across: float) -> Floats:
    """Blur by standard deviations in pixels along and across the lines.

    Along them two box filters stand in for the Gaussian, whose kernel would be many letters wide.
    """
    box = max(1, round(along * np.sqrt(6)))
    blurred = cv2.GaussianBlur(values, (1, 0), sigmaX=1, sigmaY=across)
    return np.asarray(cv2.blur(cv2.blur(blurred, (box, 1)), (box, 1)), np.float32)


def straighten(strokes: Mask, trace: Trace, xs: Floats, reach: int) -> Floats:
    """Cut out the columns `xs` with the course of a line in the middle row, shape (2 reach + 1, n)."""
    rows = np.rint(trace.at(xs)).astype(int) + np.arange(-reach, reach + 1)[:, None]
    inside = (rows >= 0) & (rows < len(strokes))
    return np.where(inside, strokes[np.clip(rows, 0, len(strokes) - 1), xs.astype(int)], 0).astype(np.float32)


def estimate_pitch(mask: Mask) -> float:
    """Line distance in pixels: the shortest period of the stroke counts down the page that stands out.

    Twice the height of the writing where there is no period, as in a single line; 0 without writing.
    """
    strokes = count_strokes(mask).astype(np.float32)
    strips = [strip.sum(axis=1) for strip in np.array_split(strokes, 8, axis=1) if strip.any()]
    height = writing_height(mask)
    if not height:
        return 0.0
    longest = min(len(mask) // 3, 250)
    correlation = np.sum([_correlate(strip, longest) for strip in strips], axis=0)
    lags = np.arange(len(correlation))
    is_peak = np.zeros(len(correlation), bool)
    is_peak[1:-1] = (correlation[1:-1] > correlation[:-2]) & (correlation[1:-1] >= correlation[2:])
    is_peak &= (lags > 1.2 * height) & (lags < 8 * height)
    if not is_peak.any() or correlation[is_peak].max() < 0.1 * correlation[0]:
        return 2 * height
    return float(lags[is_peak & (correlation > 0.6 * correlation[is_peak].max())][0])


def writing_height(mask: Mask) -> float:
    """Height in pixels of the components that hold the lower middle of the ink; 0 if all are specks."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    stats = stats[1:][stats[1:, cv2.CC_STAT_HEIGHT] >= _LEAST_HEIGHT]
    heights, areas = stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_AREA]
    if not len(heights):
        return 0.0
    order = np.argsort(heights, kind="stable")
    total = np.cumsum(areas[order])
    return float(heights[order][np.searchsorted(total, 0.35 * total[-1])])


def _correlate(profile: Floats, longest: int) -> NDArray[np.float64]:
    """Autocorrelation of a profile at lags 0 to `longest`, free of its slow course."""
    even = cv2.GaussianBlur(profile.reshape(-1, 1), (1, 0), sigmaX=1, sigmaY=2).ravel()
    slow = cv2.GaussianBlur(profile.reshape(-1, 1), (1, 0), sigmaX=1, sigmaY=60).ravel()
    wave = even - slow
    spectrum = np.fft.rfft(wave, 2 * len(wave))
    return np.asarray(np.fft.irfft(np.abs(spectrum) ** 2)[: longest + 1], np.float64)


def _find_crests(columns: Floats, reach: int) -> list[list[int]]:
    """Rows of the highest values within `reach` in each column, left to right."""
    peak = cv2.dilate(columns, np.ones((2 * reach + 1, 1), np.uint8))
    above = columns[columns == peak]
    floor = 0.1 * float(np.percentile(above[above > 0.01 * columns.max()], 75)) if columns.any() else 1.0
    is_crest = (columns == peak) & (columns > floor)
    return [np.flatnonzero(is_crest[:, column]).tolist() for column in range(columns.shape[1])]


def _link(crests: list[list[int]], reach: float) -> list[list[tuple[int, int]]]:
    """Chain each crest to the nearest one of the column before, if that is within `reach`."""
    chains: list[list[tuple[int, int]]] = []
    open_chains: list[list[tuple[int, int]]] = []
    for column, rows in enumerate(crests):
        pairs = sorted(
            (abs(chain[-1][1] - row), index, row)
            for index, chain in enumerate(open_chains)
            for row in rows
            if abs(chain[-1][1] - row) <= reach
        )
        continued: dict[int, int] = {}
        for _, index, row in pairs:
            if index not in continued and row not in continued.values():
                continued[index] = row
        for index, row in continued.items():
            open_chains[index].append((column, row))
        fresh = [[(column, row)] for row in rows if row not in continued.values()]
        chains += fresh
        open_chains = [open_chains[index] for index in continued] + fresh
    return chains


def _join(traces: list[Trace], pitch: float) -> list[Trace]:
    """Join traces that continue one another; of rival continuations the nearest."""
    pairs = sorted(
        (cost, i, j)
        for i, left in enumerate(traces)
        for j, right in enumerate(traces)
        if (cost := _joining_cost(left, right, pitch)) < np.inf
    )
    following: dict[int, int] = {}
    for _, i, j in pairs:
        if i not in following and j not in following.values():
            following[i] = j
    joined = []
    for start in set(range(len(traces))) - set(following.values()):
        members = [start]
        while members[-1] in following:
            members.append(following[members[-1]])
        xs = np.concatenate([traces[index].xs for index in members])
        joined.append(Trace(xs, np.concatenate([traces[index].ys for index in members]), pitch))
    return joined


def _drop_crowding(traces: list[Trace]) -> list[Trace]:
    """Drop short traces close to a longer line: loops of large capitals, crossed-out words."""

    def crowds(trace: Trace) -> bool:
        if trace.xs[-1] - trace.xs[0] > 1.5 * trace.pitch:
            return False
        x, y = trace.xs.mean(), trace.ys.mean()
        return any(
            other.xs[0] <= x <= other.xs[-1]
            and np.ptp(other.xs) > np.ptp(trace.xs)
            and abs(float(other.at(x)) - y) < 0.65 * trace.pitch
            for other in traces
        )

    return [trace for trace in traces if not crowds(trace)]


def _joining_cost(left: Trace, right: Trace, pitch: float) -> float:
    """Gap and step between the end of one trace and the start of another; infinite if they do not fit."""
    gap = float(right.xs[0] - left.xs[-1])
    if not 0 < gap < 2.5 * pitch:
        return np.inf
    ends = left.ys[left.xs >= left.xs[-1] - pitch], right.ys[right.xs <= right.xs[0] + pitch]
    rise = abs(float(np.median(ends[0]) - np.median(ends[1])))
    return gap + 4 * rise if rise < 0.35 * pitch else np.inf
