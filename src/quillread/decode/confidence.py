"""From what a model reports to the probability of being right."""

import math
from collections.abc import Sequence

import numpy as np

from quillread.types import Calibration


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
        The fitted map; the identity if all were right or all wrong.
    """
    x = np.array([_logit(p) for p in log_probabilities])
    y = np.asarray(right, np.float64)
    if len(y) == 0 or y.min() == y.max():
        return Calibration()
    weights = np.array([1.0, 0.0])
    features = np.stack([x, np.ones_like(x)], axis=1)
    for _ in range(50):  # Newton's method; converges in about 8 steps
        p = 1 / (1 + np.exp(-np.clip(features @ weights, -60, 60)))
        # The ridge keeps the step finite where the two classes can be told apart without error.
        hessian = (features * (p * (1 - p))[:, None]).T @ features + 1e-3 * np.eye(2)
        step = np.linalg.solve(hessian, features.T @ (y - p))
        weights = weights + step
        if float(np.abs(step).max()) < 1e-8:
            break
    return Calibration(float(weights[0]), float(weights[1]))


def _logit(log_probability: float) -> float:
    log_probability = max(-60.0, min(log_probability, -1e-7))
    return log_probability - math.log(-math.expm1(log_probability))
