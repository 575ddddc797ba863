import string
from pathlib import Path

import numpy as np
import pytest
from fakes import write_font
from hypothesis import given, settings
from hypothesis import strategies as st

from quillread.data.fonts import FontLineConfig, FontSource, accent_letters, write_symbols
from quillread.errors import DataError
from quillread.text.charset import WESTERN_EUROPEAN

PLAIN = string.ascii_lowercase + " "
WORDS_ONLY = FontLineConfig(words=(1, 3), accents=0, symbols=0, lines=40)


def make(tmp_path: Path, text: str, config: FontLineConfig = WORDS_ONLY, **fonts: str) -> FontSource:
    for name, characters in fonts.items():
        write_font(tmp_path / "fonts" / f"{name}.ttf", characters)
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    return FontSource(tmp_path / "fonts", [tmp_path / "text.txt"], config)


def groups(source: FontSource, character: str) -> set[str]:
    """Fonts of the lines that hold a character."""
    rng = np.random.default_rng(0)
    samples = (source.sample(i, rng) for i in range(len(source)))
    return {sample.group for sample in samples if character in sample.text}


def test_a_line_with_a_character_that_a_font_lacks_is_written_in_another(tmp_path: Path):
    source = make(tmp_path, "un été sans fin et un hiver", plain=PLAIN, french=PLAIN + "é")
    assert groups(source, "é") == {"french"}
    assert groups(source, "n") == {"plain", "french"}


def test_a_text_is_redrawn_if_no_font_can_write_it(tmp_path: Path):
    source = make(tmp_path, "un été sans fin et un hiver", plain=PLAIN)
    assert all("é" not in source.text(i) for i in range(len(source)))


def test_a_glyph_without_outline_counts_as_lacking(tmp_path: Path):
    write_font(tmp_path / "fonts" / "hollow.ttf", PLAIN + "-", empty="-")
    source = make(tmp_path, "to-day is a day", full=PLAIN + "-")
    assert groups(source, "-") == {"full"}


def test_texts_that_no_font_can_write_are_an_error(tmp_path: Path):
    source = make(tmp_path, "ÀÉÎ", plain=PLAIN)
    with pytest.raises(DataError, match="no font has the characters"):
        source.text(0)


def test_characters_outside_the_charset_are_never_written(tmp_path: Path):
    source = make(tmp_path, "yes да yes", all=WESTERN_EUROPEAN + "да")
    assert all(set(source.text(i)) <= set(WESTERN_EUROPEAN) for i in range(len(source)))


def test_a_line_always_has_the_same_text(tmp_path: Path):
    first, second = (make(tmp_path, "one two three four five", plain=PLAIN) for _ in range(2))
    assert [first.text(i) for i in range(40)] == [second.text(i) for i in range(40)]


def test_the_same_seed_draws_the_same_image(tmp_path: Path):
    source = make(tmp_path, "one two three", plain=PLAIN)
    first, second = (source.sample(2, np.random.default_rng(8)).image for _ in range(2))
    assert np.array_equal(first, second)


def test_a_line_is_dark_ink_on_bright_paper(tmp_path: Path):
    sample = make(tmp_path, "one two three", plain=PLAIN).sample(0, np.random.default_rng(1))
    assert sample.image.dtype == np.uint8
    assert sample.image.shape[2] == 3
    assert sample.image.max() >= 150
    assert sample.image.min() <= sample.image.max() - 50


def test_lines_hold_the_words_asked_for(tmp_path: Path):
    source = make(tmp_path, "one two three four five six", plain=PLAIN)
    counts = {len(source.text(i).split()) for i in range(len(source))}
    assert counts == {1, 2, 3}


def test_a_folder_without_fonts_is_an_error(tmp_path: Path):
    (tmp_path / "fonts").mkdir()
    with pytest.raises(DataError, match="holds no usable fonts"):
        make(tmp_path, "text")


def test_a_font_of_extended_letters_only_is_not_used(tmp_path: Path):
    with pytest.raises(DataError, match="holds no usable fonts"):
        make(tmp_path, "text", extended="éèê ")


@pytest.mark.parametrize("kept", [0, 4, 100, 700])
def test_a_font_that_is_cut_off_is_named(tmp_path: Path, kept: int):
    path = write_font(tmp_path / "fonts" / "broken.ttf", PLAIN)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"broken\.ttf: is not a font"):
        make(tmp_path, "text")


def test_a_source_without_text_says_how_to_name_one(tmp_path: Path):
    write_font(tmp_path / "plain.ttf", PLAIN)
    with pytest.raises(DataError, match="has no text") as caught:
        FontSource(tmp_path, [])
    assert "?text=FILE" in str(caught.value)


@pytest.mark.parametrize(("content", "message"), [(b" \n", "holds no words"), (b"\xff\xfe", "UTF-8")])
def test_a_text_of_another_form_is_an_error(tmp_path: Path, content: bytes, message: str):
    write_font(tmp_path / "plain.ttf", PLAIN)
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        FontSource(tmp_path, [tmp_path / "text.txt"])


@given(st.integers(0, 2**32))
@settings(max_examples=50)
def test_symbols_are_within_the_charset(seed: int):
    text = write_symbols(np.random.default_rng(seed))
    assert text.strip()
    assert set(text) <= set(WESTERN_EUROPEAN)


def test_accents_keep_the_length_and_change_some_letters():
    text = "the quick brown fox jumps over the lazy dog"
    accented = accent_letters(text, np.random.default_rng(0))
    assert len(accented) == len(text)
    assert 1 <= sum(a != b for a, b in zip(accented, text, strict=True)) <= 20
    assert set(accented) <= set(WESTERN_EUROPEAN)
