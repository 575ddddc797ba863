"""The built-in line finder: no model, one column of level lines, clean or ruled pages first."""

import numpy as np
from numpy.typing import NDArray

from quillread.pages.bodies import Owners, assign_ink, measure_body
from quillread.pages.ink import Mask, count_strokes, drop_blots, find_ink
from quillread.pages.order import order_lines
from quillread.pages.outline import MIN_SIDE, Curves, baseline_points, check_page, keep_words, map_region, outline_ink
from quillread.pages.segment import Layout
from quillread.pages.trace import Trace, estimate_pitch, trace_lines, writing_height
from quillread.types import Line, Polygon, UInt8Image


def open_classical(*, threads: int = 0) -> "ClassicalSegmenter":
    """Build the classical line finder; it has one thread of its own, beside those of OpenCV."""
    return ClassicalSegmenter()


class ClassicalSegmenter:
    """Finds lines by the crests of stroke density and gives each its own connected ink.

    Follows slight curves and a page turned by up to 8 degrees; does not find writing that runs upwards or
    upside down as such. The same page gives the same lines.
    """

    def __call__(self, image: UInt8Image) -> Layout:
        """Find the lines of one page; see `Segmenter`."""
        check_page(image)
        if min(image.shape[:2]) < MIN_SIDE:
            return Layout()
        ink = find_ink(image)
        if not ink.mask.any():
            return Layout()
        size = image.shape[1], image.shape[0]
        # Lines are put in order where the page lies level.
        regions = order_lines([Line(baseline, Polygon(polygon)) for baseline, polygon in _find_lines(ink.mask)])
        return Layout(tuple(map_region(region, ink.to_page, size) for region in regions))


def _find_lines(mask: Mask) -> list[Curves]:
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


def _draw(strokes: Mask, owners: Owners, number: int, trace: Trace) -> Curves | None:
    """Return baseline and polygon of a line, or nothing if its ink is too little for a word."""
    pitch = trace.pitch
    top = max(0, int(trace.ys.min() - 2 * pitch))
    window = slice(top, int(trace.ys.max() + 2 * pitch) + 1)
    near = Trace(trace.xs, trace.ys - top, pitch)
    own = keep_words(owners[window] == number, pitch)
    ys, xs = np.nonzero(own)
    if not _is_writing(ys - near.at(xs.astype(np.float32)), xs, pitch):
        return None
    body = measure_body(strokes[window] * own, near, int(xs.min()), int(xs.max()))
    other = (owners[window] > 0) & (owners[window] != number)
    curves = baseline_points(body, pitch), outline_ink(own, other, body, pitch)
    down = ((x, y + top) for x, y in curves[0]), ((x, y + top) for x, y in curves[1])
    return tuple(down[0]), tuple(down[1])


def _is_writing(heights: NDArray[np.float32], xs: NDArray[np.intp], pitch: float) -> bool:
    """Whether ink has the amount, height and width of at least a digit."""
    if len(xs) < 0.012 * pitch**2:
        return False
    low, high = np.percentile(heights, (2, 98))
    return bool(high - low >= max(0.15 * pitch, 5) and np.ptp(xs) >= 0.15 * pitch)
