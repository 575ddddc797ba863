import math
from collections import Counter

import pytest

from quillread.language.words import WordModel, build_words, clauses, count_words


def model(*texts: str, least: int = 1, pairs: int = 1) -> WordModel:
    return WordModel(build_words(*count_words(texts), least, pairs))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The cat, the dog.", [["the", "cat", "the", "dog"]]),
        ("Go! The end", [["go"], ["the", "end"]]),
        ("l'homme est grand-père", [["l", "homme", "est", "grand", "père"]]),
        ("in 1914 we", [["in"], ["we"]]),
        ("3,50 §", []),
        ("cap\u0303n, p\u0303 \u0303a", [["cap\u0303n", "p\u0303"], ["a"]]),
    ],
)
def test_words_are_letters_and_clauses_end_at_other_marks(text, found):
    assert list(clauses(text)) == found


def test_a_pair_is_likelier_than_its_words_alone():
    words = model("the cat sat on the mat. the cat ran. a dog ran. a dog sat.")
    _, the = words.score(0, "the", 0.0)
    assert words.score(the, "cat", 0.0)[0] > words.score(0, "cat", 0.0)[0]


def test_what_follows_a_word_adds_up_to_1_but_for_rounding():
    words = model("the cat sat on the mat. the cat ran. a dog ran. a dog sat on the cat")
    _, the = words.score(0, "the", 0.0)
    every = [math.exp(words.score(the, word, 0.0)[0]) for word in (*words.words, "unknown")]
    assert sum(every) == pytest.approx(1, abs=0.1)


def test_an_unknown_word_is_spelled():
    words = model("the cat sat on the mat")
    first, number = words.score(0, "xyz", -10.0)
    second, _ = words.score(0, "xyz", -12.5)
    assert number == 0
    assert first - second == pytest.approx(2.5)


def test_rare_words_are_unknown():
    assert model("the the the cat", least=2).words == ("the",)


def test_more_words_than_two_bytes_can_number_are_cut_to_the_most_frequent():
    counts = Counter({f"w{chr(97 + i % 26)}{i}": 2 for i in range(66_000)}) | Counter({"the": 99})
    table = build_words(counts, Counter())
    assert len(table.words) == 65_535
    assert table.words[0] == "the"


def test_the_share_of_unknown_words():
    words = model("the cat sat")
    assert words.unknown_share("the dog sat, 12") == pytest.approx(1 / 3)
    assert words.unknown_share("12") == 0.0


def test_letters_of_no_known_word_count_as_those_that_they_are_forms_of():
    model = WordModel(build_words(Counter({"conserve": 9, "\u00e9t\u00e9": 9, "ete": 5}), Counter()))
    assert "con\u017ferve" in model
    assert model.score(0, "con\u017ferve", -30.0) == model.score(0, "conserve", -30.0)
    assert "con\u017fervep\u0303" not in model and "conserv\u0113" in model
    assert "\u00e8te" not in WordModel(build_words(Counter({"\u00e8re": 9, "ete": 9}), Counter()))  # a letter it knows
