import math

import numpy as np
import pytest

from quillread.evaluate.calibration import (
    acceptance_curve,
    expected_calibration_error,
    fit_calibrations,
    reliability_bins,
)
from quillread.evaluate.metrics import EditCounts
from quillread.types import Calibration, Transcript


def test_bins_hold_mean_confidence_and_share_of_exact_lines():
    (only,) = reliability_bins([0.12, 0.18], [True, False])
    assert (only.low, only.high, only.lines, only.accuracy) == (0.1, 0.2, 2, 0.5)
    assert only.confidence == pytest.approx(0.15)


def test_full_confidence_falls_into_the_last_bin():
    bins = reliability_bins([1.0, 0.95, 0.0], [True, True, False])
    assert [(part.low, part.lines) for part in bins] == [(0.0, 1), (0.9, 2)]


def test_calibration_error_weighs_bins_by_their_lines():
    bins = reliability_bins([0.9, 0.9, 0.9, 0.1], [True, True, True, True])
    assert expected_calibration_error(bins) == pytest.approx(0.75 * 0.1 + 0.25 * 0.9)


def test_honest_confidence_has_no_calibration_error():
    assert expected_calibration_error(reliability_bins([0.5, 0.5], [True, False])) == 0


def test_calibration_error_of_no_lines_is_nan():
    assert math.isnan(expected_calibration_error(reliability_bins([], [])))


def test_acceptance_starts_with_the_most_confident_lines():
    counts = [EditCounts(deletions=5, length=10), EditCounts(length=10), EditCounts(deletions=1, length=10)]
    curve = acceptance_curve([0.1, 0.9, 0.5], counts)
    assert [(p.threshold, p.cer) for p in curve] == [(0.9, 0.0), (0.5, 0.05), (0.1, 0.2)]
    assert [p.share for p in curve] == pytest.approx([1 / 3, 2 / 3, 1])


def test_lines_of_equal_confidence_are_accepted_together():
    curve = acceptance_curve([0.5, 0.5], [EditCounts(length=4), EditCounts(deletions=4, length=4)])
    assert [(p.share, p.cer) for p in curve] == [(1.0, 0.5)]


def test_accepted_lines_without_reference_have_no_rate():
    (point,) = acceptance_curve([0.5], [EditCounts(insertions=1)])
    assert math.isnan(point.cer)


def test_no_lines_give_no_curve():
    assert acceptance_curve([], []) == []


def reported(count: int, seed: int = 0) -> list[tuple[str, Transcript]]:
    """Lines that are right half as often as they say."""
    rng = np.random.default_rng(seed)
    confidences = rng.uniform(0.3, 0.99, count)
    right = rng.uniform(size=count) < confidences / 2
    return [
        ("ab" if is_right else "cd", Transcript(text="ab", confidence=float(p)))
        for p, is_right in zip(confidences, right, strict=True)
    ]


KNOWN = (Calibration(scale=0.8, shift=-0.2), Calibration(scale=0.7, shift=0.1))


def test_few_lines_keep_the_confidences_that_the_model_had():
    assert fit_calibrations(reported(30), KNOWN) == KNOWN


def test_many_lines_fit_the_confidences_that_foresee_them_better():
    of_lines, _ = fit_calibrations(reported(400), KNOWN)
    assert of_lines == fit_calibrations(reported(400))[0] != KNOWN[0]


def test_confidences_that_foresee_the_lines_as_well_are_kept():
    fitted = fit_calibrations(reported(4000))[0]
    assert fit_calibrations(reported(60, seed=3), (fitted, KNOWN[1]))[0] == fitted


def test_without_confidences_to_keep_few_lines_are_fitted():
    assert fit_calibrations(reported(30))[0] != Calibration()
