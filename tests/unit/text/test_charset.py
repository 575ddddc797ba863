import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quillread.errors import ConfigError
from quillread.text.charset import BLANK, WESTERN_EUROPEAN, Charset


def test_classes_start_after_the_blank():
    assert Charset("ab").encode("bab") == [2, 1, 2]
    assert BLANK == 0


def test_the_size_counts_the_blank():
    assert len(Charset("ab")) == 3


@given(st.text(WESTERN_EUROPEAN))
def test_decode_inverts_encode(text: str):
    charset = Charset(WESTERN_EUROPEAN)
    assert charset.decode(charset.encode(text)) == text


def test_a_character_outside_is_named():
    with pytest.raises(ConfigError, match=r"'z' of 'buzz'"):
        Charset("bu").encode("buzz")


def test_unknown_characters_are_counted():
    assert Charset("bu").unknown("buzz!") == Counter({"z": 2, "!": 1})


def test_a_character_given_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        Charset("aba")


def test_the_western_charset_is_composed_and_without_doubles():
    assert len(set(WESTERN_EUROPEAN)) == len(WESTERN_EUROPEAN)
    assert unicodedata.normalize("NFC", WESTERN_EUROPEAN) == WESTERN_EUROPEAN


@pytest.mark.parametrize("text", ["Fußgänger", "garçon, où ça ?", "¿Qué? ¡Sí!", "Ærø", "þögn", "l’œuvre", "£5 – 3½ €"])
def test_the_western_charset_writes(text: str):
    assert not Charset(WESTERN_EUROPEAN).unknown(text)
