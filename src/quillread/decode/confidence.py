"""From what a model reports to the probability of being right."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError
from quillread.types import Calibration, ErrorCurve

_LEAST_SHARE = 1e-4
"""Shares nearer to 0 or 1 than this count as this near: readings with less are dropped by a search."""

_LEAST_SLOPE = 1e-3
"""A smaller slope teaches nothing: it moves no probability by more than 2 %, and its sign may be rounding noise."""

_RIDGE = 1e-3
"""Keeps the fit finite where right and wrong can be told apart without error."""


def calibrate(log_probability: float, calibration: Calibration, share: float | None = None) -> float:
    """Map what a reading reports to a calibrated probability (Platt scaling on the logits).

    Args:
        log_probability: Of the network, at most 0.
        calibration: The default leaves the probability as it is.
        share: Share of the reading, or of a word, among the readings that were compared, 0 to 1; None if none were.
    """
    z = calibration.scale * _logit(log_probability) + calibration.shift
    if share is not None:
        z += calibration.agreement * _share_logit(share)
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, z))))


def fit_calibration(
    log_probabilities: Sequence[float], right: Sequence[bool], shares: Sequence[float] | None = None
) -> Calibration:
    """Find the calibration by maximum likelihood.

    Source: J. Platt, "Probabilistic outputs for support vector machines", 1999.

    Args:
        log_probabilities: What the model reported, one a line.
        right: Whether it was right.
        shares: Shares of the readings, if a search compared some.

    Returns:
        The fitted map; the identity if all were right or all wrong, or likelier readings were not more often right.
    """
    x = np.array([_logit(p) for p in log_probabilities])
    y = np.asarray(right, np.float64)
    if len(y) == 0 or y.min() == y.max():
        return Calibration()
    ones = np.ones_like(x)
    if shares is None:
        return _usable(*_fit_logistic(np.stack([x, ones], axis=1), y).tolist())
    agreed = np.array([_share_logit(share) for share in shares])
    scale, shift, agreement = _fit_logistic(np.stack([x, ones, agreed], axis=1), y).tolist()
    if scale < 0:  # the share says it all
        agreement, shift = _fit_logistic(np.stack([agreed, ones], axis=1), y).tolist()
        scale = 0.0
    elif agreement < 0:
        scale, shift = _fit_logistic(np.stack([x, ones], axis=1), y).tolist()
        agreement = 0.0
    return _usable(scale, shift, agreement)


def _usable(scale: float, shift: float, agreement: float = 0.0) -> Calibration:
    # Likelier readings that are not more often right: there is nothing to learn from such data.
    teaches = min(scale, agreement) >= 0 and scale + agreement >= _LEAST_SLOPE
    finite = math.isfinite(scale + shift + agreement)
    return Calibration(scale, shift, agreement) if teaches and finite else Calibration()


def _fit_logistic(features: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights of the columns of features, (M, K), which best explain whether y is 0 or 1."""
    count = features.shape[1]
    weights = np.zeros(count)
    weights[0] = 1.0

    def loss(w: NDArray[np.float64]) -> float:
        z = features @ w
        return float(np.logaddexp(0, z).sum() - (y * z).sum() + 0.5 * _RIDGE * (w @ w))

    for _ in range(100):  # Newton's method; converges in about 8 steps
        p = 1 / (1 + np.exp(-np.clip(features @ weights, -60, 60)))
        hessian = (features * (p * (1 - p))[:, None]).T @ features + _RIDGE * np.eye(count)
        step = np.linalg.solve(hessian, features.T @ (y - p) - _RIDGE * weights)
        # Far from the solution a full step overshoots and diverges.
        length = 1.0
        while length > 1e-6 and loss(weights + length * step) > loss(weights):
            length /= 2
        weights = weights + length * step
        if float(np.abs(step).max()) < 1e-8:
            break
    return weights


def _share_logit(share: float) -> float:
    kept = max(_LEAST_SHARE, min(share, 1 - _LEAST_SHARE))
    return math.log(kept / (1 - kept))


def _logit(log_probability: float) -> float:
    log_probability = max(-60.0, min(log_probability, -1e-7))
    return log_probability - math.log(-math.expm1(log_probability))


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
