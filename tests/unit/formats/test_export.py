"""Readings and pages write themselves."""

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdfium2
import pytest
from documents import INFO, export, failed, page, scan
from fakes import png
from PIL import Image
from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

from quillread.errors import Fault, OutputError, UsageError
from quillread.formats.export import FORMATS
from quillread.types import DocumentInfo, GivenPixels, Page, Reading, Scan

NOTE = "The image of page 1 is not available."
IMAGE = np.full((1400, 1000, 3), (230, 225, 210), np.uint8)


def reading_of(source: str | Path, *pages: Page, **facts: object) -> Reading:
    """A reading of a source, of the page of `documents` if none is given."""
    named = tuple(replace(one, source=str(source)) for one in pages or (page(),))
    return Reading(str(source), named, **facts)  # type: ignore[arg-type]


def text_of(path: Path, index: int = 0) -> str:
    """The text of a page, without the space that parts the last word of a line from the next line."""
    with pypdfium2.PdfDocument(path) as pdf:
        lines = pdf[index].get_textpage().get_text_range().splitlines()
    return "\n".join(line.strip(" ") for line in lines)


def undated(content: bytes) -> bytes:
    """A file without the time at which it was made."""
    return re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"", content)


def images_in(path: Path) -> list[int]:
    """How many images each page of a PDF shows."""
    with pypdfium2.PdfDocument(path) as pdf:
        return [len(list(one.get_objects([FPDF_PAGEOBJ_IMAGE]))) for one in pdf]


# --- any format -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_a_reading_writes_what_quill_read_writes(name: str, tmp_path: Path):
    reading = reading_of("a.png", provenance=INFO.provenance)
    reading.write(name, tmp_path / "made" / "a.out")
    info = DocumentInfo("a.png", 1, INFO.provenance)
    content = (tmp_path / "made" / "a.out").read_bytes()
    assert undated(content) == undated(export(name, Scan(reading.pages[0]), info=info))


@pytest.mark.parametrize("name", ["page", "alto"])
def test_a_page_names_the_model_that_was_chosen_for_it(name: str):
    info = DocumentInfo("a.png", 1, {"model": "auto"})
    assert b"medieval" in export(name, Scan(replace(page(), model="medieval")), info=info)
    assert b"auto" in export(name, Scan(page()), info=info)


@pytest.mark.parametrize("name", FORMATS)
def test_a_page_writes_itself_alone(name: str, tmp_path: Path):
    page().write(name, str(tmp_path / "a.out"))
    content = (tmp_path / "a.out").read_bytes()
    assert undated(content) == undated(export(name, Scan(page()), info=DocumentInfo(page().source)))


@pytest.mark.parametrize("name", [name for name, known in FORMATS.items() if not known.a_file_a_page])
def test_a_reading_of_several_pages_is_one_file(name: str, tmp_path: Path):
    reading = reading_of("a.tif", page(1), failed(2).page, page(3))
    reading.write(name, tmp_path / "a.out")
    scans = (Scan(one) for one in reading.pages)
    assert (tmp_path / "a.out").read_bytes() == export(name, *scans, info=DocumentInfo("a.tif", 3))


@pytest.mark.parametrize("name", [name for name, known in FORMATS.items() if known.a_file_a_page])
def test_several_pages_do_not_go_into_a_file_of_one(name: str, tmp_path: Path):
    with pytest.raises(UsageError, match="holds one page, and the reading has 2") as caught:
        reading_of("a.tif", page(1), page(2)).write(name, tmp_path / "a.xml")
    assert caught.value.hint == "write each of its pages: page.write(...)"
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"unknown format 'jsn' \(did you mean 'json'\?\)"):
        page().write("jsn", tmp_path / "a")


