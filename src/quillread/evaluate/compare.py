"""Is one recogniser better than another on the same lines? A paired bootstrap and a randomisation test, by group.

The bootstrap gives the interval of the difference. Of few groups it is too narrow: two that happen to differ in the
same direction never give a difference of 0. So a verdict asks for the test, too, which is exact for any number of
groups: if chance alone were at work, what was read in each group might as well be that of the other recogniser (R.
Fisher, "The Design of Experiments", 1935, section 21).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quillread.errors import DataError
from quillread.evaluate.bootstrap import group_numbers, interval95, rates, resampled_sums
from quillread.evaluate.metrics import EditCounts, LineScore, score_line, total
from quillread.evaluate.predictions import Prediction

COMPARED = ("cer_spacing", "wer_spacing")
_LEVEL = 0.05
"""Least p value of a difference that may be chance."""
_ALL_SIGNS = 12
"""Groups up to which all exchanges are looked at; of more a random part."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a candidate differs from a baseline under one metric; rates and shares are fractions."""

    metric: str
    baseline: float
    """Error rate of the baseline."""
    candidate: float
    """Error rate of the candidate."""
    difference: float
    """Candidate minus baseline: below 0 is better."""
    ci95: tuple[float, float]
    """95 % interval of the difference."""
    p_value: float
    """Two-sided: how often chance alone would give a difference this large, 0 to 1."""
    verdict: str
    """"better", "worse" (the interval leaves 0 out, and p is below 0.05) or "no clear difference"."""
    lines_better: float
    """Share of lines in which the candidate has fewer edits."""
    lines_worse: float
    lines_equal: float
    units: int
    """Groups, or lines where there are no groups to tell apart, that the test and the interval go by."""

    @property
    def can_tell(self) -> bool:
        """Whether the test has enough of them: with p as small as it can be, a difference would be clear."""
        return 2.0 ** (1 - self.units) < _LEVEL


def compare(
    baseline: Sequence[Prediction],
    candidate: Sequence[Prediction],
    rng: np.random.Generator,
    resamples: int = 2000,
) -> list[Comparison]:
    """Compare two sets of predictions for the same lines, under `cer_spacing` and `wer_spacing`.

    Both recognisers are scored on the same drawn groups (`bootstrap.resampled_sums`), so what makes a line
    hard for both cancels out. The order of the rows does not matter.

    Raises:
        DataError: If there are no lines, or the ids, references or groups of the two differ.
    """
    theirs = _matched(baseline, candidate)
    groups = [row.group for row in baseline]
    before = [score_line(row.reference, row.text) for row in baseline]
    after = [score_line(row.reference, row.text) for row in theirs]
    columns = [column for metric in COMPARED for column in _columns(before, after, metric)]
    drawn = resampled_sums(np.array(columns, dtype=np.float64).T, groups, rng, resamples)
    units = group_numbers(groups)
    compared = []
    for i, metric in enumerate(COMPARED):
        edits_before, edits_after, _ = _columns(before, after, metric)
        by_unit = np.bincount(units, np.subtract(edits_after, edits_before)).astype(np.float64)
        p_value = _p_value(by_unit, rng, resamples)
        compared.append(_comparison(metric, before, after, drawn[:, 3 * i : 3 * i + 3], p_value, len(by_unit)))
    return compared


def _matched(baseline: Sequence[Prediction], candidate: Sequence[Prediction]) -> list[Prediction]:
    """Return the candidate's rows in the order of the baseline's."""
    if not baseline:
        raise DataError("there are no predictions to compare")
    ours, theirs = ({row.id: row for row in rows} for rows in (baseline, candidate))
    for name, rows, by_id in (("first", baseline, ours), ("second", candidate, theirs)):
        if len(rows) != len(by_id):
            raise DataError(f"the {name} set of predictions holds {len(rows) - len(by_id)} ids more than once")
    hint = "compare predictions made on the same data and split"
    if ours.keys() != theirs.keys():
        only_first = [key for key in ours if key not in theirs]
        only_second = [key for key in theirs if key not in ours]
        raise DataError(
            "the two sets of predictions are of different lines: "
            f"{_listed(only_first)} only in the first, {_listed(only_second)} only in the second",
            hint=hint,
        )
    for field in ("reference", "group"):
        other = [key for key in ours if getattr(ours[key], field) != getattr(theirs[key], field)]
        if other:
            first, second = (getattr(rows[other[0]], field) for rows in (ours, theirs))
            raise DataError(
                f"the two sets of predictions differ in the {field} of {len(other)} of {len(ours)} lines; "
                f"first at id {other[0]!r}: {first!r} and {second!r}",
                hint=hint,
            )
    return [theirs[key] for key in ours]


def _listed(ids: Sequence[str]) -> str:
    return f"{len(ids)} (such as {ids[0]!r})" if ids else "0"


def _columns(before: Sequence[LineScore], after: Sequence[LineScore], metric: str) -> list[list[int]]:
    """Return by line: edits of the baseline, edits of the candidate, length of the reference."""
    ours, theirs = _counts(before, metric), _counts(after, metric)
    return [[c.edits for c in ours], [c.edits for c in theirs], [c.length for c in ours]]


def _counts(scores: Sequence[LineScore], metric: str) -> list[EditCounts]:
    return [getattr(score, metric) for score in scores]


def _comparison(
    metric: str,
    before: Sequence[LineScore],
    after: Sequence[LineScore],
    drawn: NDArray[np.float64],
    p_value: float,
    units: int,
) -> Comparison:
    ours, theirs = _counts(before, metric), _counts(after, metric)
    differences = rates(drawn[:, 1] - drawn[:, 0], drawn[:, 2])
    low, high = interval95(differences)
    change = np.sign([b.edits - a.edits for a, b in zip(ours, theirs, strict=True)])
    baseline, candidate = total(ours).rate, total(theirs).rate
    is_clear = p_value < _LEVEL
    return Comparison(
        metric=metric,
        baseline=baseline,
        candidate=candidate,
        difference=candidate - baseline,
        ci95=(low, high),
        p_value=p_value,
        verdict="better" if is_clear and high < 0 else "worse" if is_clear and low > 0 else "no clear difference",
        lines_better=float(np.mean(change < 0)),
        lines_worse=float(np.mean(change > 0)),
        lines_equal=float(np.mean(change == 0)),
        units=units,
    )


def _p_value(differences: NDArray[np.float64], rng: np.random.Generator, draws: int) -> float:
    """How often exchanging the recognisers in some groups gives a difference as large as the one that was found.

    Args:
        differences: Of the edits of each group.
        rng: Source of the exchanges, where there are too many to look at all.
        draws: How many are looked at then; what was found counts as one, so that no finite number gives 0.
    """
    found, count = abs(float(differences.sum())), len(differences)
    if count <= _ALL_SIGNS:
        signs = 1 - 2 * (np.arange(2**count)[:, None] >> np.arange(count) & 1)
        return float(np.mean(np.abs(signs @ differences) >= found))
    # One at a time: all at once would need draws x groups of memory.
    larger = sum(abs(float((1 - 2 * rng.integers(2, size=count)) @ differences)) >= found for _ in range(draws))
    return (larger + 1) / (draws + 1)
