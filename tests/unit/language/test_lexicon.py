import tracemalloc
from pathlib import Path

import pytest

from quillread.errors import DataError
from quillread.language.spelling import Lexicon, read_lexicon


def test_words_are_found_in_lower_case_one_by_one(tmp_path: Path):
    (tmp_path / "names.txt").write_text("\ufeffVon Droste-Hülshoff\nO'Neill\n\n1234\n", encoding="utf-8")
    lexicon = read_lexicon([tmp_path / "names.txt"])
    assert all(word in lexicon for word in ("von", "droste", "hülshoff", "o", "neill"))
    assert "Von" not in lexicon and "1234" not in lexicon
    assert len(lexicon) == 5


def test_a_word_with_marks_is_one_word(tmp_path: Path):
    (tmp_path / "names.txt").write_text("Cap\u0303n p\u0303", encoding="utf-8")
    lexicon = read_lexicon([tmp_path / "names.txt"])
    assert "cap\u0303n" in lexicon and "p\u0303" in lexicon and len(lexicon) == 2


@pytest.mark.slow
def test_two_million_names_take_little_memory():
    tracemalloc.start()
    lexicon = Lexicon(f"name{i}" for i in range(2_000_000))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(lexicon) == 2_000_000
    assert "name1999999" in lexicon and "name2000000" not in lexicon
    assert kept < 20e6


@pytest.mark.parametrize("content", [b"", b"12 34\n", b"\xff\xfe\x00"], ids=["empty", "no words", "not UTF-8"])
def test_a_list_without_words_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(DataError):
        read_lexicon([tmp_path / "names.txt"])


def test_a_missing_list_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"none\.txt"):
        read_lexicon([tmp_path / "none.txt"])


def test_decomposed_letters_are_the_same_letters(tmp_path: Path):
    (tmp_path / "names.txt").write_text("Mu\u0308ller\n", encoding="utf-8")
    assert "müller" in read_lexicon([tmp_path / "names.txt"])
