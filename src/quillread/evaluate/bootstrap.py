"""Intervals by the percentile bootstrap over groups.

Lines of one writer or document fail together, so whole groups are drawn with replacement (the cluster
bootstrap; A. Davison and D. Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8). A line
without a group is a group of its own. If all lines are of one group there is nothing to draw from; then lines
are drawn, and the interval speaks of that writer only.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from quillread.evaluate.metrics import EditCounts

Interval = tuple[float, float]


def bootstrap_ci(
    counts: Mapping[str, Sequence[EditCounts]],
    groups: Sequence[str],
    rng: np.random.Generator,
    resamples: int = 1000,
) -> dict[str, Interval]:
    """Estimate the 95 % interval of corpus-level rates.

    Args:
        counts: For each metric, the counts of every line.
        groups: The group of every line, "" if unknown.
        rng: Source of the draws; the same state gives the same intervals.
        resamples: How many corpora are drawn.

    Returns:
        For each metric the 2.5th and 97.5th percentile of its rate; (nan, nan) if every drawn length is 0.
    """
    columns = [[c.edits for c in lines] for lines in counts.values()]
    columns += [[c.length for c in lines] for lines in counts.values()]
    sums = resampled_sums(np.array(columns, dtype=np.float64).T, groups, rng, resamples)
    edits, lengths = np.split(sums, 2, axis=1)
    return {name: interval95(rates(edits[:, i], lengths[:, i])) for i, name in enumerate(counts)}


def resampled_sums(
    values: NDArray[np.float64], groups: Sequence[str], rng: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """Sum the rows of values over corpora drawn group by group.

    Args:
        values: One row per line, shape (lines, K).
        groups: The group of every line, "" if unknown.
        rng: Source of the draws.
        resamples: How many corpora are drawn.

    Returns:
        float64, shape (resamples, K).
    """
    units = group_numbers(groups)
    count = int(units.max()) + 1
    by_unit = np.stack([np.bincount(units, column, count) for column in values.T], axis=1)
    sums = np.empty((resamples, values.shape[1]))
    for i in range(resamples):  # one draw at a time: all at once would need resamples x groups of memory
        times_drawn = np.bincount(rng.integers(count, size=count), minlength=count)
        sums[i] = times_drawn @ by_unit
    return sums


def group_numbers(groups: Sequence[str]) -> NDArray[np.int64]:
    """Number the units that are drawn together, from 0: groups, else single lines; shape (lines,)."""
    if len(set(groups)) == 1:
        return np.arange(len(groups), dtype=np.int64)
    numbers: dict[str | int, int] = {}
    keys = [group or line for line, group in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def rates(edits: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide edits by lengths; nan where the length is 0."""
    quotients: NDArray[np.float64] = np.full(edits.shape, np.nan)
    np.divide(edits, lengths, out=quotients, where=lengths > 0)
    return quotients


def interval95(values: NDArray[np.float64]) -> Interval:
    """Return the 2.5th and 97.5th percentile of the values that are not nan; (nan, nan) if there are none."""
    known = values[~np.isnan(values)]
    if not known.size:
        return (float("nan"), float("nan"))
    low, high = np.percentile(known, [2.5, 97.5])
    return (float(low), float(high))
