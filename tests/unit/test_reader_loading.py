"""What a reader loads and keeps, and how it ends or travels."""

import gc
import pickle
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from documents import export
from fakes import bar_info, bar_line, bar_recognizer, png, write_bar_folder
from PIL import Image

import quillread
from quillread import reader as readers
from quillread.errors import ConfigError, Fault, ImageError, ModelError, UsageError
from quillread.options import ReadOptions
from quillread.reader import Reader
from quillread.recognize.recognizer import LineRecognizer
from quillread.types import DocumentInfo, Line, Page, Polygon, Region, Scan


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Let every model be a recogniser of bars; tells which were loaded, and how."""
    asked: list[tuple[str, dict[str, Any]]] = []

    def load(name: str, **how: Any) -> LineRecognizer:
        asked.append((name, how))
        return bar_recognizer()

    monkeypatch.setattr("quillread.recognize.load.load", load)
    readers._readers.clear()
    yield asked
    readers._readers.clear()


@pytest.fixture
def line(tmp_path: Path) -> Path:
    path = tmp_path / "line.png"
    path.write_bytes(png(bar_line("a bad cab")))
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model folder with weights that nobody looks at."""
    return write_bar_folder(tmp_path / "model")


Loads = list[tuple[str, dict[str, Any]]]

# --- loading ----------------------------------------------------------------------------------------------------------


def test_a_model_is_loaded_once_with_what_the_options_say(loads: Loads):
    reader = Reader(model="builtin", lines=True, variants=3, threads=1, lm=("fr",))
    for _ in range(2):
        reader.read_lines([bar_line("dead")])
    ((name, how),) = loads
    assert name == "builtin"
    assert (how["variants"], how["threads"], how["language"].names) == (3, 1, ("fr",))


def test_threads_are_given_to_every_session(loads: Loads, monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, int]] = []

    def load_segmenter(name: str, threads: int) -> Callable[..., Any]:
        asked.append((name, threads))
        return lambda image: ()

    monkeypatch.setattr(readers, "load_segmenter", load_segmenter)
    monkeypatch.setattr(cv2, "setNumThreads", lambda count: asked.append(("OpenCV", count)))
    Reader(threads=2)
    assert asked == [("OpenCV", 2), ("neural", 2)]
    assert loads[0][1]["threads"] == 2


def test_several_models_vote(loads: Loads):
    assert Reader(models=("builtin", "builtin", "builtin"), lines=True).read(bar_line("dead")).text == "dead"
    assert len(loads) == 3


def test_a_reader_of_lines_or_of_known_lines_loads_no_line_finder(
    loads: Loads, line: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise AssertionError("no line finder is needed")

    monkeypatch.setattr(readers, "load_segmenter", refuse)
    Reader(lines=True)
    Reader(segmentation=known_line(line))


def test_a_reader_knows_its_options_and_its_model(loads: Loads):
    options = ReadOptions(lines=True)
    assert Reader(options).options is options
    assert Reader(options, variants=3).options == options.changed(variants=3)
    assert Reader(options).info == bar_info()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": "buildin"}, ModelError, "did you mean 'builtin'"),
        ({"segmenter": "classic"}, UsageError, "did you mean 'classical'"),
        ({"lm": ("eng",)}, ModelError, "unknown language model 'eng'"),
        ({"pdf_dpi": 300}, ConfigError, "unknown setting 'pdf_dpi'"),
        ({"generate": {"beams": 4}}, UsageError, "only for TrOCR models"),
    ],
    ids=["model", "line finder", "language", "option", "option of another family"],
)
def test_what_cannot_be_loaded_is_refused(changes: dict[str, Any], error: type[Exception], message: str):
    with pytest.raises(error, match=message):
        Reader(**changes)


# --- lines that are known ---------------------------------------------------------------------------------------------


def known_line(image: Path) -> Path:
    """Write an ALTO file that says where the line of an image is."""
    height, width, _ = bar_line("a bad cab").shape
    outline = Polygon(((0.0, 0.0), (width, 0.0), (width, height), (0.0, height)))
    known = Line(((0.0, height - 1.0), (width, height - 1.0)), outline, None, "known")
    page = Page(image.name, 1, width, height, (Region(outline, (known,)),))
    where = image.with_suffix(".xml")
    where.write_bytes(export("alto", Scan(page), info=DocumentInfo(image.name)))
    return where


def test_given_lines_are_read(loads: Loads, line: Path):
    reader = Reader(segmentation=known_line(line), crop={"margin": 0})
    reading = reader.read(line)
    assert (reading.text, reading.pages[0].lines[0].id) == ("a bad cab", "known")


def test_given_lines_of_another_image_are_a_fault(loads: Loads, line: Path):
    (fault,) = Reader(segmentation=known_line(line)).read(bar_line("dead"), name="line.png").faults
    assert fault.message.startswith("line.png: the image has ")


def test_a_page_in_memory_is_refused_where_lines_are_given(loads: Loads, line: Path):
    with pytest.raises(UsageError, match="has no name to find its segmentation by"):
        Reader(segmentation=known_line(line)).read_page(bar_line("a bad cab"))


# --- the end of a reader ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda reader: reader.read(bar_line("dead")),
        lambda reader: reader.read_page(bar_line("dead")),
        lambda reader: reader.read_lines([bar_line("dead")]),
        lambda reader: reader.stream(bar_line("dead"), None),
        lambda reader: reader.open(bar_line("dead")),
    ],
    ids=["read", "read_page", "read_lines", "stream", "open"],
)
def test_a_closed_reader_refuses_to_read(use: Callable[[Reader], object]):
    with Reader(lines=True, recognizer=bar_recognizer()) as reader:
        pass
    with pytest.raises(UsageError, match="the reader is closed"):
        use(reader)


