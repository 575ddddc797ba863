import numpy as np
import pytest

from quillread.evaluate.bootstrap import bootstrap_ci, group_numbers, resampled_sums
from quillread.evaluate.metrics import EditCounts


def lines(edits, length=10):
    return [EditCounts(substitutions=count, length=length) for count in edits]


def test_interval_holds_the_rate_and_matches_theory_for_lines_without_group():
    edits = [0, 1] * 200
    low, high = bootstrap_ci({"cer": lines(edits)}, [""] * 400, np.random.default_rng(1), 2000)["cer"]
    # A mean of 400 coins has a standard error of 0.025; a tenth of that, for ten characters in a line.
    assert (low, high) == pytest.approx((0.05 - 0.0049, 0.05 + 0.0049), abs=6e-4)


def test_interval_is_wider_when_lines_of_a_group_fail_together():
    edits = [0] * 200 + [1] * 200
    rng = np.random.default_rng(1)
    alone = bootstrap_ci({"cer": lines(edits)}, [""] * 400, rng)["cer"]
    grouped = bootstrap_ci({"cer": lines(edits)}, [f"w{i // 40}" for i in range(400)], rng)["cer"]
    assert np.ptp(grouped) > 4 * np.ptp(alone)


def test_equal_generators_give_equal_intervals():
    counts = {"cer": lines([0, 1, 4]), "wer": lines([1, 1, 0], length=3)}
    first, second = (bootstrap_ci(counts, ["a", "b", ""], np.random.default_rng(7)) for _ in range(2))
    assert first == second


def test_interval_of_empty_references_is_nan():
    interval = bootstrap_ci({"cer": lines([1, 2], length=0)}, ["", ""], np.random.default_rng(0))["cer"]
    assert np.isnan(interval).all()


def test_groups_are_drawn_whole():
    sums = resampled_sums(np.array([[1.0], [10.0], [100.0]]), ["a", "a", "b"], np.random.default_rng(0), 50)
    assert set(sums.ravel()) == {22.0, 111.0, 200.0}


def test_lines_without_group_are_drawn_alone():
    assert group_numbers(["a", "", "a", ""]).tolist() == [0, 1, 0, 2]


def test_lines_of_a_single_group_are_drawn_alone():
    assert group_numbers(["a", "a", "a"]).tolist() == [0, 1, 2]
