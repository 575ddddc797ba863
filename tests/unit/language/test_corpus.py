from pathlib import Path

import pytest

from quillread.errors import DataError
from quillread.language.build import read_corpus


def test_paragraphs_of_all_files_are_read(tmp_path: Path):
    (tmp_path / "a.txt").write_text("\ufeffOne.\n\n  Two. \n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("Three.", encoding="utf-8")
    assert read_corpus([tmp_path / "a.txt", tmp_path / "b.txt"]).paragraphs == ["One.", "Two.", "Three."]


def test_paragraphs_that_were_decoded_wrongly_are_dropped(tmp_path: Path):
    wrong = "he said—no".encode().decode("latin-1")
    (tmp_path / "a.txt").write_text(f"Right.\n{wrong}\n", encoding="utf-8")
    corpus = read_corpus([tmp_path / "a.txt"])
    assert (corpus.paragraphs, corpus.dropped) == (["Right."], 1)


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xff\xfeab"], ids=["empty", "blank", "not UTF-8"])
def test_a_file_without_text_is_refused_by_name(tmp_path: Path, content: bytes):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.txt"):
        read_corpus([tmp_path / "a.txt"])
