import re
from dataclasses import replace

import pytest
from languages import small_language

from quillread.errors import ConfigError
from quillread.language.spelling import SpellingConfig, SpellingCorrector, Vocabulary
from quillread.types import Alternative, Character, Polygon, Transcript, Word

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@pytest.fixture(scope="module")
def corrector(tmp_path_factory: pytest.TempPathFactory) -> SpellingCorrector:
    words = small_language(tmp_path_factory.mktemp("lm") / "small.lm").words
    return SpellingCorrector([Vocabulary(words, LETTERS, lambda text: "#" not in text)], lexicon={"okonkwo"})


def line(text: str, doubted: str = "") -> Transcript:
    """A line; letters above a ^ are in doubt, and so are their words."""
    marks = doubted.ljust(len(text))
    characters = tuple(
        Character(c, 0.4 if m == "^" else 0.99, 10.0 * i, 10.0 * i + 10)
        for i, (c, m) in enumerate(zip(text, marks, strict=True))
    )
    words = tuple(
        Word(m.group(), 0.3 if "^" in marks[m.start() : m.end()] else 0.95, Polygon(((0, 0), (1, 0), (1, 1))))
        for m in re.finditer("[^ ]+", text)
    )
    return Transcript(text, 0.5, words, characters)


def corrected(corrector: SpellingCorrector, text: str, doubted: str) -> str:
    (read,) = corrector([line(text, doubted)])
    assert "".join(c.text for c in read.characters) == read.text
    assert [w.text for w in read.words] == read.text.split()
    return read.text


@pytest.mark.parametrize(
    ("text", "doubted", "better"),
    [
        ("in the viltage", "          ^", "in the village"),
        ("Viltage", "   ^", "Village"),
        ("the viltage, and", "       ^", "the village, and"),
        ("the villge.", "       ^", "the village."),
        ("the villaage", "         ^", "the village"),
        ("the wiltage", "    ^  ^", "the village"),
    ],
)
def test_a_doubtful_word_becomes_a_known_one_near_it(corrector, text, doubted, better):
    assert corrected(corrector, text, doubted) == better


@pytest.mark.parametrize(
    ("text", "doubted"),
    [
        ("in the viltage", ""),
        ("the viltag\u0303e", "       ^"),
        ("the viltag\u0303", "       ^"),
        ("in the village", "          ^"),
        ("in 1914 we", "    ^"),
        ("vi11age", "  ^"),
        ("said Viltage", "        ^"),
        ("the VILTAGE", "       ^"),
        ("the McViltage", "         ^"),
        ("the Okonkwo", "      ^"),
        ("the okonkwo", "      ^"),
        ("the vilt. of", "       ^"),
        ("the dag", "     ^"),
        ("the qxzvjwk", "      ^"),
        ("# the viltage", "         ^"),
        ("the vil-", "     ^"),
    ],
)
def test_what_is_right_or_no_common_word_stays(corrector, text, doubted):
    assert corrected(corrector, text, doubted) == text


def test_the_parts_of_a_word_at_a_line_end_stay(corrector):
    first, second = corrector([line("the coun-", "       ^"), line("tvy was", "  ^")])
    assert (first.text, second.text) == ("the coun-", "tvy was")


def test_a_change_tells_what_was_there_and_why(corrector):
    (read,) = corrector([line("in the viltage, now", "          ^")])
    (change,) = read.changes
    assert (change.start, change.before, change.after) == (7, "viltage,", "village,")
    assert "not a known word" in change.reason
    assert read.raw_text == "in the viltage, now"


def test_a_line_without_changes_is_as_it_was(corrector):
    before = line("in the village")
    assert corrector([before]) == [before]


def test_characters_of_a_changed_word_share_its_place(corrector):
    (read,) = corrector([line("the villge now", "       ^")])
    assert read.text == "the village now"
    ends = [x for c in read.characters for x in (c.x0, c.x1)]
    assert ends == pytest.approx(sorted(ends))
    assert (read.characters[4].x0, read.characters[10].x1) == (40.0, pytest.approx(100.0))


@pytest.mark.parametrize("values", [{"doubt": 2.0}, {"sure": -1.0}, {"least_letters": 0}, {"lead": -1.0}])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ConfigError):
        SpellingConfig(**values)


def test_a_corrected_text_is_no_other_reading_of_its_line(corrector):
    others = (Alternative("in the village", 0.3), Alternative("on the viltage", 0.1))
    (read,) = corrector([replace(line("in the viltage", "          ^"), alternatives=others)])
    assert (read.text, read.alternatives) == ("in the village", others[1:])
