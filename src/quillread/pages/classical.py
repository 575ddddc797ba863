"""The built-in line finder: no model, one column of level lines, clean or ruled pages first."""

import numpy as np
from numpy.typing import NDArray

from quillread.errors import ImageError
from quillread.pages.assign import Owners, assign_ink
from quillread.pages.bodies import Body, measure_body
from quillread.pages.ink import Mask, count_strokes, drop_blots, find_ink
from quillread.pages.order import order_lines
from quillread.pages.outline import outline_ink
from quillread.pages.trace import Trace, estimate_pitch, trace_lines, writing_height
from quillread.types import Line, Point, Polygon, Region, UInt8Image


class ClassicalSegmenter:
    """Finds lines by the crests of stroke density and gives each its own connected ink.

    Follows slight curves and a page turned by up to 8 degrees; does not find writing that runs upwards or
    upside down as such. The same page gives the same lines.
    """

    def __call__(self, image: UInt8Image) -> tuple[Region, ...]:
        """Find the lines of one page; see `Segmenter`."""
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(f"a page must be uint8 (H, W, 3), got {image.dtype} {image.shape}")
        if min(image.shape[:2]) < _MIN_SIDE:
            return ()
        ink = find_ink(image)
        if not ink.mask.any():
            return ()
        size = image.shape[1], image.shape[0]
        lines = [
            Line(_map_points(baseline, ink.to_page, size), Polygon(_map_points(polygon, ink.to_page, size)))
            for baseline, polygon in _find_lines(ink.mask)
        ]
        return order_lines(lines)


_MIN_SIDE = 8
"""Images with a shorter side, in pixels, hold no writing."""

_Curves = tuple[tuple[Point, ...], tuple[Point, ...]]


def _find_lines(mask: Mask) -> list[_Curves]:
    """Return baseline and polygon of each line in pixels of the mask."""
    pitch = estimate_pitch(mask)
    mask = drop_blots(mask, 0.3 * pitch)
    traces = trace_lines(mask, pitch) if pitch else []
    if not traces:
        return []
    owners = _assign(mask, traces, pitch)
    rows = [row for number, trace in enumerate(traces, 1) for row in _split_print(owners == number, trace)]
    if len(rows) > len(traces):
        traces, owners = rows, _assign(mask, rows, pitch)
    strokes = count_strokes(mask)
    lines = (_draw(strokes, owners, number, trace) for number, trace in enumerate(traces, start=1))
    return [line for line in lines if line]


def _assign(mask: Mask, traces: list[Trace], pitch: float) -> Owners:
    strokes = count_strokes(mask)
    return assign_ink(mask, [measure_body(strokes, t, *_reach(t, mask.shape[1])) for t in traces], pitch)


def _split_print(own: NDArray[np.bool_], trace: Trace) -> list[Trace]:
    """Part rows of small print that stand within one line distance of the page."""
    rows = np.flatnonzero(own.any(axis=1))
    if not len(rows):
        return [trace]
    window = own[rows[0] : rows[-1] + 1].astype(np.uint8)
    height = writing_height(window)
    if not 0 < height <= 0.3 * trace.pitch or len(window) < 2 * height:
        return [trace]
    padded = np.pad(window, ((2 * len(window), 2 * len(window)), (0, 0)))
    parts = [
        Trace(part.xs, part.ys + rows[0] - 2 * len(window), part.pitch)
        for part in trace_lines(padded, estimate_pitch(padded))
    ]
    length = np.ptp(trace.xs)
    return parts if len(parts) > 1 and all(np.ptp(part.xs) > 0.6 * length for part in parts) else [trace]


def _reach(trace: Trace, width: int) -> tuple[int, int]:
    """First and last column in which ink may belong to a line."""
    slack = 0.7 * trace.pitch
    return max(0, int(trace.xs[0] - slack)), min(width - 1, int(trace.xs[-1] + slack))


def _draw(strokes: Mask, owners: Owners, number: int, trace: Trace) -> _Curves | None:
    """Return baseline and polygon of a line, or nothing if its ink is too little for a word."""
    pitch = trace.pitch
    top = max(0, int(trace.ys.min() - 2 * pitch))
    window = slice(top, int(trace.ys.max() + 2 * pitch) + 1)
    near = Trace(trace.xs, trace.ys - top, pitch)
    own = _keep_words(owners[window] == number, pitch)
    ys, xs = np.nonzero(own)
    if not _is_writing(ys - near.at(xs.astype(np.float32)), xs, pitch):
        return None
    body = measure_body(strokes[window] * own, near, int(xs.min()), int(xs.max()))
    other = (owners[window] > 0) & (owners[window] != number)
    curves = _baseline(body, pitch), outline_ink(own, other, body, pitch)
    down = ((x, y + top) for x, y in curves[0]), ((x, y + top) for x, y in curves[1])
    return tuple(down[0]), tuple(down[1])


def _keep_words(own: NDArray[np.bool_], pitch: float) -> NDArray[np.bool_]:
    """Drop specks that stand apart from the rest of a line, which would lengthen it."""
    weight = own.sum(axis=0)
    columns = np.flatnonzero(weight)
    groups = np.split(columns, np.flatnonzero(np.diff(columns) > 1.2 * pitch) + 1)
    kept = np.zeros(len(weight), bool)
    for group in groups:
        kept[group] = weight[group].sum() >= 0.05 * pitch**2
    # A short line, such as a page number, may be no heavier than a speck.
    return own & kept if kept.any() else own


def _is_writing(heights: NDArray[np.float32], xs: NDArray[np.intp], pitch: float) -> bool:
    """Whether ink has the amount, height and width of at least a digit."""
    if len(xs) < 0.012 * pitch**2:
        return False
    low, high = np.percentile(heights, (2, 98))
    return bool(high - low >= max(0.15 * pitch, 5) and np.ptp(xs) >= 0.15 * pitch)


def _baseline(body: Body, pitch: float) -> tuple[Point, ...]:
    """Points about a line distance apart."""
    count = max(2, round(len(body.xs) / pitch) + 1)
    at = np.linspace(body.xs[0], body.xs[-1] + 1, count)
    return tuple(zip(at.tolist(), np.interp(at, body.xs, body.feet).tolist(), strict=True))


def _map_points(points: tuple[Point, ...], to_page: NDArray[np.float64], size: tuple[int, int]) -> tuple[Point, ...]:
    mapped = np.asarray(points) @ to_page[:, :2].T + to_page[:, 2]
    return tuple(map(tuple, np.clip(mapped, 0, size).round(1).tolist()))