def test_a_place_that_cannot_be_written_is_an_output_error_that_leaves_nothing(tmp_path: Path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(OutputError, match=r"a\.txt: cannot be written"):
        page().write("txt", tmp_path / "a.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_that_is_there_stays_if_writing_fails(tmp_path: Path):
    (tmp_path / "a.json").write_text("old", encoding="utf-8")
    bad = replace(page(), width=float("nan"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="JSON"):
        bad.write("json", tmp_path / "a.json")
    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [("a.json", "old")]


# --- what could not be read -------------------------------------------------------------------------------------------

BROKEN = Reading("a.png", fault=Fault("image", "a.png: is empty", "scan it again"))


@pytest.mark.parametrize("name", ["json", "csv"])
def test_formats_that_can_say_why_nothing_was_read_do_so(name: str, tmp_path: Path):
    BROKEN.write(name, tmp_path / "a.out")
    assert "a.png: is empty" in (tmp_path / "a.out").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["txt", "md", "docx", "hocr", "pdf"])
def test_no_format_makes_an_input_that_failed_look_blank(name: str, tmp_path: Path):
    with pytest.raises(UsageError, match=r"a\.png: was not read, .*: a\.png: is empty"):
        BROKEN.write(name, tmp_path / "a.out")
    assert list(tmp_path.iterdir()) == []


def test_json_has_the_fault_of_a_page(tmp_path: Path):
    reading_of("a.tif", page(1), failed(2).page).write("json", tmp_path / "a.json")
    pages = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["pages"]
    assert [one.get("fault", {}).get("kind") for one in pages] == [None, "image"]


# --- searchable PDF ---------------------------------------------------------------------------------------------------


def test_a_pdf_shows_the_image_of_the_file_that_was_read(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(IMAGE))
    reading_of(tmp_path / "a.png").write("pdf", tmp_path / "a.pdf")
    assert images_in(tmp_path / "a.pdf") == [1]
    assert text_of(tmp_path / "a.pdf").startswith("Dear Sir,\nI am, yours\n")
    with pypdfium2.PdfDocument(tmp_path / "a.pdf") as pdf:
        pixels = pdf[0].render(scale=0.5).to_numpy()
    assert np.abs(pixels[..., ::-1].astype(int) - (230, 225, 210)).max() <= 3


@pytest.mark.parametrize("source", ["-", "https://example.org/a.png", "gone.png"])
def test_a_pdf_of_what_is_no_file_keeps_the_text_and_says_so(source: str, tmp_path: Path):
    reading_of(source).write("pdf", tmp_path / "a.pdf")
    assert images_in(tmp_path / "a.pdf") == [0]
    assert text_of(tmp_path / "a.pdf").startswith(f"{NOTE}\nDear Sir,\nI am, yours\n")


@pytest.mark.parametrize("content", [png(IMAGE[:700]), b"no image at all", png(IMAGE)[:200]])
def test_a_pdf_of_a_file_that_is_another_by_now_keeps_the_text_and_says_so(content: bytes, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(content)
    reading_of(tmp_path / "a.png").write("pdf", tmp_path / "a.pdf")
    assert images_in(tmp_path / "a.pdf") == [0]
    assert NOTE in text_of(tmp_path / "a.pdf")


def test_pages_of_a_pdf_show_their_own_images_and_failed_ones_say_so(tmp_path: Path):
    first = Image.fromarray(IMAGE)
    first.save(tmp_path / "a.tif", save_all=True, append_images=[first, first.resize((500, 700))])
    small = Page("", 3, 500, 700)
    reading = reading_of(tmp_path / "a.tif", failed(2).page, small)
    reading.write("pdf", tmp_path / "a.pdf")
    assert images_in(tmp_path / "a.pdf") == [0, 1]
    assert text_of(tmp_path / "a.pdf") == "Page 2 could not be read."
    reading.pages[1].write("pdf", tmp_path / "b.pdf")
    assert images_in(tmp_path / "b.pdf") == [1]


def test_a_pdf_that_was_read_at_another_resolution_shows_its_image(tmp_path: Path):
    (tmp_path / "a.pdf").write_bytes(export("pdf", scan(points=(500.0, 700.0))))
    provenance = {"settings": {"read": {"pdf_dpi": 72}}}
    small = Page("", 1, 500, 700)
    reading_of(tmp_path / "a.pdf", small, provenance=provenance).write("pdf", tmp_path / "b.pdf")
    assert images_in(tmp_path / "b.pdf") == [1]


def test_a_reading_is_written_into_an_open_file(tmp_path: Path):
    reading_of("a.png").write("txt", tmp_path / "a.txt")
    file = io.BytesIO()
    reading_of("a.png").write("txt", file)
    assert file.getvalue() == (tmp_path / "a.txt").read_bytes() != b""


GREY = np.full((1400, 1000), 77, np.uint8)


@pytest.mark.parametrize(
    "image",
    [GREY, np.dstack([GREY] * 3), np.dstack([*[GREY] * 3, GREY + np.uint8(178)]), Image.fromarray(GREY)],
    ids=["grey", "RGB", "alpha", "Pillow"],
)
def test_a_pdf_of_what_is_no_file_shows_the_images_that_are_given(image: GivenPixels, tmp_path: Path):
    reading_of("-").write("pdf", tmp_path / "a.pdf", images=[image])
    reading_of("-").pages[0].write("pdf", tmp_path / "b.pdf", image=image)
    for name in ("a.pdf", "b.pdf"):
        with pypdfium2.PdfDocument(tmp_path / name) as pdf:
            assert abs(int(pdf[0].render(scale=0.1).to_numpy().mean()) - 77) <= 3
            assert "not available" not in pdf[0].get_textpage().get_text_range()


@pytest.mark.parametrize("count", [1, 2])
def test_images_that_are_not_those_of_the_pages_are_refused(count: int, tmp_path: Path):
    with pytest.raises(UsageError, match="1000 x 1400") as caught:
        reading_of("-").write(
            "pdf", tmp_path / "a.pdf", images=[np.zeros((1400, 999 + count // 2, 3), np.uint8)] * count
        )
    assert caught.value.hint == "give an image for each page of the reading, as it was read"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("image", [None, "a.png", b"GIF89a"])
def test_what_is_no_picture_in_memory_is_refused(image: object, tmp_path: Path):
    with pytest.raises(UsageError, match=f"got {type(image).__name__}") as caught:
        reading_of("-").write("pdf", tmp_path / "a.pdf", images=[image])  # type: ignore[list-item]
    assert caught.value.hint
    assert not list(tmp_path.iterdir())


def test_black_and_white_is_shown_as_such(tmp_path: Path):
    reading_of("-").write("pdf", tmp_path / "a.pdf", images=[np.arange(1400)[:, None] + np.zeros(1000) < 700])
    with pypdfium2.PdfDocument(tmp_path / "a.pdf") as pdf:
        pixels = pdf[0].render(scale=0.1).to_numpy()
    assert (pixels[5].mean(), pixels[-5].mean()) == (pytest.approx(255, abs=3), pytest.approx(0, abs=3))
