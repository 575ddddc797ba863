from collections.abc import Iterator
from pathlib import Path

import pytest
from documents import export
from fakes import bar_line, bar_recognizer, png
from webserver import Answer, serve

import quillread
from quillread import api
from quillread.errors import DataError, ImageError, ModelError
from quillread.formats.export import ExportInfo, Scan
from quillread.images.crop import CropConfig
from quillread.pages.transcribe import PageConfig
from quillread.types import Line, Page, Polygon, Region

LINES = PageConfig(lines=True)


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let every model stand for a recogniser of bars; gives the names loaded."""
    loaded: list[str] = []

    def load(name: str, **_: object) -> object:
        loaded.append(name)
        return bar_recognizer()

    monkeypatch.setattr(api, "load", load)
    api._load.cache_clear()
    yield loaded
    api._load.cache_clear()


@pytest.fixture
def line(tmp_path: Path) -> Path:
    path = tmp_path / "line.png"
    path.write_bytes(png(bar_line("a bad cab")))
    return path


@pytest.mark.parametrize("form", [str, Path, Path.read_bytes], ids=["str", "path", "bytes"])
def test_a_file_is_read_in_any_form(form: type, bars: list[str], line: Path):
    assert quillread.read(form(line), config=LINES).text == "a bad cab"


def test_a_model_is_loaded_once(bars: list[str], line: Path):
    for _ in range(2):
        quillread.read(line, "mine", config=LINES)
    assert bars == ["mine"]


def test_a_file_of_which_nothing_can_be_read_is_an_error(bars: list[str], line: Path):
    line.write_bytes(line.read_bytes()[:80])
    with pytest.raises(ImageError, match=r"line\.png: "):
        quillread.read(line, config=LINES)


def test_a_file_that_is_missing_is_an_error(bars: list[str]):
    with pytest.raises(ImageError, match=r"none\.png: no such file"):
        quillread.read("none.png")


def test_an_address_is_read(bars: list[str]):
    with serve() as site:
        address = site.add("/a.png", Answer(png(bar_line("dead"))))
        reading = quillread.read(address, config=LINES)
    assert (reading.text, reading.source) == ("dead", address)


def test_given_lines_are_read(bars: list[str], line: Path):
    height, width, _ = bar_line("a bad cab").shape
    outline = Polygon(((0.0, 0.0), (width, 0.0), (width, height), (0.0, height)))
    known = Line(((0.0, height - 1.0), (width, height - 1.0)), outline, None, "known")
    page = Page("line.png", 1, width, height, (Region(outline, (known,)),))
    line.with_suffix(".xml").write_bytes(export("alto", Scan(page), info=ExportInfo("line.png")))
    reading = quillread.read(line, config=PageConfig(crop=CropConfig(margin=0)), segmentation=line.with_suffix(".xml"))
    assert (reading.text, reading.pages[0].lines[0].id) == ("a bad cab", "known")


def test_an_image_in_memory_is_read(bars: list[str]):
    assert quillread.read_page(bar_line("dead"), config=LINES).text == "dead"


def test_a_model_is_measured(bars: list[str], line: Path):
    line.with_suffix(".txt").write_text("a bad cat", encoding="utf-8")
    figures = quillread.measure(str(line.parent))
    assert (figures["lines"], figures["cer"], figures["model"]) == (1, 1 / 9, "builtin")


def test_measuring_without_data_is_an_error(bars: list[str], tmp_path: Path):
    with pytest.raises(DataError, match=r"no image has a \.txt file"):
        quillread.measure(str(tmp_path))


def test_an_unknown_model_is_an_error(line: Path):
    with pytest.raises(ModelError, match="did you mean 'builtin'"):
        quillread.read(line, "buildin")


@pytest.mark.parametrize("name", [n for n in quillread.__all__ if n not in ("__version__", "finetune")])
def test_every_public_name_is_a_function_however_often_it_is_asked_for(name: str):
    assert callable(getattr(quillread, name))
    assert callable(getattr(quillread, name))


def test_every_public_name_is_listed():
    assert set(quillread.__all__) <= set(dir(quillread))


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'raed'"):
        _ = quillread.raed
