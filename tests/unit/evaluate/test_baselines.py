import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.pages.drawing import box_line

from quillread.evaluate.baselines import (
    BaselineScore,
    count_order_errors,
    line_distance,
    mean_iou,
    mean_score,
    pair_lines,
    score_page,
)

PAGE = [box_line(0, y - 60, 800, y) for y in (100, 200, 300, 400)]


def test_the_truth_scores_one():
    assert score_page(PAGE, PAGE) == BaselineScore(1.0, 1.0)


def test_two_empty_pages_agree():
    assert score_page([], []).f1 == 1.0


@pytest.mark.parametrize(("truth", "found"), [(PAGE, []), ([], PAGE)])
def test_lines_against_an_empty_page_score_zero(truth, found):
    assert score_page(truth, found).f1 == 0.0


def test_a_missed_line_costs_recall_only():
    assert score_page(PAGE, PAGE[:3]) == BaselineScore(1.0, 0.75)


def test_an_extra_line_costs_precision_only():
    assert score_page(PAGE, [*PAGE, box_line(0, 800, 800, 900)]) == BaselineScore(0.8, 1.0)


def test_a_line_in_two_pieces_costs_precision_only():
    pieces = [box_line(0, 40, 400, 100), box_line(400, 40, 800, 100)]
    score = score_page(PAGE, [*pieces, *PAGE[1:]])
    assert (score.precision, score.recall) == pytest.approx((0.8, 1.0))


def test_two_true_lines_found_as_one_cost_recall():
    truth = [box_line(0, 40, 400, 100), box_line(500, 40, 900, 100), *PAGE[1:]]
    score = score_page(truth, [truth[0], *PAGE[1:]])
    assert score.recall == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(("shift", "expected"), [(25, 1.0), (50, 0.5), (75, 0.0)])
def test_a_shift_counts_fully_up_to_the_tolerance_and_not_at_all_from_three_times_it(shift, expected):
    truth = [box_line(0, 0, 800, 100), box_line(0, 100, 800, 200)]
    shifted = [box_line(0, 100 - shift, 800, 100 - shift), box_line(0, 200 + shift, 800, 200 + shift)]
    score = score_page(truth, shifted)
    assert (score.precision, score.recall) == pytest.approx((expected, expected), abs=0.01)


def test_the_line_distance_is_the_median_way_down_to_the_next_line():
    assert line_distance([*PAGE, box_line(0, 900, 800, 1000)]) == 100


def test_the_line_distance_of_one_line_is_the_height_of_its_polygon():
    assert line_distance([box_line(0, 40, 800, 100)]) == 60


def test_the_mean_takes_each_page_alike():
    mean = mean_score([BaselineScore(1.0, 0.5), BaselineScore(0.5, 0.5)])
    assert (mean.precision, mean.recall) == (0.75, 0.5)


heights = st.lists(st.integers(0, 1000), min_size=1, max_size=6, unique=True)


@given(heights, heights)
def test_scores_lie_between_zero_and_one(truth, found):
    score = score_page([box_line(0, y, 300, y + 20) for y in truth], [box_line(20, y, 350, y + 20) for y in found])
    assert 0 <= score.precision <= 1 and 0 <= score.recall <= 1 and 0 <= score.f1 <= 1


def test_each_true_line_has_at_most_one_found_line():
    pieces = [box_line(0, 0, 300, 40), box_line(310, 0, 800, 40)]
    assert pair_lines([box_line(0, 0, 800, 40), box_line(0, 100, 800, 140)], [*pieces, box_line(0, 100, 800, 140)]) == {
        0: 0,
        1: 2,
    }


def test_lines_that_agree_on_less_than_half_are_no_pair():
    truth = [box_line(0, 100 * row, 800, 100 * row + 80) for row in range(4)]
    assert pair_lines(truth, [box_line(750, 0, 1200, 80)]) == {}
    assert pair_lines([], truth) == pair_lines(truth, []) == {}


@pytest.mark.parametrize(
    ("order", "errors"),
    [
        ((0, 1, 2, 3), 0),
        ((1, 0, 2, 3), 1),
        ((3, 0, 1, 2), 1),
        ((2, 3, 0, 1), 2),
        ((3, 2, 1, 0), 3),
        ((0, 3), 0),
        ((), 0),
    ],
)
def test_order_errors_are_the_lines_that_must_be_moved(order: tuple[int, ...], errors: int):
    assert count_order_errors(PAGE, [PAGE[index] for index in order]) == errors


def test_lines_that_are_none_are_no_errors_of_order():
    assert count_order_errors(PAGE, [box_line(0, 3000, 800, 3040), *PAGE]) == 0


def test_the_overlap_of_a_page_with_itself_is_full():
    assert mean_iou(PAGE, PAGE, (1000, 1000)) == 1.0


def test_lines_that_are_not_found_overlap_with_nothing():
    assert mean_iou(PAGE, PAGE[:1], (1000, 1000)) == 1 / len(PAGE)


def test_the_overlap_is_intersection_over_union():
    truth = [box_line(0, 0, 399, 99), box_line(0, 200, 399, 299)]
    found = [box_line(0, 50, 399, 99), truth[1]]
    assert mean_iou(truth, found, (1000, 1000)) == pytest.approx((0.5 + 1) / 2, abs=0.01)
