"""Counts n-grams and smooths them: interpolated, modified Kneser-Ney, pruned to a size.

Sources: R. Kneser and H. Ney, "Improved backing-off for m-gram language modeling", ICASSP 1995; S. Chen and J. Goodman,
"An empirical study of smoothing techniques for language modeling", 1998 (three discounts); K. Seymore and R. Rosenfeld,
"Scalable backoff language models", ICSLP 1996 (pruning by weighted difference).

An n-gram of symbols below 256 is one number, the first symbol in its highest byte: eight symbols fill 64 bits. So
sorted n-grams are those of a trie: what follows a context stands side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_ORDER = 8
"""Most symbols of an n-gram."""

_LEAST = 1e-9
"""Least probability that a context leaves to what it does not list."""

Keys = NDArray[np.uint64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grams:
    """The n-grams of one length."""

    keys: Keys
    """Sorted, shape (M,)."""
    log_probs: Floats
    """Natural log of the probability of the last symbol after the others, (M,)."""
    backoffs: Floats
    """Log of the weight of shorter contexts where this n-gram is the context and has not what follows, (M,)."""


def smooth(symbols: NDArray[np.uint8], order: int, alphabet: int, keep: int | None = None) -> list[Grams]:
    """Estimate a model from a text, which is taken as a ring: what precedes its first symbol is its end.

    Args:
        symbols: The text, shape (L,), L at least 1; each symbol below `alphabet`.
        order: Longest n-grams, 1 to 8.
        alphabet: Number of symbols; all get some probability.
        keep: Most n-grams longer than one symbol: those stay that change the likelihood of the text the most. None
            for all.

    Returns:
        For each length its n-grams, the single symbols first. The probabilities after any context add up to 1.
    """
    raw = [_count(symbols, length) for length in range(1, order + 1)]
    probabilities = [_unigrams(raw, alphabet)]
    for n in range(2, order + 1):
        probabilities.append(_interpolate(raw, n, probabilities[-1]))
    kept = [np.ones(len(keys), bool) for keys, _ in raw]
    if keep is not None:
        kept = _choose(raw, probabilities, keep)
    keys = [np.arange(alphabet, dtype=np.uint64), *(k[mask] for (k, _), mask in zip(raw[1:], kept[1:], strict=True))]
    probs = [probabilities[0], *(p[mask] for p, mask in zip(probabilities[1:], kept[1:], strict=True))]
    return _with_backoffs(keys, probs)


def _count(symbols: NDArray[np.uint8], length: int) -> tuple[Keys, NDArray[np.int64]]:
    """Count the n-grams of a length: sorted keys and how often each occurs."""
    ring = np.resize(symbols, len(symbols) + length - 1).astype(np.uint64)
    keys = np.zeros(len(symbols), np.uint64)
    for place in range(length):
        keys = (keys << np.uint64(8)) | ring[place : place + len(symbols)]
    found, counts = np.unique(keys, return_counts=True)
    return found, counts.astype(np.int64)


def _suffixes(keys: Keys, length: int) -> Keys:
    """The last `length` symbols of longer n-grams."""
    return keys & np.uint64((1 << 8 * length) - 1)


def _counts_of(raw: Sequence[tuple[Keys, NDArray[np.int64]]], n: int) -> NDArray[np.int64]:
    """What the estimate of length n counts: occurrences for the longest, for others the symbols that precede."""
    if n == len(raw):
        return raw[n - 1][1]
    _, preceding = np.unique(_suffixes(raw[n][0], n), return_counts=True)
    return preceding.astype(np.int64)


def _discounts(counts: NDArray[np.int64]) -> Floats:
    """How much is taken from counts of 0, 1, 2, and 3 or more (Chen and Goodman, equation 26)."""
    of = [int((counts == i).sum()) for i in range(1, 5)]
    if not all(of):
        return np.array([0.0, 0.5, 0.5, 0.5])  # too little text to tell
    share = of[0] / (of[0] + 2 * of[1])
    estimated = [i - (i + 1) * share * of[i] / of[i - 1] for i in (1, 2, 3)]
    return np.array([0.0, *(min(max(d, 0.1), i) for i, d in zip((1, 2, 3), estimated, strict=True))])


def _unigrams(raw: Sequence[tuple[Keys, NDArray[np.int64]]], alphabet: int) -> Floats:
    counts = np.zeros(alphabet)
    counts[raw[0][0].astype(np.intp)] = _counts_of(raw, 1)
    taken = _discounts(counts.astype(np.int64))[np.minimum(counts, 3).astype(np.intp)]
    return np.asarray((counts - taken) / counts.sum() + taken.sum() / counts.sum() / alphabet)


def _interpolate(raw: Sequence[tuple[Keys, NDArray[np.int64]]], n: int, shorter: Floats) -> Floats:
    """Probabilities of the n-grams of length n from those one shorter."""
    keys, counts = raw[n - 1][0], _counts_of(raw, n)
    taken = _discounts(counts)[np.minimum(counts, 3)]
    _, first = np.unique(keys >> np.uint64(8), return_index=True)
    sizes = np.diff(np.append(first, len(keys)))
    total = np.add.reduceat(counts, first)
    left = np.add.reduceat(taken, first) / total
    below = (
        shorter[find(raw[n - 2][0], _suffixes(keys, n - 1))] if n > 2 else shorter[_suffixes(keys, 1).astype(np.intp)]
    )
    return np.asarray((counts - taken) / np.repeat(total, sizes) + np.repeat(left, sizes) * below)


def find(keys: Keys, wanted: Keys) -> NDArray[np.intp]:
    """Places of n-grams, all of which are there, in sorted keys."""
    return np.searchsorted(keys, wanted)


def _choose(
    raw: Sequence[tuple[Keys, NDArray[np.int64]]], probabilities: Sequence[Floats], keep: int
) -> list[NDArray[np.bool_]]:
    """Say which n-grams stay: those worth the most, and all that lead to them in the trie."""
    worth = [np.full(len(raw[0][0]), np.inf)]
    for n in range(2, len(raw) + 1):
        keys, counts = raw[n - 1]
        ends = _suffixes(keys, n - 1)
        below = probabilities[n - 2][find(raw[n - 2][0], ends) if n > 2 else ends.astype(np.intp)]
        worth.append(counts * np.abs(np.log(probabilities[n - 1]) - np.log(below)))
    for n in range(len(raw), 2, -1):  # a context is worth at least what follows it
        places = find(raw[n - 2][0], raw[n - 1][0] >> np.uint64(8))
        np.maximum.at(worth[n - 2], places, worth[n - 1])
    flat = np.concatenate(worth[1:]) if len(worth) > 1 else np.zeros(0)
    if len(flat) <= keep:
        return [np.ones(len(w), bool) for w in worth]
    limit = np.partition(flat, len(flat) - keep)[len(flat) - keep] if keep else np.inf
    return [w > limit if n else np.ones(len(w), bool) for n, w in enumerate(worth)]


def _with_backoffs(keys: Sequence[Keys], probs: Sequence[Floats]) -> list[Grams]:
    """Give each context the weight with which shorter ones count, so that all adds up to 1."""
    grams: list[Grams] = []
    for n in range(1, len(keys) + 1):
        grams.append(Grams(keys[n - 1], np.log(probs[n - 1]), np.zeros(len(keys[n - 1]))))
        if n < len(keys) and len(keys[n]):
            contexts, first = np.unique(keys[n] >> np.uint64(8), return_index=True)
            # What the shorter context, pruned as it is by now, gives to the symbols that are listed.
            below = np.exp(log_probability(grams, _suffixes(keys[n], n), n))
            free = np.maximum(1 - np.add.reduceat(probs[n], first), _LEAST)
            spare = np.maximum(1 - np.add.reduceat(below, first), _LEAST)
            grams[-1].backoffs[find(keys[n - 1], contexts)] = np.log(free / spare)
    return grams


def log_probability(grams: Sequence[Grams], wanted: Keys, length: int) -> Floats:
    """Look up n-grams of one length, listed in the model or not: log probability of the last symbol of each.

    Args:
        grams: The model, at least as long as `length`.
        wanted: n-grams, (M,).
        length: Their length.
    """
    result = np.zeros(len(wanted))
    open_ = np.arange(len(wanted))
    for n in range(length, 0, -1):
        ends = _suffixes(wanted[open_], n)
        places, there = _look_up(grams[n - 1].keys, ends)
        result[open_[there]] += grams[n - 1].log_probs[places[there]]
        open_, ends = open_[~there], ends[~there]
        if n > 1:
            places, there = _look_up(grams[n - 2].keys, ends >> np.uint64(8))
            result[open_[there]] += grams[n - 2].backoffs[places[there]]
    return result


def _look_up(keys: Keys, wanted: Keys) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Places in sorted keys, and whether the key is there."""
    places = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    return places, keys[places] == wanted if len(keys) else np.zeros(len(wanted), bool)
