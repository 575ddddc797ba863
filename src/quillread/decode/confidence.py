"""From what a model reports to the probability of being right."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from quillread.types import Calibration

_RIDGE = 1e-3
"""Keeps the fit finite where right and wrong can be told apart without error."""


def calibrate(log_probability: float, calibration: Calibration) -> float:
    """Map a log probability to a calibrated probability (Platt scaling on the logit).

    Args:
        log_probability: At most 0.
        calibration: Scale and shift of the logit; the default leaves the probability as it is.
    """
    logit = _logit(log_probability)
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, calibration.scale * logit + calibration.shift))))


def fit_calibration(log_probabilities: Sequence[float], right: Sequence[bool]) -> Calibration:
    """Find scale and shift by maximum likelihood (Platt 1999, "Probabilistic outputs for support vector machines").

    Args:
        log_probabilities: What the model reported, one a line.
        right: Whether it was right.

    Returns:
        The fitted map; the identity if all were right or all wrong, or likelier readings were less often right.
    """
    x = np.array([_logit(p) for p in log_probabilities])
    y = np.asarray(right, np.float64)
    if len(y) == 0 or y.min() == y.max():
        return Calibration()
    weights = np.array([1.0, 0.0])
    features = np.stack([x, np.ones_like(x)], axis=1)

    def loss(w: NDArray[np.float64]) -> float:
        z = features @ w
        return float(np.logaddexp(0, z).sum() - (y * z).sum() + 0.5 * _RIDGE * (w @ w))

    for _ in range(100):  # Newton's method; converges in about 8 steps
        p = 1 / (1 + np.exp(-np.clip(features @ weights, -60, 60)))
        hessian = (features * (p * (1 - p))[:, None]).T @ features + _RIDGE * np.eye(2)
        step = np.linalg.solve(hessian, features.T @ (y - p) - _RIDGE * weights)
        # Far from the solution a full step overshoots and diverges.
        length = 1.0
        while length > 1e-6 and loss(weights + length * step) > loss(weights):
            length /= 2
        weights = weights + length * step
        if float(np.abs(step).max()) < 1e-8:
            break
    scale, shift = float(weights[0]), float(weights[1])
    # A likelier reading that is less often right: there is nothing to learn from such data.
    return Calibration(scale, shift) if scale > 0 and math.isfinite(scale + shift) else Calibration()


def _logit(log_probability: float) -> float:
    log_probability = max(-60.0, min(log_probability, -1e-7))
    return log_probability - math.log(-math.expm1(log_probability))
