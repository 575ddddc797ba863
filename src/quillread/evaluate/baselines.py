"""How well found lines match the true ones: precision, recall and F1 of baselines, overlap of outlines, order.

The measure of the cBAD competitions: T. Grüning, R. Labahn, M. Diem, F. Kleber and S. Fiel, "READ-BAD: A New
Dataset and Evaluation Scheme for Baseline Detection in Archival Documents", DAS 2018 (arXiv:1705.03311).

A baseline becomes points a pixel apart. A point counts 1 up to a distance t, the tolerance, from another
baseline; the count falls linearly to 0 at 3 t. The coverage of a baseline is the mean count of its points.

- Recall: the mean over true baselines of their coverage by all found ones together (each point takes its
  best), so that a line found in pieces is still found.
- Precision: true and found baselines are paired one to one, greedily by the coverage of the found by the true
  one; the coverages of the pairs are summed and divided by the number found: pieces and extra lines cost.

Simplified: one tolerance a page, a quarter of its median line distance, where the paper takes one for each
true baseline; distances are to the segments, not to the nearest point; reading direction is not compared.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.types import Line, Point, Polygon

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BaselineScore:
    """Agreement of found and true baselines, each number from 0 to 1."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 if both are."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def score_page(truth: Sequence[Line], found: Sequence[Line]) -> BaselineScore:
    """Compare the baselines of one page.

    Two empty pages agree fully; an empty page against lines scores 0.
    """
    if not truth or not found:
        value = float(not truth and not found)
        return BaselineScore(value, value)
    by_pair, recall = _compare(truth, found)
    matched = sum(by_pair[row, column] for row, column in _match_greedily(by_pair))
    return BaselineScore(float(matched) / len(found), recall)


def pair_lines(truth: Sequence[Line], found: Sequence[Line]) -> dict[int, int]:
    """Say which found line stands for which true one.

    Returns:
        Index of the found line by that of the true one; only pairs that agree along at least half of the found line.
    """
    if not truth or not found:
        return {}
    by_pair, _ = _compare(truth, found)
    return {column: row for row, column in _match_greedily(by_pair) if by_pair[row, column] >= 0.5}


def count_order_errors(truth: Sequence[Line], found: Sequence[Line]) -> int:
    """Count the lines that would have to be moved to bring the found lines that are true ones into the true order."""
    pairs = pair_lines(truth, found)
    places = [pairs[index] for index in sorted(pairs)]
    # The longest run of places that rises: ends[n] is the least place with which a run of n + 1 ends.
    ends: list[int] = []
    for place in places:
        at = bisect_left(ends, place)
        ends[at : at + 1] = [place]
    return len(places) - len(ends)


def mean_iou(truth: Sequence[Line], found: Sequence[Line], size: tuple[int, int]) -> float:
    """Mean over the true lines of the overlap of their polygon with that of the line found for them.

    Args:
        truth: At least one line.
        found: Lines.
        size: Width and height of the page in pixels.

    Returns:
        Intersection over union, 0 to 1; lines that were not found count as 0.
    """
    pairs = pair_lines(truth, found)
    overlaps = [_overlap(truth[index].polygon, found[row].polygon, size) for index, row in pairs.items()]
    return float(sum(overlaps)) / len(truth)


def _overlap(a: Polygon, b: Polygon, size: tuple[int, int]) -> float:
    points = [np.rint(np.clip(polygon.points, 0, size)).astype(np.int32) for polygon in (a, b)]
    corner = np.vstack(points).min(axis=0)
    width, height = (np.vstack(points).max(axis=0) - corner + 1).tolist()
    masks = [cv2.fillPoly(np.zeros((height, width), np.uint8), [outline - corner], 1) > 0 for outline in points]
    return float((masks[0] & masks[1]).sum() / max(1, (masks[0] | masks[1]).sum()))


