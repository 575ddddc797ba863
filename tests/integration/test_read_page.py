"""The built-in model on a real page and a real line. What is asked is loose, so that a new model needs no new tests."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw, ImageFont

import quillread
from quillread.cli.main import main
from quillread.evaluate.metrics import score_line
from quillread.formats.json import to_data

DATA = Path(__file__).parents[1] / "data"
PAGE_LINES = 10
LINE_TEXT = "du nord-est du Monténégro, dans la municipalité"


def read_json(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["read", "--threads", "1", "--format", "json", str(path)]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The page as `quill read --format json` gives it."""
    return to_data(quillread.read(DATA / "page.jpg"))


@pytest.fixture
def page(document: dict[str, Any]) -> dict[str, Any]:
    return document["pages"][0]


@pytest.fixture
def part() -> Image.Image:
    """The first lines of the page."""
    with Image.open(DATA / "page.jpg") as image:
        return image.crop((0, 0, image.width, 280))


def test_a_line_is_read_with_few_errors():
    reading = quillread.read(DATA / "line.jpg", lines=True)
    assert score_line(LINE_TEXT, reading.text).cer.rate < 0.4


def test_a_line_has_about_as_many_words_as_are_written():
    reading = quillread.read(DATA / "line.jpg", lines=True)
    assert abs(len(reading.text.split()) - len(LINE_TEXT.split())) <= 2


def test_every_line_of_the_page_is_found(page: dict[str, Any]):
    assert abs(len(page["lines"]) - PAGE_LINES) <= 1


def test_lines_are_in_reading_order(page: dict[str, Any]):
    heights = [line["baseline"][0][1] for line in page["lines"]]
    assert heights == sorted(heights)


def test_every_line_is_read(page: dict[str, Any]):
    assert all(line["text"] for line in page["lines"])


def test_the_text_of_a_line_is_its_words(page: dict[str, Any]):
    assert all(" ".join(w["text"] for w in line["words"]) == " ".join(line["text"].split()) for line in page["lines"])


def test_every_character_has_a_confidence(page: dict[str, Any]):
    for line in page["lines"]:
        assert len(line["character_confidences"]) == len(line["text"])
        assert all(0 <= value <= 1 for value in [line["confidence"], *line["character_confidences"]])


def test_words_lie_on_the_page(page: dict[str, Any]):
    for x0, y0, x1, y1 in (word["box"] for line in page["lines"] for word in line["words"]):
        assert 0 <= x0 < x1 <= page["width"]
        assert 0 <= y0 < y1 <= page["height"]


def test_words_follow_one_another_along_the_line(page: dict[str, Any]):
    for line in page["lines"]:
        starts = [word["box"][0] for word in line["words"]]
        assert starts == sorted(starts)


def test_words_lie_within_the_height_of_their_line(page: dict[str, Any]):
    for line in page["lines"]:
        top, bottom = (f(y for _, y in line["polygon"]) for f in (min, max))
        reach = 0.3 * (bottom - top)
        assert all(top - reach <= w["box"][1] and w["box"][3] <= bottom + reach for w in line["words"])


def test_a_photo_stored_upside_down_is_read_upright(
    part: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    part.save(tmp_path / "upright.png")
    part.rotate(180).save(tmp_path / "turned.png", exif=exif)
    upright, turned = (read_json(tmp_path / name, capsys) for name in ("upright.png", "turned.png"))
    assert turned["text"] == upright["text"] != ""


def test_a_page_upside_down_is_read_without_a_fault(
    part: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    part.rotate(180).save(tmp_path / "down.png")
    (page,) = read_json(tmp_path / "down.png", capsys)["pages"]
    assert (page["width"], page["height"]) == part.size


def test_a_page_of_print_is_read_line_by_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    image = Image.new("RGB", (1000, 600), "white")
    for i in range(6):
        text = f"This is printed line number {i} of a short letter"
        ImageDraw.Draw(image).text((80, 80 + 70 * i), text, "black", ImageFont.load_default(32))
    image.save(tmp_path / "print.png")
    (page,) = read_json(tmp_path / "print.png", capsys)["pages"]
    assert len(page["lines"]) == 6
    assert all(line["text"] for line in page["lines"])


def test_pages_of_a_pdf_are_read_in_the_pixels_of_their_scans(
    part: Image.Image, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    part.save(tmp_path / "letter.pdf", save_all=True, append_images=[part], resolution=150)
    pages = read_json(tmp_path / "letter.pdf", capsys)["pages"]
    assert [(page["number"], page["width"], page["height"]) for page in pages] == [(1, *part.size), (2, *part.size)]
    assert all(line["text"] for page in pages for line in page["lines"])


def test_a_document_tells_what_it_was_made_with(document: dict[str, Any]):
    provenance = document["provenance"]
    files = ["models", "lm", "languages", "lexicons", "line_finder", "segmentation"]
    assert list(provenance) == ["software", "version", "model", *files, "settings"]
    assert (provenance["version"], provenance["model"], provenance["lm"]) == (quillread.__version__, "builtin", "auto")
    assert [model["name"] for model in provenance["models"]] == ["builtin"]
    assert [language["name"] for language in provenance["languages"]] == ["en", "fr"]
    assert provenance["line_finder"]["name"] == "neural"
