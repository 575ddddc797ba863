"""Prefix beam search over the columns of a line, of one view of it or of several at once.

Trained networks are sure of most columns: only characters with some probability are followed, columns where nothing but
the blank has any are skipped, and readings far behind the best are dropped. The language's factors are multiplied
into the masses as a reading grows, so that all prefixes compare.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quillread.decode.ctc import LogProbs
from quillread.errors import ConfigError
from quillread.text.charset import BLANK


class Scorer(Protocol):
    """What a text is worth besides what the network says, character by character, in nats."""

    def start(self) -> Any:
        """State before the first character."""

    def extend(self, state: Any, character: str) -> tuple[float, Any]:
        """What one more character adds, and the state after it."""

    def finish(self, state: Any) -> float:
        """What the end of the line adds."""


@dataclass(frozen=True, slots=True)
class BeamConfig:
    """How many readings are followed."""

    width: int = 12
    """Most readings at a time."""
    least: float = 1e-3
    """Characters less probable than this in a column are not followed there."""
    behind: float = 1e-4
    """Readings with less than this share of the best one's mass are dropped."""

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 1000 or not 0 < self.least < 1 or not 0 < self.behind < 1:
            raise ConfigError(f"a beam needs a width from 1 to 1000, and shares between 0 and 1, got {self}")


@dataclass(frozen=True, slots=True)
class Found:
    """One reading that a search ended with."""

    labels: tuple[int, ...]
    """Its classes, without blanks."""
    columns: tuple[int, ...]
    """The column where each was seen, never falling."""
    log_probability: float
    """Log of the network's probability of the text, over the alignments that were followed."""
    score: float
    """That, and what the scorer made of it."""


class _Prefix:
    """A reading as far as it has come; its masses hold the scorer's factors."""

    __slots__ = ("added", "blank", "children", "column", "factor", "label", "open", "parent", "peak", "seen", "state",
                 "to_blank", "to_open")  # fmt: skip

    def __init__(self, parent: "_Prefix | None", label: int, added: float, total: float, state: Any) -> None:
        self.parent = parent
        self.label = label
        self.factor = math.exp(added)
        self.added = total
        self.state = state
        self.children: dict[int, _Prefix] = {}
        # Mass of the alignments that end with a blank, and of those that end with the last character; now and next.
        self.blank = self.open = self.to_blank = self.to_open = 0.0
        self.seen = -1
        self.column = 0
        self.peak = 0.0


def search(log_probs: LogProbs, characters: Sequence[str], scorer: Scorer, config: BeamConfig) -> list[Found]:
    """Find the readings with the highest scores.

    Args:
        log_probs: (T, classes).
        characters: Character of each class; what stands for the blank is not used.
        scorer: The language.
        config: How widely to search.

    Returns:
        At least one and at most `config.width` readings, the best first.
    """
    probs = np.exp(log_probs)
    followed = probs > config.least
    followed[:, BLANK] = False
    active = np.flatnonzero(followed.any(axis=1)).tolist()
    blanks = probs[:, BLANK].tolist()
    # Whatever lies between two columns in which something is seen is blank to all readings alike.
    passed = np.append(0.0, np.cumsum(log_probs[:, BLANK], dtype=np.float64)).tolist()
    root = _Prefix(None, BLANK, 0.0, 0.0, scorer.start())
    root.blank = 1.0
    beam, scale, next_column = [root], 0.0, 0
    for column in active:
        if column > next_column:
            scale += passed[column] - passed[next_column]
            for prefix in beam:
                prefix.blank += prefix.open
                prefix.open = 0.0
        labels = np.flatnonzero(followed[column]).tolist()
        options = list(zip(labels, probs[column, labels].tolist(), strict=True))
        touched = _advance(beam, options, blanks[column], column, characters, scorer, config.behind)
        beam, best = _keep(touched, config)
        if best < 1e-200:
            for prefix in beam:
                prefix.blank /= best
                prefix.open /= best
            scale += math.log(best)
        next_column = column + 1
    scale += passed[-1] - passed[next_column]
    return sorted((_found(prefix, scale, scorer) for prefix in beam), key=lambda found: -found.score)


def _advance(
    beam: Sequence[_Prefix],
    options: Sequence[tuple[int, float]],
    blank: float,
    column: int,
    characters: Sequence[str],
    scorer: Scorer,
    behind: float,
) -> list[_Prefix]:
    """Take all readings through one column; return those that have some mass then."""
    touched: list[_Prefix] = []
    least = behind * max(prefix.blank + prefix.open for prefix in beam)
    for prefix in beam:
        mass = prefix.blank + prefix.open
        if prefix.seen != column:
            prefix.seen = column
            touched.append(prefix)
        prefix.to_blank += mass * blank
        for label, probability in options:
            if label == prefix.label:
                prefix.to_open += prefix.open * probability
                grown = prefix.blank * probability
            else:
                grown = mass * probability
            if grown < least:
                continue
            child = prefix.children.get(label)
            if child is None:
                added, state = scorer.extend(prefix.state, characters[label])
                child = prefix.children[label] = _Prefix(prefix, label, added, prefix.added + added, state)
            grown *= child.factor
            child.to_open += grown
            if grown > child.peak:
                child.peak, child.column = grown, column
            if child.seen != column:
                child.seen = column
                touched.append(child)
    return touched


def _keep(touched: list[_Prefix], config: BeamConfig) -> tuple[list[_Prefix], float]:
    """Choose the readings to go on with; return the mass of the best one too."""
    ranked = []
    for place, prefix in enumerate(touched):
        prefix.blank, prefix.open = prefix.to_blank, prefix.to_open
        prefix.to_blank = prefix.to_open = 0.0
        ranked.append((prefix.blank + prefix.open, -place, prefix))
    ranked.sort(reverse=True)
    best = ranked[0][0]
    least = best * config.behind
    return [prefix for mass, _, prefix in ranked[: config.width] if mass > least], best


def _found(prefix: _Prefix, scale: float, scorer: Scorer) -> Found:
    mass = prefix.blank + prefix.open
    score = math.log(mass) + scale if mass > 0 else -math.inf
    labels, columns = [], []
    node = prefix
    while node.parent is not None:
        labels.append(node.label)
        columns.append(node.column)
        node = node.parent
    ordered = np.maximum.accumulate(columns[::-1]).tolist() if columns else []
    log_probability = min(score - prefix.added, 0.0)
    return Found(tuple(labels[::-1]), tuple(ordered), log_probability, score + scorer.finish(prefix.state))


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
    """Put blanks around all classes: (N, S), whether the blank before a place may be skipped, and the last places."""
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
