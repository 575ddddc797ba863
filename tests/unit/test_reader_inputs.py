"""What programs may hand to a reader, and how they follow what it does."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import bar_line, bar_recognizer, png
from PIL import Image

from quillread.errors import ImageError, UsageError
from quillread.reader import Reader

TEXT = "a bad cab"
IMAGE = bar_line(TEXT)


@pytest.fixture
def reader() -> Reader:
    """Takes each image as a line of bars."""
    return Reader(lines=True, recognizer=bar_recognizer())


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """Three pages, of which the second cannot be decoded."""
    path = tmp_path / "a.tif"
    first, *rest = [Image.fromarray(bar_line(text)) for text in (TEXT, "dead", "bead")]
    first.save(path, save_all=True, append_images=rest, compression="tiff_adobe_deflate")
    with Image.open(path) as image:
        image.seek(1)
        start, length = image.tag_v2[273][0], image.tag_v2[279][0]
    data = bytearray(path.read_bytes())
    data[start : start + length] = b"\xff" * length
    path.write_bytes(data)
    return path


GIVEN: dict[str, Callable[[], Any]] = {
    "RGB": lambda: IMAGE,
    "alpha": lambda: np.dstack([IMAGE, np.full(IMAGE.shape[:2], 255, np.uint8)]),
    "clear": lambda: np.dstack([np.where(IMAGE == 255, 0, IMAGE), 255 - IMAGE[:, :, 0]]),
    "grey": lambda: IMAGE[:, :, 0],
    "grey with a channel": lambda: IMAGE[:, :, :1],
    "black and white": lambda: IMAGE[:, :, 0] > 128,
    "every second column twice": lambda: np.repeat(IMAGE, 2, axis=1)[:, ::2],
    "read-only": lambda: np.frombuffer(IMAGE.tobytes(), np.uint8).reshape(IMAGE.shape),
    "Pillow": lambda: Image.fromarray(IMAGE),
    "Pillow, 16 bits": lambda: Image.fromarray(IMAGE[:, :, 0].astype(np.uint16) * np.uint16(257)),
    "bytes": lambda: png(IMAGE),
    "bytearray": lambda: bytearray(png(IMAGE)),
    "memoryview": lambda: memoryview(png(IMAGE)),
    "open file": lambda: io.BytesIO(png(IMAGE)),
}


@pytest.mark.parametrize("form", GIVEN)
def test_an_image_is_read_in_whatever_form_it_is_given(reader: Reader, form: str):
    assert reader.read(GIVEN[form]()).text == TEXT
    assert reader.read_lines([GIVEN[form]()])[0].text == TEXT


@pytest.mark.parametrize("kind", [np.float64, np.uint16, np.int32])
def test_an_array_of_other_numbers_says_what_to_do(reader: Reader, kind: type):
    with pytest.raises(ImageError, match="must be uint8, got") as caught:
        reader.read_page(IMAGE.astype(kind))
    assert "astype(numpy.uint8)" in str(caught.value)


@pytest.mark.parametrize("given", [None, 3, ["a.png", "b.png"], object()])
def test_what_is_no_input_is_told_as_such(reader: Reader, given: Any):
    with pytest.raises(UsageError, match=f"got {type(given).__name__}"):
        reader.open(given)
    assert "internal" not in str(reader.read(given).fault)


def test_a_file_open_for_text_is_no_path(reader: Reader, tmp_path: Path):
    (tmp_path / "list.txt").write_text("a.png", encoding="utf-8")
    with (tmp_path / "list.txt").open(encoding="utf-8") as file, pytest.raises(UsageError, match="open for text"):
        reader.open(file)  # type: ignore[arg-type]


def test_pages_come_one_by_one_with_their_faults(reader: Reader, document: Path):
    pages = reader.pages(document)
    assert next(pages).text == TEXT
    assert [(page.number, page.text, page.fault is None) for page in pages] == [(2, "", False), (3, "bead", True)]


def test_pages_of_what_cannot_be_opened_raise(reader: Reader, tmp_path: Path):
    with pytest.raises(ImageError, match="no such file"):
        list(reader.pages(tmp_path / "none.png"))


def test_pages_are_those_selected(document: Path):
    reader = Reader(lines=True, pages="3-", recognizer=bar_recognizer())
    assert [page.number for page in reader.pages(document)] == [3]


def test_progress_counts_pages_with_those_that_failed(reader: Reader, document: Path):
    seen: list[tuple[int, int]] = []
    reader.read(document, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((48, 300, 3), np.uint8),
        np.zeros((48, 300), np.uint8),
        Image.new("L", (300, 48)),
        "line.png",
        Path("line.png"),
        b"\x89PNG",
    ],
)
def test_a_single_image_is_no_list_of_lines(image: Any):
    reader = Reader(lines=True, recognizer=bar_recognizer())
    with pytest.raises(UsageError, match="a list of images is needed"):
        reader.read_lines(image)
    assert len(reader.read_lines(np.full((2, 48, 300, 3), 255, np.uint8))) == 2  # type: ignore[arg-type]
