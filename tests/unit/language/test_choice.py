from pathlib import Path

import pytest
from languages import ENGLISH, small_language

from quillread.language.choice import LanguageChoice, Tongue
from quillread.language.scoring import Language, LanguageWeights

FRENCH = ["Il y avait dans la maison une vieille femme qui parlait avec les enfants du village, et le chien."] * 5


@pytest.fixture
def tongues(tmp_path: Path) -> tuple[Tongue, Tongue]:
    made = []
    for name, text in (("en", ENGLISH), ("fr", FRENCH)):
        model = small_language(tmp_path / f"{name}.lm", text)
        made.append(
            Tongue(name, model.characters, model.words, Language(model.characters, model.words, LanguageWeights()))
        )
    return made[0], made[1]


def test_the_likelier_language_is_chosen(tongues):
    choice = LanguageChoice(tongues, (), 1.0)
    assert choice.choose("there was an ald man in the hause") is tongues[0]
    assert choice.choose("une vicille fenme dans la maisan") is tongues[1]


def test_a_text_in_a_rival_language_is_read_without_any(tongues):
    english, french = tongues
    assert LanguageChoice([english], [french.characters], 1.0).choose("une vieille femme dans la maison") is None
    assert LanguageChoice([english], [french.characters], 1.0).choose("an old man and his dog") is english


@pytest.mark.parametrize("text", ["", "  "])
def test_no_text_is_in_no_language(tongues, text):
    assert LanguageChoice(tongues, (), 1.0).choose(text) is None


def test_a_reading_needs_evidence(tongues):
    choice = LanguageChoice(tongues, (), 1.0)
    assert choice.accepts(tongues[0], "there was nobody in the room")
    assert not choice.accepts(tongues[0], "1914 2587 30 11")
