"""A word model: how likely words are, alone and after the word before. Words are runs of letters, case apart.

Digits, apostrophes, hyphens and all other marks stand between words; those that end a clause part what they stand
between. Words that the model does not know are spelled by the character model (`language_model`).
"""

import itertools
import math
import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quillread.text.normalise import MARKS, letter_of

_STEP = 1 / 16
"""Log probabilities are held in steps of this size, in nats."""

_MOST_WORDS = 65_535
"""Words are numbered in two bytes; 0 is the unknown word."""

WORDS = re.compile(rf"[^\W\d_](?:[^\W\d_]|[{MARKS}])*")
"""Letters, with the marks that stand on them."""
_LINKING = frozenset(" '’-,")
"""What may stand between two words that belong together."""

UNKNOWN = 0
"""Number of the unknown word, which also stands for the start of a clause."""


@dataclass(frozen=True, slots=True)
class WordTable:
    """Words by number, from 1 in order of falling frequency, and their pairs."""

    words: tuple[str, ...]
    """Lower case, number 1 first."""
    costs: NDArray[np.uint8]
    """Negative log probability of each number in sixteenths of a nat, (words + 1,)."""
    backoff_costs: NDArray[np.uint8]
    """Negative log of the weight of a word alone after each number, (words + 1,)."""
    starts: NDArray[np.uint32]
    """Where the pairs of each first word begin, (words + 2,)."""
    seconds: NDArray[np.uint16]
    """Second words of the pairs, rising for each first one, (pairs,)."""
    pair_costs: NDArray[np.uint8]
    """Negative log probability of the second word after the first, (pairs,)."""

    @property
    def is_whole(self) -> bool:
        """Whether the arrays are as long as each other say."""
        words, pairs = len(self.words) + 1, len(self.seconds)
        lengths = (len(self.costs), len(self.backoff_costs), len(self.starts), len(self.pair_costs))
        if lengths != (words, words, words + 1, pairs):
            return False
        return bool((np.diff(self.starts.astype(np.int64)) >= 0).all()) and int(self.starts[-1]) == pairs


def count_words(texts: Iterable[str]) -> tuple[Counter[str], Counter[tuple[str, str]]]:
    """Count words, and pairs within a clause."""
    words: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for text in texts:
        for clause in clauses(text):
            words.update(clause)
            pairs.update(itertools.pairwise(clause))
    return words, pairs


def clauses(text: str) -> Iterator[list[str]]:
    """Split a text into runs of words with nothing but linking marks between them."""
    clause: list[str] = []
    end = 0
    for match in WORDS.finditer(text):
        if clause and not _LINKING.issuperset(text[end : match.start()]):
            yield clause
            clause = []
        clause.append(match.group().lower())
        end = match.end()
    if clause:
        yield clause


def is_linking(mark: str) -> bool:
    """Whether words on either side of a mark belong together."""
    return mark in _LINKING


def build_words(
    words: Counter[str], pairs: Counter[tuple[str, str]], least: int = 2, least_pairs: int = 2
) -> WordTable:
    """Smooth counts: absolute discounting, single words by how many words they follow (Kneser and Ney 1995).

    Args:
        words: How often each word occurs.
        pairs: How often each pair occurs.
        least: Rarer words are unknown.
        least_pairs: Rarer pairs are dropped.
    """
    kept = [w for w, count in words.most_common(_MOST_WORDS) if count >= least]
    number = {w: i for i, w in enumerate(kept, 1)}
    once = sum(count == 1 for count in words.values())
    twice = sum(count == 2 for count in words.values())
    discount = min(max(once / max(once + 2 * twice, 1), 0.1), 0.9)
    # The words seen once tell how much of a text is new (Good 1953).
    new = max(once, 1) / (sum(words.values()) + 1)
    follows = np.zeros(len(kept) + 1)
    totals = np.zeros(len(kept) + 1)
    listed: dict[int, list[tuple[int, int]]] = {}
    for (first, second), count in pairs.items():
        a, b = number.get(first, UNKNOWN), number.get(second, UNKNOWN)
        follows[b] += 1
        totals[a] += count
        if a and b and count >= least_pairs:
            listed.setdefault(a, []).append((b, count))
    # A word that never follows another one is as likely as one seen to follow once.
    alone = np.maximum(follows, 1.0)
    alone[UNKNOWN] = 0.0
    alone *= (1 - new) / max(alone.sum(), 1.0)
    alone[UNKNOWN] = new
    return _tabulate(kept, alone, totals, listed, discount)


