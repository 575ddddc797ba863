import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quillread.decode.tokens import InkSpan, keep_repeats, keep_tail

WIDTH = 18.0
"""Pixels that a character takes."""


def pieces_of(text: str) -> list[str]:
    """Cut as byte-level BPE does: words with the space before them, single signs."""
    return re.findall(r" ?\w{1,4}| ?[^\w ]| ", text)


def gaze(texts: list[str]) -> np.ndarray:
    """Where a decoder looks that reads every piece off the ink."""
    ends = np.cumsum([len(text) for text in texts]) * WIDTH
    return 10 + ends - np.array([len(text) for text in texts]) * WIDTH / 2


def ink_of(texts: list[str]) -> InkSpan:
    return InkSpan(10.0, 10 + sum(len(text) for text in texts) * WIDTH, 55.0)


GOOD = [
    "banana",
    "......",
    "haha haha",
    "ha ha ha ha ha ha",
    "hahahahahaha",
    "Contents . . . . . . . . . . . 12",
    "Contents ................. 12",
    "Total -----------------------",
    "1000000",
    "3,000,000,000,000",
    "no no no no no no no no",
    "the cat sat on the mat and the cat sat on the mat",
    "MMMMMMMDCCCLXXXVIII",
    "zzzzzzzzz",
    "a",
    "",
    "une ligne toute simple, avec sa fin.",
]


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("text", GOOD)
def test_a_line_that_is_read_off_the_ink_is_never_cut_as_a_repeat(text: str, ended: bool):
    texts = pieces_of(text)
    assert keep_repeats(texts, gaze(texts), ink_of(texts), ended) == len(texts)


@pytest.mark.parametrize("text", GOOD)
def test_a_line_that_is_read_off_the_ink_is_never_cut_as_a_tail(text: str):
    texts = pieces_of(text)
    assert keep_tail(texts, gaze(texts), ink_of(texts)) == len(texts)


@given(st.text(st.sampled_from("abc d.e"), min_size=1, max_size=60), st.integers(0, 2**32 - 1), st.floats(0, 2 * WIDTH))
def test_a_shaky_gaze_does_not_cut_a_good_line(text: str, seed: int, shake: float):
    texts = pieces_of(text)
    places = gaze(texts) + np.random.default_rng(seed).uniform(-shake, shake, len(texts))
    ink = ink_of(texts)
    assert keep_tail(texts, places.clip(ink.start, ink.stop), ink) == len(texts)


@given(st.sampled_from(GOOD), st.integers(0, 2**32 - 1), st.floats(0, 2 * WIDTH))
def test_a_shaky_gaze_does_not_make_an_endless_repeat(text: str, seed: int, shake: float):
    texts = pieces_of(text)
    places = gaze(texts) + np.random.default_rng(seed).uniform(-shake, shake, len(texts))
    assert keep_repeats(texts, places, ink_of(texts), ended=True) == len(texts)


@pytest.mark.parametrize("at", range(9))
def test_one_slip_of_the_gaze_does_not_cut_a_good_line(at: int):
    texts = pieces_of("a line that says one or two things")
    places = gaze(texts)
    places[at] = ink_of(texts).stop - 1
    assert keep_tail(texts, places, ink_of(texts)) == len(texts)


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("unit", [" the", " of the", "ha", " it was a"])
def test_a_repeat_that_the_decoder_does_not_look_at_is_cut_to_one_copy(unit: str, ended: bool):
    start, copy = pieces_of("they came to see"), pieces_of(unit)
    texts = start + 20 * copy
    last = 10 + sum(len(text) for text in start + copy) * WIDTH
    places = np.concatenate([gaze(start), np.full(len(texts) - len(start), last)])
    assert keep_repeats(texts, places, ink_of(start + copy), ended) == len(start + copy)


def test_as_many_copies_stay_as_the_gaze_had_room_for():
    start = pieces_of("he laughed")
    read = [*start, *[" ha"] * 3]
    texts = [*read, *[" ha"] * 30]
    places = np.concatenate([gaze(read), np.full(30, gaze(read)[-1])])
    assert keep_repeats(texts, places, ink_of(read), False) in (len(read) - 1, len(read))


def test_a_line_of_nothing_but_a_repeat_is_cut():
    texts = ["the", *[" the"] * 60]
    assert keep_repeats(texts, np.linspace(20, 60, 61), InkSpan(10.0, 80.0, 55.0), False) < 5


@pytest.mark.parametrize("sign", [".", "-", "0", " ."])
def test_signs_that_the_decoder_could_not_stop_writing_are_cut(sign: str):
    start = pieces_of("see page")
    texts = [*start, *[sign] * 60]
    places = np.concatenate([gaze(start), np.full(60, gaze(start)[-1] + 9)])
    assert keep_repeats(texts, places, ink_of(start), ended=False) < len(start) + 3


def test_signs_that_the_decoder_stopped_writing_by_itself_stay():
    start = pieces_of("see page")
    texts = [*start, *["."] * 20]
    places = np.concatenate([gaze(start), np.full(20, gaze(start)[-1] + 9)])
    assert keep_repeats(texts, places, ink_of(start), ended=True) == len(texts)


def test_a_tail_that_is_written_while_looking_at_the_end_is_cut():
    read, invented = pieces_of("on the table"), pieces_of(" of the house of the king of France")
    texts = read + invented
    places = np.concatenate([gaze(read), np.full(len(invented), gaze(read)[-1])])
    assert keep_tail(texts, places, ink_of(read)) == len(read)


def test_a_line_that_is_read_twice_is_cut_where_the_gaze_jumps_back():
    read = pieces_of("they came to see us")
    assert keep_tail(read + read, np.concatenate([gaze(read), gaze(read)]), ink_of(read)) == len(read)


@given(st.integers(0, 2**32 - 1))
def test_a_gaze_that_wanders_does_not_cut_a_text_that_the_ink_has_room_for(seed: int):
    texts = pieces_of("should still have a powerful appeal for young")
    ink = ink_of(texts)
    places = np.random.default_rng(seed).uniform(ink.start, ink.stop, len(texts))
    places[-len(texts) // 2 :] = ink.stop
    assert keep_tail(texts, places, ink) == len(texts)


def test_a_few_characters_too_many_stay():
    read, more = pieces_of("on the table"), [".", "."]
    places = np.concatenate([gaze(read), np.full(2, gaze(read)[-1])])
    assert keep_tail(read + more, places, ink_of(read)) == len(read + more)


def test_a_tail_without_a_place_on_the_ink_stays_if_the_ink_has_room_for_it():
    texts = pieces_of("written small and close together")
    places = np.minimum(gaze(texts), 200.0)
    assert keep_tail(texts, places, InkSpan(10.0, 900.0, 55.0)) == len(texts)
