import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from languages import small_language

from quillread.errors import ConfigError
from quillread.language.scoring import Language, LanguageWeights, evidence, mean_log_probability


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    return small_language(tmp_path_factory.mktemp("lm") / "small.lm")


def language(model, characters: float = 1.0, words: float = 1.0, length: float = 0.0, lexicon=()) -> Language:
    return Language(model.characters, model.words, LanguageWeights(characters, words, length), lexicon)


@given(text=st.text("thecat don'-,.XÉ12", max_size=30))
def test_a_line_is_worth_what_its_characters_and_its_end_add(model, text):
    scorer = language(model)
    state, total = scorer.start(), 0.0
    for character in text:
        added, state = scorer.extend(state, character)
        total += added
    assert scorer.score(text) == pytest.approx(total + scorer.finish(state))


def test_known_text_is_worth_more_than_a_misreading(model):
    assert language(model).score("the old man and") > language(model).score("the ald man aud")


def test_words_that_are_known_count_more_than_their_spelling(model):
    def gap(scorer: Language) -> float:
        return scorer.score("the house") - scorer.score("the hause")

    assert gap(language(model)) > gap(language(model, words=0.0)) > 0


def test_where_words_count_fully_the_spelling_of_a_known_word_does_not(model):
    word, _ = model.words.score(0, "house", 0.0)
    scorer = language(model)
    state = scorer.start()
    for character in "house":
        _, state = scorer.extend(state, character)
    after, _ = model.characters.step(state.characters, " ")
    assert scorer.score("house") == pytest.approx(word + after)


def test_the_length_adds_for_each_character(model):
    assert language(model, 0.0, 0.0, 0.5).score("abcd") == pytest.approx(2.0)


def test_a_mark_stands_on_a_letter_of_its_word(model):
    scorer = language(model)
    state = scorer.start()
    for character in "the h\u0303ouse\u0303":
        _, state = scorer.extend(state, character)
    assert state.word == "h\u0303ous\u1ebd"
    _, state = scorer.extend(state, " ")
    _, house = model.words.score(0, "house", 0.0)
    assert (state.word, state.before) == ("", house)


def test_a_mark_without_a_word_before_it_begins_none(model):
    scorer = language(model)
    _, state = scorer.extend(scorer.start(), "\u0303")
    assert state.word == ""


def test_words_in_capitals_are_known(model):
    scorer = language(model)
    assert scorer.score("THE HOUSE") > scorer.score("THX HQUSE") + 10


def test_a_name_of_the_lexicon_is_raised_and_others_are_as_before(model):
    plain, raised = language(model), language(model, lexicon={"okonkwo"})
    assert raised.score("the Okonkwo") > plain.score("the Okonkwo")
    assert raised.score("the Okonkwa") == plain.score("the Okonkwa")
    assert raised.score("the house") == plain.score("the house")


def test_evidence_tells_the_language_from_others(model):
    def of(text: str) -> float:
        return evidence(model.characters, text)

    assert of("there was nobody in the house") > 1.0
    for other in ("1914 2587 30 11", "zxqv kjw qqf", "WXYZ KLMQ"):
        assert of(other) < 0.5
    assert of("") == 0.0


def test_the_mean_is_by_character(model):
    one = mean_log_probability(model.characters, "the ")
    many = mean_log_probability(model.characters, "".join(itertools.repeat("the ", 20)))
    assert -3 < many < 0 and -3 < one < 0


@pytest.mark.parametrize("values", [(-1, 0, 0), (0.5, 0.6, 0), (11, 0, 0), (1, 0, 99)])
def test_weights_out_of_range_are_refused(values):
    with pytest.raises(ConfigError):
        LanguageWeights(*values)


def test_the_hyphen_of_a_word_that_is_parted_at_the_end_of_a_line_costs_little(model):
    scorer = language(model)
    state, whole = scorer.start(), 0.0
    for character in "the hou":
        added, state = scorer.extend(state, character)
        whole += added
    hyphen, _ = scorer.extend(state, "-")
    assert hyphen < -4
    assert scorer.score("the hou-") == pytest.approx(whole - 3.5)


def test_a_number_is_not_made_shorter(model):
    scorer = language(model, length=1.3)
    state = scorer.start()
    for character in "in 1":
        _, state = scorer.extend(state, character)
    added, state = scorer.extend(state, "5")
    assert added >= 0
    assert scorer.extend(state, "x")[0] < 0
