import pytest
from hypothesis import given
from hypothesis import strategies as st

from quillread.text.normalise import letter_of, line_text, nfc, scoring_form, scoring_words


def test_nfc_composes_letters_and_keeps_compatibility_characters():
    assert nfc("e\u0301 ﬁ") == "é ﬁ"


@pytest.mark.parametrize(("form", "letter"), [("ſ", "s"), ("ā", "a"), ("ß", "ß"), ("x", "x")])
def test_a_form_of_a_letter_is_that_letter(form: str, letter: str):
    assert letter_of(form) == letter


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("a\u00a0b\u202fc\u3000d\te", "a b c d e"),
        ("two\r\nrows\n", "two rows"),
        ("\ufeffwa\u200bter\u200e", "water"),
        ("in\u00adside and broken\u00ad\n", "inside and broken-"),
        ("recon-\u00ad", "recon-"),
        ("\u00ad\u00ad", "-"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("e\u0301", "é"),
        ("a  b", "a  b"),
    ],
)
def test_line_text_has_plain_spaces_in_one_row_and_nothing_unwritten(text, form):
    assert line_text(text) == form
    assert line_text(form) == form


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("“Yes” ‘no’ ‚x‛ „y‟", "\"Yes\"'no''x'\"y\""),
        ("a – b — c ‐ d − e ― f", "a-b-c-d-e-f"),
        ("  two \t\n words\u00a0here ", "two words here"),
        ("he said : “ come , now ! ”", 'he said:"come,now!"'),
        ("ﬁne Ｆ ½", "fine F 1/2"),
        ("2½ ¾ 3⁄4", "2 1/2 3/4 3/4"),
        ("", ""),
        (" . ", "."),
    ],
)
def test_scoring_form_makes_typography_and_spacing_plain(text, form):
    assert scoring_form(text) == form


@pytest.mark.parametrize("text", ["cost £ 5", "a + b", "x = y", "5 $", "a | b"])
def test_scoring_form_keeps_the_space_beside_symbols(text):
    assert scoring_form(text) == text


@pytest.mark.parametrize("text", ["l´eau", "a¨ b", "x ¸", "o˜", "e\u1fbdn", "¨\u0301"])
def test_scoring_form_keeps_accents_that_stand_by_themselves(text):
    assert scoring_form(text) == nfc(text)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("wa\u200bter", "water"),
        ("\ufeffstart", "start"),
        ("mi\u200dx\u200e", "mix"),
        ("in\u00adside", "inside"),
        ("broken\u00ad", "broken-"),
        ("broken\u00ad\nline", "broken-line"),
        ("☎\ufe0f", "☎"),
    ],
)
def test_scoring_form_drops_what_cannot_be_seen(text, form):
    assert scoring_form(text) == form


def test_scoring_form_keeps_upper_and_lower_case():
    assert scoring_form("Ab aB") == "Ab aB"


@given(st.text())
def test_scoring_form_twice_is_scoring_form_once(text):
    assert scoring_form(scoring_form(text)) == scoring_form(text)


@given(st.text(alphabet="ab .,;'-“”", max_size=12))
def test_scoring_form_ignores_space_around_every_full_stop(text):
    assert scoring_form(text.replace(".", " . ")) == scoring_form(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Mr. Smith, well-known", ["Mr", ".", "Smith", ",", "well-known"]),
        ("don’t stop", ["don't", "stop"]),
        ("the boys' 1914-18 war", ["the", "boys'1914-18", "war"]),
        ("'quoted'", ["'", "quoted", "'"]),
        ("a--b", ["a", "-", "-", "b"]),
        ("wait...", ["wait", ".", ".", "."]),
        ("£5 (five)", ["£5", "(", "five", ")"]),
        ("q\u0303-b", ["q\u0303-b"]),
        ("", []),
    ],
)
def test_scoring_words_parts_punctuation_except_inner_apostrophes_and_hyphens(text, words):
    assert scoring_words(text) == words


@given(st.text())
def test_scoring_words_hold_every_character_but_spaces(text):
    assert "".join(scoring_words(text)) == scoring_form(text).replace(" ", "")
