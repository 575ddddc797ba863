"""Prefix beam search over the columns of a line, of one view of it or of several at once.

Trained networks are sure of most columns: only characters with some probability are followed, columns where nothing but
the blank has any are skipped, and readings far behind the best are dropped. The language's factors are multiplied
into the masses as a reading grows, so that all prefixes compare.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
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

    __slots__ = ("added", "blank", "column", "factor", "label", "number", "open", "parent", "peak", "reached", "seen",
                 "state", "to_open")  # fmt: skip

    def __init__(self, parent: "_Prefix | None", label: int, number: int, added: float, state: Any) -> None:
        self.parent = parent
        self.label = label
        self.number = number
        self.factor = math.exp(added)
        self.added: float = added if parent is None else parent.added + added
        self.state = state
        # Mass of the alignments that end with a blank, and of those that end with the last character.
        self.blank = self.open = 0.0
        # The column that was passed last, what came into it, and what has the last character in it.
        self.seen = -1
        self.reached = self.to_open = 0.0
        # Where most has the last character.
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
    blanks = probs[:, BLANK].tolist()
    # Whatever lies between two columns in which something is seen is blank to all readings alike.
    passed = np.append(0.0, np.cumsum(log_probs[:, BLANK], dtype=np.float64)).tolist()
    prefixes = _Prefixes(characters, scorer, config)
    scale, next_column = 0.0, 0
    for column, options in _columns(probs, followed):
        if column > next_column:
            scale += passed[column] - passed[next_column]
            for prefix in prefixes.beam:
                prefix.blank += prefix.open
                prefix.open = 0.0
        prefixes.keep(prefixes.advance(column, options, blanks[column]))
        scale += prefixes.scale_up()
        next_column = column + 1
    scale += passed[-1] - passed[next_column]
    return sorted((_found(prefix, scale, scorer) for prefix in prefixes.beam), key=lambda found: -found.score)


def _columns(probs: NDArray[np.float32], followed: NDArray[np.bool_]) -> Iterator[tuple[int, list[tuple[int, float]]]]:
    """Give each column in which something is seen with the classes that are followed there and their probabilities."""
    columns, labels = np.nonzero(followed)
    seen = zip(columns.tolist(), labels.tolist(), probs[columns, labels].tolist(), strict=True)
    for column, options in itertools.groupby(seen, itemgetter(0)):
        yield column, [(label, probability) for _, label, probability in options]


class _Prefixes:
    """The readings of a search as far as they have come; see `search` for the arguments."""

    def __init__(self, characters: Sequence[str], scorer: Scorer, config: BeamConfig) -> None:
        self._characters = characters
        self._scorer = scorer
        self._config = config
        # All readings that were ever followed. A reading knows the one that it continues, and not those that continue
        # it: objects in a circle would be left to the garbage collector, which took half of the time.
        self._known: dict[int, _Prefix] = {}
        root = _Prefix(None, BLANK, 0, 0.0, scorer.start())
        root.blank = self._best = 1.0
        self.beam = [root]

    def advance(self, column: int, options: Sequence[tuple[int, float]], blank: float) -> list[_Prefix]:
        """Take all readings through one column; return those that have some mass then.

        This loop takes most of the time of reading with a language: it works nothing out twice.

        Args:
            column: Its number.
            options: Classes, and the probability of each.
            blank: Probability of the blank.
        """
        known, classes, least = self._known, len(self._characters), self._best * self._config.behind
        touched = list(self.beam)
        for prefix in self.beam:
            prefix.seen = column
            prefix.reached = prefix.blank + prefix.open
            prefix.to_open = 0.0
        for prefix in self.beam:
            mass, last, first_child = prefix.reached, prefix.label, prefix.number * classes
            for label, probability in options:
                if label == last:
                    prefix.to_open += prefix.open * probability
                    grown = prefix.blank * probability
                else:
                    grown = mass * probability
                if grown < least:
                    continue
                child = known.get(first_child + label)
                if child is None:
                    added, state = self._scorer.extend(prefix.state, self._characters[label])
                    child = known[first_child + label] = _Prefix(prefix, label, len(known) + 1, added, state)
                grown *= child.factor
                if child.seen == column:
                    child.to_open += grown
                else:
                    child.seen, child.to_open, child.reached = column, grown, 0.0
                    touched.append(child)
                if grown > child.peak:
                    child.peak, child.column = grown, column
        for prefix in touched:
            prefix.blank, prefix.open = prefix.reached * blank, prefix.to_open
        return touched

    def keep(self, touched: Sequence[_Prefix]) -> None:
        """Choose the readings to go on with."""
        masses = [prefix.blank + prefix.open for prefix in touched]
        self._best = max(masses)
        least = self._best * self._config.behind
        kept: Iterable[int] = range(len(masses))
        if len(masses) > self._config.width:
            # Of readings that are alike, those that were there before stay.
            kept = sorted(kept, key=masses.__getitem__, reverse=True)[: self._config.width]
        self.beam = [touched[place] for place in kept if masses[place] > least]

    def scale_up(self) -> float:
        """Multiply masses that have become very small; return the log of what they were divided by."""
        best = self._best
        if best >= 1e-200:
            return 0.0
        for prefix in self.beam:
            prefix.blank /= best
            prefix.open /= best
        self._best = 1.0
        return math.log(best)


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
