from pathlib import Path

import numpy as np
import pytest
from fakes import write_strokes

from quillread.data.strokes import StrokeSource, StrokeStyle, join_tokens, render_strokes
from quillread.errors import DataError

TEXTS = ["Mr . Smith 's hat", "a # word", "dash"]


@pytest.fixture
def source(tmp_path: Path) -> StrokeSource:
    return StrokeSource(write_strokes(tmp_path / "strokes.npz", TEXTS))


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("Mr . Smith 's", "Mr. Smith's"),
        ("well , yes ; no : why ? ah !", "well, yes; no: why? ah!"),
        ("a ( small ) one", "a (small) one"),
        ("they ' re", "they're"),
        ("I 'll go", "I'll go"),
        (" plain text ", "plain text"),
        ("the 'time' is", "the 'time' is"),
        ("", ""),
    ],
)
def test_tokens_are_joined_as_they_are_written(tokens: str, text: str):
    assert join_tokens(tokens) == text


def test_lines_with_unreadable_words_are_left_out(source: StrokeSource):
    assert [source.text(i) for i in range(len(source))] == ["Mr. Smith's hat", "dash"]


def test_a_line_keeps_its_id_and_text(source: StrokeSource):
    sample = source.sample(1, np.random.default_rng(0))
    assert (sample.id, sample.text) == ("line-2", "dash")


def test_the_same_seed_draws_the_same_image(source: StrokeSource):
    first, second = (source.sample(0, np.random.default_rng(3)).image for _ in range(2))
    assert np.array_equal(first, second)


def test_another_seed_draws_another_image(source: StrokeSource):
    first, second = (source.sample(0, np.random.default_rng(seed)).image for seed in (3, 4))
    assert first.shape != second.shape or not np.array_equal(first, second)


def test_a_line_is_dark_ink_on_bright_paper(source: StrokeSource):
    image = source.sample(0, np.random.default_rng(3)).image
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[0] <= 66
    assert np.median(image) >= 150
    assert image.min() < np.median(image) - 50
    assert 0.01 < (image[..., 0] < np.median(image) - 30).mean() < 0.5


def test_a_single_dot_is_drawn():
    grey = render_strokes(np.zeros((1, 2)), np.array([True]), np.random.default_rng(0), StrokeStyle())
    assert grey.min() < grey.max() - 50


def test_longer_text_is_wider(source: StrokeSource):
    assert source.aspect(0) > source.aspect(1)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04 cut off"], ids=["empty", "other", "cut off"])
def test_a_file_of_another_form_is_an_error(tmp_path: Path, content: bytes):
    path = tmp_path / "strokes.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"strokes\.npz: is not a file of pen strokes"):
        StrokeSource(path)


def test_a_missing_file_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="is not a file of pen strokes"):
        StrokeSource(tmp_path / "none.npz")


def test_a_file_that_lacks_an_array_is_an_error(tmp_path: Path):
    np.savez(tmp_path / "strokes.npz", delta=np.zeros((1, 2), np.int16))
    with pytest.raises(DataError, match="stroke_start"):
        StrokeSource(tmp_path / "strokes.npz")


def test_a_bare_array_is_an_error(tmp_path: Path):
    np.save(tmp_path / "strokes.npy", np.zeros(3))
    with pytest.raises(DataError, match="is not a file of pen strokes"):
        StrokeSource(tmp_path / "strokes.npy")


def changed(path: Path, **arrays: np.ndarray) -> Path:
    with np.load(path) as file:
        kept = dict(file)
    np.savez(path, **(kept | arrays))
    return path


@pytest.mark.parametrize("offsets", [[0, 5, 10, 10_000], [0, 10, 5, 15], [-5, 5, 10, 15], [0, 5, 10]])
def test_lines_that_begin_elsewhere_than_in_the_strokes_are_refused(tmp_path: Path, offsets: list[int]):
    path = changed(write_strokes(tmp_path / "strokes.npz", TEXTS), line_offset=np.array(offsets))
    with pytest.raises(DataError, match="do not fit each other"):
        StrokeSource(path)


def test_a_line_without_strokes_is_skipped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = write_strokes(tmp_path / "strokes.npz", TEXTS)
    with np.load(path) as file:
        _, *rest = file["line_offset"].tolist()
    source = StrokeSource(changed(path, line_offset=np.array([rest[0], *rest])))
    assert [source.text(i) for i in range(len(source))] == ["dash"]
    assert "1 lines have no strokes and are skipped" in caplog.text


def test_strokes_without_a_line_that_can_be_read_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="holds no lines"):
        StrokeSource(write_strokes(tmp_path / "strokes.npz", ["#", "# word"]))
