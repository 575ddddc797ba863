"""One reading of several columns of the same line: that of a line image and of variants of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quillread.decode.ctc import LogProbs
from quillread.decode.prefix_beam import BeamConfig, Found, Scorer, search
from quillread.text.charset import BLANK

_CANDIDATES = 3
"""Readings of each variant that are tried on all of them."""


def search_jointly(
    views: Sequence[LogProbs], characters: Sequence[str], scorer: Scorer, config: BeamConfig
) -> list[Found]:
    """Find the readings that all views of a line make likely together: the mean of their log likelihoods counts.

    Args:
        views: (T, classes) each, T may differ; columns of the readings are those of the first.
        characters: Character of each class.
        scorer: The language.
        config: How widely to search each view.

    Returns:
        At least one reading, the best first.
    """
    found = [search(view, characters, scorer, config) for view in views]
    candidates = {one.labels: one for readings in reversed(found) for one in reversed(readings[:_CANDIDATES])}
    labellings = list(candidates)
    likelihoods = np.mean([log_likelihoods(view, labellings) for view in views], axis=0).tolist()
    known = {one.labels: one for one in found[0]}
    joint = []
    for (labels, one), likelihood in zip(candidates.items(), likelihoods, strict=True):
        columns = known[labels].columns if labels in known else best_columns(views[0], labels)
        worth = one.score - one.log_probability
        joint.append(Found(labels, columns, min(likelihood, 0.0), likelihood + worth))
    return sorted(joint, key=lambda one: -one.score)


def _extend(labellings: Sequence[Sequence[int]]) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.intp]]:
    """Put blanks around all classes: (N, S), whether the blank before a place may be left out, and the last places."""
    size = 2 * max(map(len, labellings)) + 1
    extended = np.full((len(labellings), size), BLANK, np.intp)
    skips = np.zeros((len(labellings), size), bool)
    for row, labels in enumerate(labellings):
        stop = 2 * len(labels)
        extended[row, 1:stop:2] = labels
        skips[row, 3:stop:2] = extended[row, 3:stop:2] != extended[row, 1 : max(stop - 2, 1) : 2]
    return extended, skips, np.array([2 * len(labels) for labels in labellings])


def log_likelihoods(log_probs: LogProbs, labellings: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Log likelihoods of several labellings at once, as `decode.ctc.log_likelihood` gives them one by one.

    Args:
        log_probs: (T, classes).
        labellings: N of them, classes without blanks.

    Returns:
        (N,); -1e30 where a labelling does not fit into T columns.
    """
    extended, skips, last = _extend(labellings)
    probs = np.exp(log_probs.astype(np.float64))
    rows = np.arange(len(labellings))
    alpha = np.zeros(extended.shape)
    alpha[:, :2] = probs[0, extended[:, :2]]
    # Places behind the end of a labelling hold blanks that nothing leads back from.
    totals = np.zeros(len(labellings))
    possible = np.ones(len(labellings), bool)
    for column in range(len(probs)):
        if column:
            step = alpha.copy()
            step[:, 1:] += alpha[:, :-1]
            step[:, 2:] += np.where(skips[:, 2:], alpha[:, :-2], 0.0)
            alpha = step * probs[column, extended]
        norms = alpha.sum(axis=1)
        possible &= norms > 0
        alpha /= np.where(norms > 0, norms, 1.0)[:, None]
        totals += np.log(np.where(norms > 0, norms, 1.0))
    ends = alpha[rows, last] + np.where(last > 0, alpha[rows, np.maximum(last - 1, 0)], 0.0)
    possible &= ends > 0
    return np.where(possible, totals + np.log(np.where(ends > 0, ends, 1.0)), -1e30)


def best_columns(log_probs: LogProbs, labels: Sequence[int]) -> tuple[int, ...]:
    """The column of each class in the likeliest alignment of a labelling (Viterbi 1967); never falling.

    Args:
        log_probs: (T, classes).
        labels: Classes without blanks; if they do not fit, they are spread evenly.
    """
    if not labels:
        return ()
    extended, skips, last = _extend([labels])
    places, scores = len(extended[0]), log_probs[:, extended[0]].astype(np.float64)
    best = np.full(places, -np.inf)
    best[:2] = scores[0, :2]
    came = np.zeros((len(scores), places), np.int8)
    for column in range(1, len(scores)):
        options = np.full((3, places), -np.inf)
        options[0] = best
        options[1, 1:] = best[:-1]
        options[2, 2:] = np.where(skips[0, 2:], best[:-2], -np.inf)
        came[column] = options.argmax(axis=0)
        best = options.max(axis=0) + scores[column]
    place = int(last[0]) if best[last[0]] >= best[last[0] - 1] else int(last[0]) - 1
    if not np.isfinite(best[place]):
        return tuple(int(i * len(scores) / len(labels)) for i in range(len(labels)))
    peaks: dict[int, int] = {}
    for column in range(len(scores) - 1, -1, -1):
        number = place // 2
        of_place = scores[:, place]
        if place % 2 and (number not in peaks or of_place[column] > of_place[peaks[number]]):
            peaks[number] = column
        place -= int(came[column, place])
    return tuple(peaks[i] for i in range(len(labels)))