def test_a_reader_may_be_closed_twice():
    reader = Reader(lines=True, recognizer=bar_recognizer())
    reader.close()
    reader.close()


def test_a_closed_reader_lets_go_of_its_model():
    model = bar_recognizer()
    alive = weakref.ref(model)
    reader = Reader(lines=True, recognizer=model)
    del model
    reader.close()
    gc.collect()
    assert alive() is None


def test_pages_that_are_under_way_when_the_reader_is_closed_come_all_the_same(tmp_path: Path):
    images = [Image.fromarray(bar_line("ab")), Image.fromarray(bar_line("cd"))]
    images[0].save(tmp_path / "two.tif", save_all=True, append_images=images[1:])
    reader = Reader(lines=True, recognizer=bar_recognizer())
    pages = reader.pages(tmp_path / "two.tif")
    first = next(pages)
    reader.close()
    assert [first.text, *(page.text for page in pages)] == ["ab", "cd"]
    with pytest.raises(UsageError, match="the reader is closed"):
        next(reader.pages(tmp_path / "two.tif"))


def test_a_reading_that_is_under_way_when_the_reader_is_closed_ends_well():
    reader = Reader(lines=True, recognizer=bar_recognizer())
    seen: list[str] = []

    class Closes:
        def begin(self, info: DocumentInfo) -> None:
            reader.close()

        def add(self, scan: Scan) -> None:
            seen.append(scan.page.text)

        def close(self, fault: Fault | None) -> None:
            seen.append(str(fault))

        def abort(self) -> None:
            seen.append("abort")

    assert reader.stream(bar_line("dead"), Closes()) == ()
    assert seen == ["dead", "None"]


# --- travelling -------------------------------------------------------------------------------------------------------


def test_a_pickled_reader_loads_its_models_where_it_arrives(loads: Loads):
    reader = Reader(lines=True, variants=3)
    arrived = pickle.loads(pickle.dumps(reader))
    assert arrived.options == reader.options
    assert arrived.read(bar_line("dead")).text == "dead"
    assert len(loads) == 2


def test_a_reader_of_a_model_in_memory_does_not_travel():
    with pytest.raises(UsageError, match="cannot travel to another process"):
        pickle.dumps(Reader(lines=True, recognizer=bar_recognizer()))


# --- what a reader says of itself -------------------------------------------------------------------------------------


def test_a_reading_tells_what_it_was_made_with():
    reading = Reader(lines=True, threads=1).read(bar_line("dead"))
    assert (reading.provenance["software"], reading.provenance["model"]) == ("quillread", "builtin")
    assert reading.provenance["settings"]["lines"] is True


def test_a_reader_of_a_model_in_memory_knows_its_name_only():
    reader = Reader(lines=True, recognizer=bar_recognizer())
    provenance = reader.read(bar_line("dead")).provenance
    assert (provenance["software"], provenance["model"]) == ("quillread", "bars")
    with pytest.raises(UsageError, match="has no fingerprint"):
        _ = reader.fingerprint


# --- readers that quillread.read keeps --------------------------------------------------------------------------------


def read(model: Path, source: Any, **changes: Any) -> str:
    return quillread.read(source, model=str(model), lines=True, **changes).text


def test_a_reader_is_kept_for_the_same_options(loads: Loads, model: Path, line: Path):
    assert [read(model, line), read(model, bar_line("dead"))] == ["a bad cab", "dead"]
    assert quillread.read_page(bar_line("bead"), model=str(model), lines=True).text == "bead"
    assert [name for name, _ in loads] == [str(model)]


def test_other_options_make_a_new_reader(loads: Loads, model: Path, line: Path):
    for variants in (1, 3, 1):
        read(model, line, variants=variants)
    assert [how["variants"] for _, how in loads] == [1, 3]


@pytest.mark.parametrize("file", ["model.onnx", "quillread.json"])
def test_a_model_that_was_trained_anew_is_loaded_anew(file: str, loads: Loads, model: Path, line: Path):
    read(model, line)
    path = model / file
    path.write_bytes(path.read_bytes() + b" ")
    read(model, line)
    read(model, line)
    assert len(loads) == 2


def test_a_lexicon_that_was_changed_is_read_anew(loads: Loads, model: Path, line: Path, tmp_path: Path):
    lexicon = tmp_path / "names.txt"
    for names in ("Abel", "Abel Cade", "Abel Cade"):
        lexicon.write_text(names, encoding="utf-8")
        read(model, line, lexicons=(lexicon,))
    assert len(loads) >= 2


def test_few_readers_are_kept_and_those_in_use_longest(loads: Loads, model: Path, line: Path):
    for variants in (1, 2, 3, 4, 1, 5, 1):
        read(model, line, variants=variants)
    assert [how["variants"] for _, how in loads] == [1, 2, 3, 4, 5]
    read(model, line, variants=2)
    assert loads[-1][1]["variants"] == 2


def test_an_input_of_which_nothing_can_be_read_is_an_error(loads: Loads, model: Path, line: Path):
    line.write_bytes(line.read_bytes()[:80])
    with pytest.raises(ImageError, match=r"line\.png: "):
        read(model, line)


def test_an_input_that_is_missing_is_an_error_with_a_hint(loads: Loads, model: Path):
    with pytest.raises(ImageError, match=r"none\.png: no such file") as caught:
        read(model, "none.png")
    assert caught.value.hint == "check the path"