def _compare(truth: Sequence[Line], found: Sequence[Line]) -> tuple[Floats, float]:
    """Return how far each found line lies on each true one, shape (found, truth), and the recall."""
    tolerance = line_distance(truth) / 4
    truth_points = [_resample(line.baseline) for line in truth]
    found_points = [_resample(line.baseline) for line in found]
    covered = [np.zeros(len(points)) for points in truth_points]
    by_pair = np.zeros((len(found), len(truth)))
    for row, (line, points) in enumerate(zip(found, found_points, strict=True)):
        for column, (true_line, true_points) in enumerate(zip(truth, truth_points, strict=True)):
            if _are_apart(points, true_points, 3 * tolerance):
                continue
            by_pair[row, column] = _count(points, true_line.baseline, tolerance).mean()
            np.maximum(covered[column], _count(true_points, line.baseline, tolerance), out=covered[column])
    return by_pair, float(np.mean([points.mean() for points in covered]))


def mean_score(scores: Sequence[BaselineScore]) -> BaselineScore:
    """Average precision and recall over pages, each page alike; `f1` is then that of the averages.

    `scores` must not be empty.
    """
    return BaselineScore(
        float(np.mean([score.precision for score in scores])),
        float(np.mean([score.recall for score in scores])),
    )


def line_distance(lines: Sequence[Line]) -> float:
    """Median distance in pixels from a baseline down to the next one that overlaps it in x.

    Lines without one below are skipped; if no line has any, the median height of the polygons stands in.
    `lines` must not be empty.
    """
    curves = [np.asarray(line.baseline, np.float64) for line in lines]
    gaps = []
    for curve in curves:
        below = [gap for other in curves if other is not curve and (gap := _gap_below(curve, other)) > 0]
        if below:
            gaps.append(min(below))
    if not gaps:
        gaps = [line.polygon.bounds.height for line in lines]
    return max(float(np.median(gaps)), 1.0)


def _gap_below(upper: Floats, lower: Floats) -> float:
    """Vertical distance at the middle of the common x range; 0 if there is no common range."""
    x0, x1 = max(upper[:, 0].min(), lower[:, 0].min()), min(upper[:, 0].max(), lower[:, 0].max())
    if x1 <= x0:
        return 0.0
    ys = [np.interp((x0 + x1) / 2, *curve[np.argsort(curve[:, 0])].T) for curve in (upper, lower)]
    return float(ys[1] - ys[0])


def _resample(baseline: Sequence[Point]) -> Floats:
    points = np.asarray(baseline, np.float64)
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    at = np.linspace(0, along[-1], max(2, int(np.ceil(along[-1])) + 1))
    return np.stack([np.interp(at, along, points[:, axis]) for axis in (0, 1)], axis=1)


def _are_apart(a: Floats, b: Floats, distance: float) -> bool:
    """Whether the boxes around two sets of points are further apart than `distance`."""
    gaps = np.maximum(a.min(axis=0) - b.max(axis=0), b.min(axis=0) - a.max(axis=0))
    return bool((gaps > distance).any())


def _count(points: Floats, baseline: Sequence[Point], tolerance: float) -> Floats:
    """How far each point (N, 2) counts as lying on a baseline: 1 within the tolerance, 0 from 3 times it."""
    vertices = np.asarray(baseline, np.float64)
    start, step = vertices[:-1], np.diff(vertices, axis=0)
    squared_length = np.maximum((step**2).sum(axis=1), 1e-9)
    offset = points[:, None, :] - start
    share = np.clip((offset * step).sum(axis=2) / squared_length, 0, 1)
    distance = np.linalg.norm(offset - share[..., None] * step, axis=2).min(axis=1)
    return np.asarray(np.clip((3 * tolerance - distance) / (2 * tolerance), 0, 1), np.float64)


def _match_greedily(coverage: Floats) -> list[tuple[int, int]]:
    """Pick the largest entries of a matrix of which no two share a row or a column: (row, column), above 0."""
    left, pairs = coverage.copy(), []
    for _ in range(min(left.shape)):
        row, column = (int(index) for index in np.unravel_index(int(left.argmax()), left.shape))
        if left[row, column] <= 0:
            break
        pairs.append((row, column))
        left[row, :] = left[:, column] = -1
    return pairs
