from collections import Counter

import pytest

from quillread.data.check import CtcLimits, TokenLimits
from quillread.decode.ctc import columns_needed
from quillread.text.charset import Charset


class Letters:
    """A `Speller` with a token for each character."""

    max_length = 5

    def unknown(self, text):
        return Counter(text) - Counter("abcdefgh")

    def length(self, text):
        return len(text) + 1


CTC = CtcLimits(Charset("abcdefgh"), columns=10)
TOKENS = TokenLimits(Letters())


@pytest.mark.parametrize(("text", "columns"), [("", 0), ("abc", 3), ("hello", 6), ("aaa", 5)])
def test_equal_neighbours_need_a_column_more(text, columns):
    assert columns_needed(text) == columns


@pytest.mark.parametrize(("aspect", "misfit"), [(0.4, None), (0.39, ("too_narrow", "3 columns, needs 4"))])
def test_ctc_needs_a_column_for_each_character(aspect, misfit):
    assert CTC.misfit("abcd", aspect) == misfit


@pytest.mark.parametrize(("text", "misfit"), [("abcd", None), ("abcde", ("too_long", "6 tokens, at most 5"))])
def test_tokens_are_limited_in_number(text, misfit):
    assert TOKENS.misfit(text, 0.1) == misfit


@pytest.mark.parametrize("limits", [CTC, TOKENS])
def test_unknown_characters_are_counted(limits):
    assert limits.unknown("abxyx") == {"x": 2, "y": 1}
