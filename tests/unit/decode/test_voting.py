import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quillread.decode.voting import vote
from quillread.types import Alternative, Change, Character, Polygon, Transcript, Word


def reading(text: str, confidence: float = 0.8, line: float = 0.5) -> Transcript:
    characters = tuple(Character(c, confidence, 10.0 * i, 10.0 * i + 10) for i, c in enumerate(text))
    words = tuple(
        Word(m.group(), confidence, Polygon(((10.0 * m.start(), 0.0), (10.0 * m.end(), 0.0), (10.0 * m.end(), 48.0))))
        for m in re.finditer("[^ ]+", text)
    )
    return Transcript(text, line, words, characters, expected_error=0.1)


@pytest.mark.parametrize(
    ("texts", "voted"),
    [
        (["the cat", "the cut", "the cat"], "the cat"),
        (["the cut", "the cat", "the cat"], "the cat"),
        (["the ct", "the cat", "the cat"], "the cat"),
        (["the caat", "the cat", "the cat"], "the cat"),
        (["thecat", "the cat", "the cat"], "the cat"),
        (["a", "b"], "a"),
        (["", "abc", "abc"], "abc"),
        (["abc", "", ""], ""),
        (["abc", "xabc", "xabc"], "xabc"),
    ],
)
def test_what_most_readings_have_is_taken(texts: list[str], voted: str):
    result = vote([reading(text) for text in texts])
    assert result.text == voted
    assert "".join(c.text for c in result.characters) == voted
    assert [w.text for w in result.words] == voted.split()


def test_a_sure_reading_outvotes_two_unsure_ones():
    assert vote([reading("cut", 0.3), reading("cat", 0.9), reading("cut", 0.3)]).text == "cat"


def test_a_letter_and_a_mark_of_two_readings_become_one_character():
    result = vote([reading("abn"), reading("abn\u0303", 0.9), reading("abn\u0303", 0.9)])
    assert result.text == "abñ"
    assert [c.text for c in result.characters] == ["a", "b", "ñ"]


texts = st.text("ab c", max_size=12).map(str.strip)


@given(st.lists(texts, min_size=1, max_size=4))
def test_a_voted_reading_is_whole_and_in_order(several: list[str]):
    result = vote([reading(text) for text in several])
    assert "".join(c.text for c in result.characters) == result.text == result.text.strip()
    assert [w.text for w in result.words] == re.findall("[^ ]+", result.text)
    ends = [x for c in result.characters for x in (c.x0, c.x1)]
    assert ends == sorted(ends)
    assert 0 <= result.confidence <= 1 and all(0 <= w.confidence <= 1 for w in result.words)


def test_one_reading_is_itself():
    assert vote([reading("the cat")]) == reading("the cat")


def test_confidences_are_means_over_the_readings():
    result = vote([reading("the cat", 0.8, 0.6), reading("the cat", 0.6, 0.4), reading("the cut", 0.1, 0.3)])
    assert result.confidence == pytest.approx((0.6 + 0.4) / 3)
    assert [w.confidence for w in result.words] == pytest.approx([(0.8 + 0.6 + 0.1) / 3, (0.8 + 0.6) / 3])


def test_more_errors_are_expected_where_readings_differ():
    agreed, torn = vote([reading("the cat")] * 3), vote([reading("the cat"), reading("tha dog"), reading("thx cow")])
    assert torn.expected_error > agreed.expected_error


def test_a_correction_that_was_outvoted_is_not_told():
    corrected = replace(
        reading("the village"), raw_text="the viltage", changes=(Change(4, "viltage", "village", "unknown"),)
    )
    outvoted = vote([corrected, reading("the pillage"), reading("the pillage")])
    assert (outvoted.text, outvoted.changes, outvoted.raw_text) == ("the pillage", (), None)
    kept = vote([corrected, reading("the village"), reading("the village")])
    assert (kept.changes, kept.raw_text) == (corrected.changes, "the viltage")


def box(word: Word) -> tuple[float, float, float, float]:
    bounds = word.polygon.bounds
    return bounds.x0, bounds.y0, bounds.x1, bounds.y1


@pytest.mark.parametrize(
    "texts",
    [
        ["", "ab cd", "ab cd"],  # the first one saw nothing
        ["the man", "the man who", "the man who"],
        ["the xan", "the man who", "the zan who", "the man why"],  # none has all of it
        ["the who", "the man who", "the man who"],
    ],
)
def test_words_that_the_first_reading_lacks_stand_where_others_saw_them(texts: list[str]):
    readings = [reading(text) for text in texts]
    voted, seen = vote(readings), readings[1]
    assert [box(word)[::2] for word in voted.words] == [box(word)[::2] for word in seen.words]
    assert all(box(word)[3] > box(word)[1] for word in voted.words)


@given(st.lists(texts, min_size=2, max_size=4))
def test_words_that_were_read_take_room(several: list[str]):
    moved = [
        replace(r, characters=tuple(replace(c, x0=c.x0 + 3 * i, x1=c.x1 + 3 * i) for c in r.characters))
        for i, r in enumerate(map(reading, several))
    ]
    result = vote(moved)
    assert all(c.x0 >= 0 and c.x1 <= 130 for c in result.characters)
    ends = [x for c in result.characters for x in (c.x0, c.x1)]
    assert ends == sorted(ends)


def test_other_readings_are_those_of_all_the_surest_first():
    first = replace(
        reading("the cat", line=0.6), alternatives=(Alternative("the cut", 0.1), Alternative("a cat", 0.05))
    )
    second = replace(reading("the cut", line=0.4), alternatives=(Alternative("the cat", 0.3),))
    voted = vote([first, first, second])
    assert voted.text == "the cat"
    assert [(a.text, a.confidence) for a in voted.alternatives] == [
        ("the cut", pytest.approx((0.1 + 0.1 + 0.4) / 3)),
        ("a cat", pytest.approx(0.1 / 3)),
    ]
    assert vote([reading("the cat"), reading("the cat"), reading("the cut")]).alternatives == ()  # none were asked for


def test_a_line_that_most_read_as_empty_is_as_doubtful_as_its_confidence_says():
    nothing = replace(reading("", line=0.2), expected_error=0.8)
    assert vote([nothing, nothing, reading("abc", 0.1, 0.1)]).expected_error == pytest.approx(1 - 0.4 / 3)
