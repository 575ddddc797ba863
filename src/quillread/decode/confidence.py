"""From what a model reports to the probability of being right."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError
from quillread.types import Calibration, ErrorCurve

_LEAST_SHARE = 1e-4
"""Shares nearer to 0 or 1 than this count as this near: readings with less are dropped by a search."""

_LEAST_SLOPE = 1e-3
"""A smaller slope teaches nothing: it moves no probability by more than 2 %, and its sign may be rounding noise."""

_LEAST_NATS = 1e-3
"""Networks that are surer of a line than this count as this sure."""

_RIDGE = 1e-3
"""Keeps the fit finite where right and wrong can be told apart without error."""


@dataclass(frozen=True, slots=True)
class Report:
    """What is reported of a reading, or of a word of it."""

    log_probability: float
    """Of the network, at most 0."""
    share: float | None = None
    """Share of the reading, or of the word, among the readings that were compared, 0 to 1; None if none were."""
    line: float | None = None
    """Of a word: the share of the reading of its line."""
    nats: float | None = None
    """Nats a character that the network's own reading of the line lacks to certainty, before there was a language."""


_SENSES: dict[str, Callable[[Report], float]] = {
    "scale": lambda report: _logit(report.log_probability),
    "agreement": lambda report: 0.0 if report.share is None else _share_logit(report.share),
    "line": lambda report: 0.0 if report.line is None else _share_logit(report.line),
    "nats": lambda report: 0.0 if report.nats is None else -math.log(max(report.nats, _LEAST_NATS)),
}
"""Weight of a calibration -> what it weighs: the more of it, the surer. 0 where nothing is reported."""
_NONE = dict.fromkeys(_SENSES, 0.0)


def calibrate(report: Report, calibration: Calibration) -> float:
    """Map what a reading reports to a calibrated probability (Platt scaling on the logits).

    Args:
        report: Of the reading, or of a word of it.
        calibration: The default leaves the probability of the network as it is.
    """
    z = calibration.shift + sum(getattr(calibration, name) * sense(report) for name, sense in _SENSES.items())
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, z))))


def fit_calibration(reports: Sequence[Report], right: Sequence[bool]) -> Calibration:
    """Find the calibration by maximum likelihood.

    Source: J. Platt, "Probabilistic outputs for support vector machines", 1999.

    Args:
        reports: What was reported, one a reading or word.
        right: Whether it was right.

    Returns:
        The fitted map, without what would count against its sense; the identity if all were right or all wrong, or
        likelier readings were not more often right.
    """
    y = np.asarray(right, np.float64)
    if len(y) == 0 or y.min() == y.max():
        return Calibration()
    seen = {name: np.array([sense(report) for report in reports]) for name, sense in _SENSES.items()}
    names = ["scale", *(name for name in seen if name != "scale" and seen[name].any())]
    while names:
        features = np.stack([*(seen[name] for name in names), np.ones_like(y)], axis=1)
        *weights, shift = _fit_logistic(features, y).tolist()
        least = min(range(len(names)), key=weights.__getitem__)
        if weights[least] >= 0:
            # Otherwise there is nothing to learn from such data.
            teaches = sum(weights) >= _LEAST_SLOPE and math.isfinite(sum(weights) + shift)
            fitted = _NONE | dict(zip(names, weights, strict=True))
            return Calibration(shift=shift, **fitted) if teaches else Calibration()
        del names[least]
    return Calibration()


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
