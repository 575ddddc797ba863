import numpy as np
import pytest

from quillread.errors import DataError
from quillread.evaluate.compare import compare
from quillread.evaluate.predictions import Prediction


def predictions(texts, reference="abcdefghij", groups=None):
    groups = groups or [""] * len(texts)
    return [
        Prediction(str(i), group, reference, text, 0.5)
        for i, (text, group) in enumerate(zip(texts, groups, strict=True))
    ]


def compared(baseline, candidate, seed=0):
    return {c.metric: c for c in compare(baseline, candidate, np.random.default_rng(seed))}


def test_a_candidate_with_fewer_edits_everywhere_is_better():
    result = compared(predictions(["abcdefgh"] * 30), predictions(["abcdefghi"] * 30))["cer_spacing"]
    assert (result.baseline, result.candidate, result.verdict) == (0.2, 0.1, "better")
    assert result.ci95 == pytest.approx((-0.1, -0.1))


def test_swapping_the_sides_turns_the_verdict_round():
    result = compared(predictions(["abcdefghi"] * 30), predictions(["abcdefgh"] * 30))["cer_spacing"]
    assert (result.verdict, result.lines_worse) == ("worse", 1.0)


def test_equal_predictions_show_no_difference():
    rows = predictions(["abc", "abcdefghij"])
    result = compared(rows, rows)["wer_spacing"]
    assert (result.difference, result.p_value, result.verdict) == (0, 1, "no clear difference")


def test_differences_that_cancel_out_show_no_difference():
    worse, right = "abcdefghi", "abcdefghij"
    baseline, candidate = predictions([worse, right] * 20), predictions([right, worse] * 20)
    result = compared(baseline, candidate)["cer_spacing"]
    assert result.verdict == "no clear difference"
    assert result.p_value > 0.5


def test_shares_of_lines_better_worse_and_equal():
    result = compared(predictions(["a", "ab", "abc", "x"]), predictions(["abc", "abc", "a", "y"]))["cer_spacing"]
    assert (result.lines_better, result.lines_worse, result.lines_equal) == (0.5, 0.25, 0.25)


def test_one_lucky_group_among_few_is_no_proof():
    groups = ["a"] * 50 + ["b"] * 50
    candidate = predictions(["abcdefghij"] * 50 + ["abcdefgh"] * 50, groups=groups)
    result = compared(predictions(["abcdefgh"] * 100, groups=groups), candidate)["cer_spacing"]
    assert result.verdict == "no clear difference"


def test_the_order_of_rows_does_not_matter():
    baseline, candidate = predictions(["a", "ab", "abc"]), predictions(["ab", "a", "abc"])
    assert compared(baseline, candidate[::-1]) == compared(baseline, candidate)


def test_p_value_is_small_for_a_steady_gain_over_noise():
    rng = np.random.default_rng(3)
    before = ["abcdefghij"[: int(n)] for n in rng.integers(3, 8, size=200)]
    gains = rng.integers(0, 2, size=200)
    after = ["abcdefghij"[: len(text) + int(gain)] for text, gain in zip(before, gains, strict=True)]
    assert compared(predictions(before), predictions(after))["cer_spacing"].p_value < 0.01


def test_other_ids_are_refused_and_counted():
    baseline, candidate = predictions(["a", "b", "c"]), predictions(["a"])
    with pytest.raises(DataError, match=r"2 \(such as '1'\) only in the first, 0 only in the second"):
        compared(baseline, candidate)


def test_other_references_are_refused_and_the_first_is_shown():
    with pytest.raises(DataError, match=r"reference of 2 of 2 lines; first at id '0': 'one' and 'two'"):
        compared(predictions(["a", "b"], reference="one"), predictions(["a", "b"], reference="two"))


def test_other_groups_are_refused():
    with pytest.raises(DataError, match="group of 1 of 2 lines"):
        compared(predictions(["a", "b"], groups=["x", "y"]), predictions(["a", "b"], groups=["x", "x"]))


def test_repeated_ids_are_refused():
    rows = predictions(["a", "b"])
    with pytest.raises(DataError, match="the second set of predictions holds 2 ids more than once"):
        compared(rows, rows + rows)


def test_nothing_to_compare_is_refused():
    with pytest.raises(DataError, match="no predictions"):
        compared([], [])


@pytest.mark.parametrize(
    ("groups", "p_value", "verdict"), [(2, 0.5, "no clear"), (5, 0.0625, "no clear"), (7, 1 / 64, "better")]
)
def test_few_groups_that_differ_alike_prove_nothing(groups: int, p_value: float, verdict: str):
    names = [f"writer {i % groups}" for i in range(70)]
    baseline, candidate = (predictions([text] * 70, groups=names) for text in ("abcdefgh", "abcdefghi"))
    result = compared(baseline, candidate)["cer_spacing"]
    assert result.p_value == pytest.approx(p_value)
    assert result.verdict.startswith(verdict)


@pytest.mark.parametrize("groups", [2, 6, 20])
def test_chance_alone_is_rarely_taken_for_a_difference(groups: int):
    rng = np.random.default_rng(groups)
    names = [f"writer {i % groups}" for i in range(10 * groups)]
    clear = 0
    for _ in range(40):
        texts = ["".join("x" if miss else "a" for miss in rng.random(20) < 0.1) for _ in range(2 * len(names))]
        both = (predictions(part, "a" * 20, names) for part in (texts[: len(names)], texts[len(names) :]))
        result = compare(*both, np.random.default_rng(0), resamples=200)[0]
        clear += result.verdict != "no clear difference"
    assert clear <= 5
