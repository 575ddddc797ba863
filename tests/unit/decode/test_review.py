import numpy as np
import pytest

from quillread.decode.confidence import choose_for_review, doubt, expected_rate, fit_error_curve
from quillread.errors import ConfigError
from quillread.types import ErrorCurve


def test_the_doubt_is_that_of_the_words_by_their_length():
    assert doubt([("abc", 0.9), ("d", 0.5)]) == pytest.approx((3 * 0.1 + 1 * 0.5) / 4)
    assert doubt([]) == 0.0


def test_the_curve_follows_the_errors_and_never_falls():
    rng = np.random.default_rng(0)
    doubts = rng.uniform(0, 1, 2000)
    edits = rng.binomial(40, doubts / 4)
    curve = fit_error_curve(doubts.tolist(), edits.tolist(), [40] * 2000)
    assert list(curve.rates) == sorted(curve.rates)
    for x in (0.2, 0.5, 0.8):
        assert expected_rate(curve, x) == pytest.approx(x / 4, abs=0.02)


def test_few_lines_teach_nothing():
    assert fit_error_curve([0.1, 0.2], [1, 2], [20, 20]) == ErrorCurve()
    assert fit_error_curve([], [], []) == ErrorCurve()


def test_the_worst_lines_go_to_a_person():
    assert choose_for_review([0.01, 0.5, 0.03, 0.2], [40, 40, 40, 40], 0.05) == [1, 3]


def test_long_lines_count_more():
    assert choose_for_review([0.0, 0.2], [300, 60], 0.05) == []
    assert choose_for_review([0.0, 0.2], [60, 300], 0.05) == [1]


@pytest.mark.parametrize(("target", "chosen"), [(0.0, [0, 1]), (1.0, [])])
def test_the_ends(target: float, chosen: list[int]):
    assert choose_for_review([0.1, 0.2], [10, 10], target) == chosen


@pytest.mark.parametrize("target", [-0.1, 5, float("nan")])
def test_a_target_out_of_range_is_refused(target: float):
    with pytest.raises(ConfigError, match="0 to 1"):
        choose_for_review([0.1], [10], target)
