import numpy as np
import pytest

from quillread.pages.bodies import Body
from quillread.pages.marks import is_small_print

XS = np.arange(20, 580, dtype=np.float32)


def body(height: float) -> Body:
    feet = np.full(len(XS), 60, np.float32)
    return Body(XS, feet - np.float32(height), feet)


def words(shifts: list[int], width: int = 25) -> np.ndarray:
    """Words 8 pixels high, each shifted down from the baseline."""
    own = np.zeros((90, 600), bool)
    for number, shift in enumerate(shifts):
        own[52 + shift : 60 + shift, 22 + 28 * number : 22 + 28 * number + width] = True
    return own


def test_small_words_in_a_straight_row_are_print():
    assert is_small_print(words([0] * 18), body(6), usual=10)


def test_words_that_end_at_different_heights_are_written():
    assert not is_small_print(words([0, 3, -3, 5, 2, -2] * 3), body(6), usual=10)


def test_what_is_as_high_as_the_writing_is_no_small_print():
    assert not is_small_print(words([0] * 18), body(9), usual=10)


def test_letters_that_stand_apart_are_no_small_print():
    assert not is_small_print(words([0] * 18, width=8), body(6), usual=10)


@pytest.mark.parametrize("count", [0, 5])
def test_a_few_words_tell_nothing(count: int):
    assert not is_small_print(words([0] * count), body(6), usual=10)
