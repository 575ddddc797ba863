import doctest
import inspect
from pathlib import Path

import numpy as np
import pytest
from fakes import png
from PIL import Image

import quillread.testing
from quillread.errors import UsageError
from quillread.reader import Reader
from quillread.testing import FakeReader

PAGE = np.full((400, 300, 3), 255, np.uint8)
PUBLIC = [name for name in vars(Reader) if not name.startswith("_")]


def test_its_example_runs():
    assert doctest.testmod(quillread.testing) == (0, 4)


@pytest.mark.parametrize("name", PUBLIC)
def test_it_is_called_as_a_reader_is(name: str):
    real, fake = getattr(Reader, name), getattr(FakeReader, name)
    assert callable(fake) is callable(real)
    if callable(real):
        assert inspect.signature(fake) == inspect.signature(real)


def test_a_reader_has_the_methods_that_are_compared():
    assert {"read", "read_page", "read_lines", "stream", "close", "provenance"} <= set(PUBLIC)


def test_pages_have_the_texts_in_turn():
    texts = ["Dear Sir,\nI am, yours", "", "The end."]
    reader = FakeReader(texts)
    assert [reader.read(PAGE).text for _ in range(4)] == [*texts, texts[0]]


def test_lines_share_out_the_page_and_words_lie_in_them():
    page = FakeReader(["Dear Sir,\nI am, yours"]).read_page(PAGE)
    assert [line.polygon.bounds.y1 for line in page.lines] == [200, 400]
    for line in page.lines:
        assert line.transcript is not None
        assert " ".join(word.text for word in line.transcript.words) == line.transcript.text
        for word in line.transcript.words:
            inside, around = word.polygon.bounds, line.polygon.bounds
            assert around.x0 <= inside.x0 < inside.x1 <= around.x1
            assert (inside.y0, inside.y1) == (around.y0, around.y1)


def test_line_images_have_the_texts_in_turn():
    read = FakeReader(["one", "two"]).read_lines([PAGE, PAGE, PAGE])
    assert [(transcript.text, transcript.confidence) for transcript in read] == [
        ("one", 1.0),
        ("two", 1.0),
        ("one", 1.0),
    ]
    assert "".join(character.text for character in read[0].characters) == "one"


def test_files_are_opened_and_what_is_wrong_with_them_is_told(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(PAGE))
    first = Image.fromarray(PAGE)
    first.save(tmp_path / "b.tif", save_all=True, append_images=[first])
    reader = FakeReader(["one", "two"], pages="1-2")
    assert [reader.read(tmp_path / name).text for name in ("a.png", "b.tif")] == ["one", "two\n\none"]
    assert reader.read(tmp_path / "none.png").faults[0].kind == "image"


def test_options_are_those_that_are_given_and_the_model_is_none():
    reader = FakeReader(["one"], lm=("fr",))
    assert reader.options.lm == ("fr",)
    assert reader.provenance["model"] == "fake"


def test_a_closed_one_refuses_to_read():
    with FakeReader(["one"]) as reader:
        pass
    with pytest.raises(UsageError, match="the reader is closed"):
        reader.read(PAGE)


def test_a_reader_without_texts_is_refused():
    with pytest.raises(UsageError, match="at least one text"):
        FakeReader([])
