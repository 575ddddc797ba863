from pathlib import Path

import numpy as np
import pytest
from languages import BARS, write_language

from quillread.errors import ConfigError, DataError, ModelError
from quillread.language.catalog import (
    SHIPPED_LANGUAGES,
    LanguageConfig,
    LanguageOpener,
    guess_language,
    resolve_language,
    split_weight,
)
from quillread.language.choice import LanguageSettings
from quillread.language.decoder import LanguageDecoder
from quillread.models.catalog import resolve
from quillread.models.model_folder import read_info
from quillread.text.charset import WESTERN_EUROPEAN, Charset

CHARSET = Charset(WESTERN_EUROPEAN)

GREEK = ["το σπίτι του παλιού ανθρώπου ήταν κοντά στο ποτάμι και η πόρτα ήταν ανοιχτή όλη την ημέρα"] * 5
NO_MODEL = LanguageSettings()


def choose(text: str, *names: str, lexicons: tuple[Path, ...] = ()) -> str | None:
    tongue = LanguageOpener(LanguageConfig(names, lexicons), WESTERN_EUROPEAN).choice(NO_MODEL).choose(text)
    return tongue and tongue.name


def test_shipped_models_are_small():
    assert sum(resolve_language(name).stat().st_size for name in SHIPPED_LANGUAGES) <= 8e6


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("wos a faired tosget, and the Porliament agreed to find", "en"),
        ("Il y ovait dans cette maison une vieilhe femme qui", "fr"),
    ],
)
def test_auto_tells_english_from_french_in_spite_of_errors(text: str, language: str):
    assert choose(text, "auto") == language


def test_a_language_is_not_used_on_a_line_in_another():
    assert choose("Il y avait dans cette maison une vieille femme", "en") is None
    assert choose("There was an old woman in this house", "fr") is None
    assert choose("There was an old woman in this house", "en") == "en"


def test_models_are_mixed(tmp_path: Path):
    path = write_language(tmp_path / "parish.lm", language="en")
    assert choose("There was an old woman in this house", "en", f"{path}@2") == "en+parish"


def test_a_model_of_an_unknown_language_has_no_rivals(tmp_path: Path):
    path = write_language(tmp_path / "parish.lm", language="")
    assert choose("Il y avait dans cette maison une vieille femme", str(path)) == "parish"


def test_a_model_of_another_writing_system_is_refused(tmp_path: Path):
    path = write_language(tmp_path / "greek.lm", GREEK)
    with pytest.raises(ModelError, match="is of another writing system") as caught:
        choose("text", str(path))
    assert caught.value.hint


def test_a_model_is_refused_by_a_recogniser_of_few_letters(tmp_path: Path):
    path = write_language(tmp_path / "bars.lm", BARS)
    LanguageOpener(LanguageConfig((str(path),)), "abcde .")
    with pytest.raises(ModelError, match="another writing system"):
        LanguageOpener(LanguageConfig(("en",)), "abcde .")


@pytest.mark.parametrize("name", ["eng", "de", "nowhere/x.lm"])
def test_an_unknown_model_is_named(name: str):
    with pytest.raises(ModelError, match=f"unknown language model '{name}'"):
        choose("text", name)


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:-100] + bytes(100), lambda b: b"text"])
def test_a_damaged_file_is_refused(tmp_path: Path, damage):
    path = write_language(tmp_path / "x.lm")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelError, match=r"x\.lm"):
        choose("text", str(path))


def test_auto_stands_alone():
    with pytest.raises(ConfigError, match="cannot be mixed"):
        LanguageConfig(("auto", "en"))


def test_a_weight_stands_behind_an_at_sign(tmp_path: Path):
    (tmp_path / "a@2").touch()
    assert split_weight("en") == ("en", 1.0)
    assert split_weight("my.lm@0.5") == ("my.lm", 0.5)
    assert split_weight(str(tmp_path / "a@2")) == (str(tmp_path / "a@2"), 1.0)
    for wrong in ("en@", "en@x", "en@0", "en@-1", "en@nan"):
        with pytest.raises(ConfigError, match="above 0"):
            split_weight(wrong)


def test_a_lexicon_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"none\.txt"):
        choose("text", "en", lexicons=(tmp_path / "none.txt",))


def test_the_language_of_a_text_is_guessed():
    assert guess_language(["There was an old woman who lived in a house by the river with her children."]) == "en"
    assert guess_language(["Il y avait une vieille femme qui demeurait avec ses enfants près de la rivière."]) == "fr"
    assert guess_language(GREEK) == ""
    assert guess_language(["1914 2587 30 11 4.50"]) == ""


def columns(text: str, rng: np.random.Generator, sure: float = 0.8) -> np.ndarray:
    """Columns of a network that reads a text rightly and is in some doubt about each letter."""
    probs = np.full((2 * len(text), len(CHARSET)), 1e-6, np.float32)
    probs[1::2, 0] = 1.0
    for i, character in enumerate(text):
        probs[2 * i, CHARSET.encode(character)[0]] += sure
        probs[2 * i, CHARSET.encode(rng.choice(list("aeinortlsuc1370")))[0]] += 1 - sure
    return np.log(probs / probs.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("language", ["auto", "en", "fr"])
@pytest.mark.parametrize(
    "text",
    [
        "1914 2587 30 11 1.50 7,25",
        "Harold Wilson, Hugh Gaitskell, Aneurin Bevan",
        "THE MINISTRY OF DEFENCE SAID",
        "Dr. Nkrumah of Accra, Mr. Kaunda",
        "No. 27-31 Grosvenor Sq. W.1",
        "Die alte Frau ging mit dem Hund in den Wald",
    ],
    ids=["digits", "names", "capitals", "foreign names", "address", "German"],
)
def test_what_is_rightly_read_is_not_made_a_word_of_the_language(text: str, language: str):
    opener = LanguageOpener(LanguageConfig((language,)), WESTERN_EUROPEAN)
    info = read_info(resolve("builtin"))
    decoder = LanguageDecoder(CHARSET, opener.choice(info.language), info.language.beam)
    assert decoder([columns(text, np.random.default_rng(0))]).text == text
