import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quillread.decode.confidence import Report, calibrate, fit_calibration
from quillread.types import Calibration


@given(st.floats(-20, -1e-6))
def test_the_default_leaves_the_probability_as_it_is(log_probability: float):
    assert calibrate(Report(log_probability), Calibration()) == pytest.approx(math.exp(log_probability), rel=1e-6)


@given(st.floats(max_value=0, allow_nan=False), st.floats(0.01, 20), st.floats(-20, 20))
def test_a_confidence_is_a_probability(log_probability: float, scale: float, shift: float):
    assert 0 <= calibrate(Report(log_probability), Calibration(scale, shift)) <= 1


@given(st.floats(-50, 0), st.floats(-50, 0))
def test_calibration_keeps_the_order(a: float, b: float):
    low, high = sorted((a, b))
    calibration = Calibration(0.6, -0.3)
    assert calibrate(Report(low), calibration) <= calibrate(Report(high), calibration)


def test_a_line_without_any_alignment_has_almost_no_confidence():
    assert calibrate(Report(-math.inf), Calibration()) < 1e-20


def test_fitting_finds_the_map_that_the_outcomes_were_drawn_with():
    rng = np.random.default_rng(4)
    logits = rng.normal(1, 2, 20_000)
    true = Calibration(0.7, -0.5)
    right = rng.random(len(logits)) < 1 / (1 + np.exp(-(true.scale * logits + true.shift)))
    fitted = fit_calibration([Report(p) for p in -np.log1p(np.exp(-logits))], right.tolist())
    assert (fitted.scale, fitted.shift) == (
        pytest.approx(true.scale, abs=0.05),
        pytest.approx(true.shift, abs=0.05),
    )


def test_fitting_outcomes_without_overlap_stays_finite():
    fitted = fit_calibration([Report(p) for p in (-5.0, -4.0, -0.1, -0.05)], [False, False, True, True])
    assert 0 < fitted.scale < 100
    assert math.isfinite(fitted.shift)


@pytest.mark.parametrize("right", [[], [True, True], [False, False]], ids=["none", "all right", "all wrong"])
def test_outcomes_that_say_nothing_fit_the_identity(right: list[bool]):
    assert fit_calibration([Report(-0.5)] * len(right), right) == Calibration()


@pytest.mark.parametrize(
    ("mean", "spread", "scale", "shift"),
    [(0.3, 1, 0.8, 0.5), (0.7, 1, 0.6, 1.5), (1.8, 1, 0.3, 1.5), (2.2, 0.8, 0.5, 3)],
)
@pytest.mark.parametrize("seed", range(5))
def test_the_fit_finds_the_map_that_the_data_was_drawn_from(mean, spread, scale, shift, seed):
    rng = np.random.default_rng(seed)
    reported = -np.exp(rng.normal(mean, spread, 4000))
    logit = reported - np.log(-np.expm1(reported))
    right = rng.random(len(logit)) < 1 / (1 + np.exp(-(scale * logit + shift)))
    fitted = fit_calibration([Report(p) for p in reported], right.tolist())
    assert fitted.scale == pytest.approx(scale, rel=0.25)
    assert fitted.shift == pytest.approx(shift, abs=0.5)


def test_readings_that_are_right_when_unlikely_teach_nothing():
    assert fit_calibration([Report(-0.1)] * 20 + [Report(-5.0)] * 20, [False] * 20 + [True] * 20) == Calibration()


@pytest.mark.parametrize("noise", [-1e-9, 0.0, 1e-9])
@pytest.mark.parametrize("shares", [None, [0.5, 0.5, 0.9, 0.9] * 10], ids=["no shares", "shares"])
def test_confidences_that_right_and_wrong_readings_share_teach_nothing(shares: list[float] | None, noise: float):
    right = [True, False] * 20
    reported = [-1.0 + noise if ok else -1.0 for ok in right]
    reports = [Report(p, share) for p, share in zip(reported, shares or [None] * len(right), strict=True)]
    assert fit_calibration(reports, right) == Calibration()


def test_shares_teach_where_confidences_do_not():
    shares = [0.9, 0.9, 0.9, 0.2, 0.2, 0.2] * 10
    right = [True, True, False, False, False, True] * 10
    fits = [
        fit_calibration([Report(-1.0 + noise * ok, share) for ok, share in zip(right, shares, strict=True)], right)
        for noise in (-1e-9, 0.0, 1e-9)
    ]
    for fitted in fits:
        assert calibrate(Report(-1.0, 0.9), fitted) == pytest.approx(2 / 3, abs=0.01)
        assert calibrate(Report(-1.0, 0.2), fitted) == pytest.approx(1 / 3, abs=0.01)


def test_the_fit_finds_how_much_the_line_of_a_word_counts():
    rng = np.random.default_rng(7)
    true = Calibration(0.3, -0.5, 0.2, 0.4, 0.7)
    p, share, line = (rng.uniform(0.02, 0.98, 20_000) for _ in range(3))
    nats = np.exp(rng.normal(-1, 1, 20_000))
    reports = [
        Report(float(np.log(a)), *rest)
        for a, *rest in zip(p, share.tolist(), line.tolist(), nats.tolist(), strict=True)
    ]
    right = [rng.random() < calibrate(report, true) for report in reports]
    fitted = fit_calibration(reports, right)
    for name in ("scale", "shift", "agreement", "line", "nats"):
        assert getattr(fitted, name) == pytest.approx(getattr(true, name), abs=0.06), name


def test_a_word_is_surer_in_a_line_whose_readings_agree_and_that_the_network_read_surely():
    calibration = Calibration(0.3, 0.0, 0.2, 0.4, 0.7)
    weak, agreed, sure = (Report(-0.5, 0.8, line, nats) for line, nats in ((0.3, 1.0), (0.9, 1.0), (0.9, 0.1)))
    assert calibrate(weak, calibration) < calibrate(agreed, calibration) < calibrate(sure, calibration)


def test_what_counts_against_its_sense_is_left_out_of_the_fit():
    rng = np.random.default_rng(3)
    reports = [Report(float(np.log(p)), nats=float(n)) for p, n in rng.uniform(0.05, 0.95, (4000, 2))]
    right = [
        rng.random() < np.exp(r.log_probability) * (0.5 + r.nats / 2) for r in reports
    ]  # right where it was unsure
    fitted = fit_calibration(reports, right)
    assert fitted.nats == 0 and fitted.scale > 0.5
