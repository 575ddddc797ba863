"""CTC decoding (Graves et al. 2006, "Connectionist Temporal Classification")."""

import itertools
from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from quillread.decode.hypothesis import Emission, Hypothesis
from quillread.text.charset import BLANK, Charset

LogProbs = NDArray[np.float32]
"""Natural logarithms of class probabilities, shape (T, classes): one row a column of the line image."""


def columns_needed(labels: Sequence[Hashable]) -> int:
    """Count the columns that CTC needs for a text or its classes: one each, and a blank between two equal ones."""
    return len(labels) + sum(a == b for a, b in itertools.pairwise(labels))


def greedy(log_probs: LogProbs, charset: Charset) -> Hypothesis:
    """Read off the best class of each column, merging repeats and dropping blanks.

    Args:
        log_probs: (T, len(charset)).
        charset: Characters of the classes.

    Returns:
        The text with its characters' columns. `log_probability` sums over all alignments of that text, not only the
        best one, as the likelihood of the text given the image.
    """
    runs = _best_runs(log_probs)
    labels = [label for _, _, label, _ in runs]
    text = charset.decode(labels)
    spans = spread([(a, b) for a, b, _, _ in runs], len(log_probs))
    emissions = tuple(
        Emission(c, probability, start, stop)
        for c, (_, _, _, probability), (start, stop) in zip(text, runs, spans, strict=True)
    )
    return Hypothesis(text, emissions, log_likelihood(log_probs, labels))


def greedy_text(log_probs: LogProbs, charset: Charset) -> str:
    """The text of `greedy` alone, which takes a fraction of the time."""
    return charset.decode(label for _, _, label, _ in _best_runs(log_probs))


def _best_runs(log_probs: LogProbs) -> list[tuple[int, int, int, float]]:
    """Runs of columns whose best class is the same and no blank.

    Returns:
        Of each the first column, the one after the last, the class, and its highest probability.
    """
    best = log_probs.argmax(axis=1)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(best)) + 1])
    stops = np.append(starts[1:], len(best))
    highest = np.exp(np.maximum.reduceat(log_probs.max(axis=1), starts))
    kept = best[starts] != BLANK
    columns = (starts[kept], stops[kept], best[starts[kept]], highest[kept].astype(np.float64))
    return list(zip(*(column.tolist() for column in columns), strict=True))


def spread(peaks: Sequence[tuple[int, int]], columns: int) -> list[tuple[float, float]]:
    """Widen the peaks of the characters, which CTC makes narrow, until they meet half way.

    At the ends of the line a character reaches out by as much as half the typical distance of peaks.
    """
    if not peaks:
        return []
    centres = [(a + b) / 2 for a, b in peaks]
    reach = float(np.median(np.diff(centres))) / 2 if len(peaks) > 1 else 2.0
    inner = [(left[1] + right[0]) / 2 for left, right in itertools.pairwise(peaks)]
    first = max(0.0, min(centres[0] - reach, peaks[0][0]))
    last = min(float(columns), max(centres[-1] + reach, peaks[-1][1]))
    bounds = [first, *inner, last]
    return list(itertools.pairwise(bounds))


def log_likelihood(log_probs: LogProbs, labels: Sequence[int]) -> float:
    """Log of the summed probability of all alignments of a labelling: the forward pass of CTC.

    Args:
        log_probs: (T, classes).
        labels: Classes without blanks.

    Returns:
        At most 0; minus infinity if the labelling does not fit into T columns, or is less likely than the best classes
        by some 600 nats in five columns.
    """
    extended = np.full(2 * len(labels) + 1, BLANK, np.intp)
    extended[1::2] = labels
    # A character may follow the one before without a blank between, unless they are the same.
    skips = np.zeros(len(extended))
    skips[3::2] = extended[3::2] != extended[1:-2:2]
    scores = log_probs[:, extended].astype(np.float64)
    # Working with probabilities scaled by their sum is several times faster than with logarithms; scaling at every
    # fourth column will do.
    shift = scores.max(axis=1, keepdims=True)
    probs = np.exp(scores - shift)
    total = float(shift.sum())
    # Two states that are never entered stand before the first.
    alpha, after = np.zeros((2, len(extended) + 2))
    alpha[2:4] = probs[0, :2]
    skipped = np.empty(len(extended))
    for t in range(1, len(scores)):
        np.multiply(alpha[:-2], skips, out=skipped)
        step = np.add(alpha[2:], alpha[1:-1], out=after[2:])
        step += skipped
        step *= probs[t]
        if t % 4 == 0:
            norm = float(step.sum())
            if norm == 0.0:
                return -np.inf
            step /= norm
            total += float(np.log(norm))
        alpha, after = after, alpha
    end = float(alpha[-2:].sum())
    return total + float(np.log(end)) if end > 0 else -np.inf
