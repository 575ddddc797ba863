"""How many errors a line is expected to hold, and which lines a person should look at."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError
from quillread.types import ErrorCurve

_LEAST_CHARACTERS = 400
"""Characters that the reading of lines of like doubt must hold together, to say how many of them are wrong."""


def doubt(words: Sequence[tuple[str, float]]) -> float:
    """Mean probability that a character stands in a word that is wrong, 0 to 1; 0 if there are no words.

    Args:
        words: Those of a line, each with its confidence.
    """
    characters = sum(len(text) for text, _ in words)
    return sum(len(text) * (1 - confidence) for text, confidence in words) / max(characters, 1)


def fit_error_curve(doubts: Sequence[float], edits: Sequence[int], lengths: Sequence[int]) -> ErrorCurve:
    """Find the error rate by doubt: never falling, by pooling neighbours (Barlow et al. 1972).

    Args:
        doubts: Of lines with known text.
        edits: Edits from the reference to what was read.
        lengths: Characters read, for empty readings 1.

    Returns:
        The curve; the doubt itself, if there are too few lines to tell.
    """
    order = np.argsort(doubts, kind="stable")
    x, y, w = (np.asarray(values, np.float64)[order] for values in (doubts, edits, lengths))
    blocks: list[NDArray[np.float64]] = []  # length, edits, doubt times length
    for part in _parts(w):
        blocks.append(np.array([w[part].sum(), y[part].sum(), (x[part] * w[part]).sum()]))
        while len(blocks) > 1 and blocks[-2][1] * blocks[-1][0] >= blocks[-1][1] * blocks[-2][0]:
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    if len(blocks) < 2:
        return ErrorCurve()
    return ErrorCurve(
        tuple(round(float(b[2] / b[0]), 6) for b in blocks), tuple(round(float(b[1] / b[0]), 6) for b in blocks)
    )


def _parts(lengths: NDArray[np.float64]) -> list[slice]:
    """Runs of lines with enough characters each."""
    parts, start, total = [], 0, 0.0
    for i, length in enumerate(lengths, 1):
        total += float(length)
        if total >= _LEAST_CHARACTERS:
            parts.append(slice(start, i))
            start, total = i, 0.0
    return parts


def expected_rate(curve: ErrorCurve, of: float) -> float:
    """Expected error rate of a line by its doubt."""
    return float(np.interp(of, curve.doubts, curve.rates))


def choose_for_review(rates: Sequence[float], lengths: Sequence[int], target: float) -> list[int]:
    """Choose the fewest lines whose correction leaves an expected error rate of at most `target`.

    Args:
        rates: Expected error rate of each line.
        lengths: Characters of each.
        target: Between 0 and 1.

    Returns:
        Their places, in order.

    Raises:
        ConfigError: If the target is out of range.
    """
    if not 0 <= target <= 1 or math.isnan(target):
        raise ConfigError(f"the error rate that may remain lies in 0 to 1, got {target}", hint="5 % is 0.05")
    order = sorted(range(len(rates)), key=lambda i: rates[i])
    errors = characters = 0.0
    kept = set()
    for i in order:
        errors += rates[i] * lengths[i]
        characters += lengths[i]
        if errors > target * characters:
            break
        kept.add(i)
    return [i for i in range(len(rates)) if i not in kept]