def _tabulate(
    kept: list[str],
    alone: NDArray[np.float64],
    totals: NDArray[np.float64],
    listed: dict[int, list[tuple[int, int]]],
    discount: float,
) -> WordTable:
    starts, seconds, costs = [0, 0], [], []
    backoffs = np.zeros(len(kept) + 1)
    for first in range(1, len(kept) + 1):
        row = sorted(listed.get(first, ()))
        numbers = np.array([second for second, _ in row], np.intp)
        counts = np.array([count for _, count in row], np.float64)
        if len(row):
            given = (counts - discount) / totals[first]
            weight = (1 - given.sum()) / max(1 - alone[numbers].sum(), 1e-9)
            costs.append(_quantise(np.log(given)))
            backoffs[first] = math.log(max(weight, 1e-7))
        seconds.extend(numbers.tolist())
        starts.append(len(seconds))
    pair_costs = np.concatenate(costs) if costs else np.zeros(0, np.uint8)
    return WordTable(
        tuple(kept),
        _quantise(np.log(alone)),
        _quantise(backoffs),
        np.array(starts, np.uint32),
        np.array(seconds, np.uint16),
        pair_costs,
    )


def _quantise(logs: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.round(-logs / _STEP), 0, 255).astype(np.uint8)


def _form_of(character: str) -> str:
    """The letter that a character is a form of; nothing for a combining mark."""
    return "" if unicodedata.combining(character) else letter_of(character)


class WordModel:
    """Looks up words and pairs of words."""

    def __init__(self, table: WordTable) -> None:
        self.words = table.words
        self._numbers = {word: i for i, word in enumerate(table.words, 1)}
        self._costs = table.costs.tobytes()
        self._backoff_costs = table.backoff_costs.tobytes()
        self._starts = table.starts.data
        self._seconds = table.seconds.data
        self._pair_costs = table.pair_costs.tobytes()
        self._letters = frozenset("".join(table.words))

    def __contains__(self, word: object) -> bool:
        """Whether a word in lower case is known."""
        return isinstance(word, str) and bool(self._number(word))

    def _number(self, word: str) -> int:
        """Number of a word; letters that no known word has count as those that they are forms of, ſ as s."""
        number = self._numbers.get(word, UNKNOWN)
        if number == UNKNOWN and not word.isascii() and not self._letters.issuperset(word):
            plain = "".join(c if c in self._letters else _form_of(c) for c in word)
            number = self._numbers.get(plain, UNKNOWN)
        return number

    def score(self, before: int, word: str, spelled: float) -> tuple[float, int]:
        """Say how likely a word is after another one.

        Args:
            before: Number of the word before; 0 if there is none.
            word: In lower case.
            spelled: Log probability of its letters, for a word that is not known.

        Returns:
            Log probability and number of the word.
        """
        number = self._number(word)
        return (self._listed(before, number) if number else self._listed(before, UNKNOWN) + spelled), number

    def _listed(self, before: int, word: int) -> float:
        start, stop = self._starts[before], self._starts[before + 1]
        place = bisect_left(self._seconds, word, start, stop)
        if place < stop and self._seconds[place] == word:
            return -self._pair_costs[place] * _STEP
        return -(self._backoff_costs[before] + self._costs[word]) * _STEP

    def unknown_share(self, text: str) -> float:
        """Share of the words of a text that are unknown; 0 if it has none."""
        found = [word for clause in clauses(text) for word in clause]
        return sum(word not in self for word in found) / max(len(found), 1)
