"""Is one recogniser better than another on the same lines? A paired bootstrap by group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quillread.errors import DataError
from quillread.evaluate.bootstrap import interval95, rates, resampled_sums
from quillread.evaluate.metrics import EditCounts, LineScore, score_line, total
from quillread.evaluate.predictions import Prediction

COMPARED = ("cer_spacing", "wer_spacing")


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
    """"better", "worse" (the interval leaves 0 out) or "no clear difference"."""
    lines_better: float
    """Share of lines in which the candidate has fewer edits."""
    lines_worse: float
    lines_equal: float


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
    return [_comparison(metric, before, after, drawn[:, 3 * i : 3 * i + 3]) for i, metric in enumerate(COMPARED)]


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
    metric: str, before: Sequence[LineScore], after: Sequence[LineScore], drawn: NDArray[np.float64]
) -> Comparison:
    ours, theirs = _counts(before, metric), _counts(after, metric)
    differences = rates(drawn[:, 1] - drawn[:, 0], drawn[:, 2])
    low, high = interval95(differences)
    change = np.sign([b.edits - a.edits for a, b in zip(ours, theirs, strict=True)])
    baseline, candidate = total(ours).rate, total(theirs).rate
    return Comparison(
        metric=metric,
        baseline=baseline,
        candidate=candidate,
        difference=candidate - baseline,
        ci95=(low, high),
        p_value=_p_value(differences),
        verdict="better" if high < 0 else "worse" if low > 0 else "no clear difference",
        lines_better=float(np.mean(change < 0)),
        lines_worse=float(np.mean(change > 0)),
        lines_equal=float(np.mean(change == 0)),
    )


def _p_value(differences: NDArray[np.float64]) -> float:
    """Twice the smaller tail beyond 0; one is added to both counts, so no finite number of draws gives 0."""
    known = differences[~np.isnan(differences)]
    tail = min(np.sum(known <= 0), np.sum(known >= 0))
    return min(1.0, 2 * float(tail + 1) / (known.size + 1))
