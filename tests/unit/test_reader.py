import io
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import BarBackend, bar_info, bar_line, bar_recognizer, png
from PIL import Image
from webserver import Answer, serve

from quillread.errors import Fault, ImageError, OutputError, UsageError
from quillread.reader import Reader
from quillread.recognize.ctc import CtcEngine
from quillread.recognize.recognizer import LineRecognizer
from quillread.types import DocumentInfo, Scan, UInt8Image

TEXTS = ["a bad cab", "dead", "bead"]


@pytest.fixture
def reader() -> Reader:
    """Takes each image as a line of bars."""
    return Reader(lines=True, recognizer=bar_recognizer())


@pytest.fixture
def line(tmp_path: Path) -> Path:
    path = tmp_path / "line.png"
    path.write_bytes(png(bar_line("a bad cab")))
    return path


@pytest.fixture
def tiff(tmp_path: Path) -> Path:
    """A document of three pages."""
    path = tmp_path / "a.tif"
    first, *rest = [Image.fromarray(bar_line(text)) for text in TEXTS]
    first.save(path, save_all=True, append_images=rest, compression="tiff_adobe_deflate")
    return path


def damage_page(path: Path, index: int) -> None:
    """Overwrite the pixels of one page of a TIFF so that they cannot be decoded."""
    with Image.open(path) as image:
        image.seek(index)
        start, length = image.tag_v2[273][0], image.tag_v2[279][0]
    data = bytearray(path.read_bytes())
    data[start : start + length] = b"\xff" * length
    path.write_bytes(data)


def failing(error: BaseException) -> Reader:
    """A reader whose network raises."""

    class Backend(BarBackend):
        def __call__(self, lines: Sequence[np.ndarray]) -> list[np.ndarray]:
            raise error

    return Reader(lines=True, recognizer=LineRecognizer(CtcEngine(Backend(), bar_info()), bar_info()))


# --- images in any form -----------------------------------------------------------------------------------------------

FORMS: dict[str, Callable[[Path], Any]] = {
    "name": str,
    "path": Path,
    "bytes": Path.read_bytes,
    "file object": lambda path: io.BytesIO(path.read_bytes()),
    "picture": lambda path: Image.open(io.BytesIO(path.read_bytes())),
    "RGB array": lambda path: np.array(Image.open(path)),
    "grey array": lambda path: np.array(Image.open(path).convert("L")),
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@each_form
def test_an_input_is_read_in_any_form(form: Callable[[Path], Any], reader: Reader, line: Path):
    reading = reader.read(form(line))
    assert (reading.text, reading.fault) == ("a bad cab", None)


@each_form
def test_a_page_and_a_line_are_read_in_any_form(form: Callable[[Path], Any], reader: Reader, line: Path):
    assert reader.read_page(form(line)).text == "a bad cab"
    assert [transcript.text for transcript in reader.read_lines([form(line), form(line)])] == ["a bad cab"] * 2


def test_a_negative_of_a_line_is_read_as_the_line(reader: Reader):
    assert reader.read_lines([255 - bar_line("a bad cab")])[0].text == "a bad cab"


@pytest.mark.parametrize("image", [np.zeros((20, 20, 3)), np.zeros((20, 20, 2), np.uint8), np.zeros((0, 9), np.uint8)])
def test_an_array_of_another_form_is_refused(image: Any, reader: Reader):
    for read in (reader.read_page, lambda array: reader.read_lines([array])):
        with pytest.raises(ImageError, match="an image must"):
            read(image)
    assert "an image must" in reader.read(image, name="scan").faults[0].message


def test_results_name_what_has_a_name(reader: Reader, line: Path):
    with line.open("rb") as file:
        assert reader.read(file).source == str(line)
    with Image.open(line) as picture:
        assert reader.read(picture).source == str(line)
    assert reader.read(line.read_bytes()).source == "-"
    assert reader.read(bar_line("dead")).source == "-"


def test_a_reading_has_the_name_that_it_is_given(reader: Reader, line: Path):
    reading = reader.read(line, name="letters/a.png")
    assert (reading.source, reading.pages[0].source, reading.pages[0].number) == ("letters/a.png", "letters/a.png", 1)


def test_an_address_is_read(reader: Reader):
    with serve() as site:
        address = site.add("/a.png", Answer(png(bar_line("dead"))))
        reading = reader.read(address)
    assert (reading.text, reading.source) == ("dead", address)


def test_one_page_is_read_of_a_file_of_several_only_if_one_is_asked_for(reader: Reader, tiff: Path):
    for read in (reader.read_page, lambda path: reader.read_lines([path])):
        with pytest.raises(UsageError, match=r"a\.tif: has 3 pages, and one is read here"):
            read(tiff)
    assert Reader(lines=True, pages="2", recognizer=bar_recognizer()).read_page(tiff).text == "dead"


# --- documents --------------------------------------------------------------------------------------------------------


def test_all_pages_are_read_in_order(reader: Reader, tiff: Path):
    assert [(page.number, page.text) for page in reader.read(tiff).pages] == list(enumerate(TEXTS, 1))


def test_pages_that_are_asked_for_are_read_with_their_numbers(tiff: Path):
    some = Reader(lines=True, pages="2-", recognizer=bar_recognizer())
    assert [(page.number, page.text) for page in some.read(tiff).pages] == [(2, "dead"), (3, "bead")]


def test_pages_beyond_the_document_are_a_fault(tiff: Path):
    reading = Reader(lines=True, pages="7", recognizer=bar_recognizer()).read(tiff)
    assert reading.fault is not None
    assert (reading.fault.kind, reading.fault.message) == (
        "usage",
        f"{tiff}: ends at page 3, with none of those asked for: 7",
    )


def test_a_bad_page_carries_its_fault_and_the_others_are_read(reader: Reader, tiff: Path):
    damage_page(tiff, 1)
    reading = reader.read(tiff)
    assert reading.fault is None
    assert [page.text for page in reading.pages] == ["a bad cab", "", "bead"]
    (fault,) = reading.faults
    assert fault.kind == "image"
    assert fault.message.startswith(f"{tiff}, page 2: cannot be decoded")
    assert reading.pages[1].fault == fault


def test_an_input_of_one_bad_page_failed(reader: Reader):
    reading = reader.read(png(bar_line("dead"))[:100], name="a.png")
    assert reading.pages == ()
    assert reading.fault is not None
    assert reading.fault.message.startswith("a.png: ")


def test_an_input_of_bad_pages_only_failed(reader: Reader, tiff: Path):
    for index in range(3):
        damage_page(tiff, index)
    reading = reader.read(tiff)
    assert reading.fault == Fault("image", f"{tiff}: none of its 3 pages could be read")
    assert [page.fault is None for page in reading.pages] == [False] * 3


def test_an_input_that_cannot_be_opened_failed(reader: Reader, tmp_path: Path):
    reading = reader.read(tmp_path / "none.png")
    assert reading.pages == ()
    assert reading.faults == (Fault("image", f"{tmp_path / 'none.png'}: no such file", "check the path"),)


def test_a_name_that_the_file_system_cannot_hold_is_an_input_that_failed(reader: Reader):
    fault = reader.read(Path("x" * 300)).fault
    assert fault is not None
    assert fault.kind == "image"
    assert "cannot be read: " in fault.message


@pytest.mark.parametrize(
    ("error", "kind"), [(RuntimeError("boom"), "internal"), (MemoryError(), "memory"), (ImageError("bad"), "image")]
)
def test_what_goes_wrong_after_decoding_is_a_fault_of_the_page(error: Exception, kind: str, tiff: Path):
    reading = failing(error).read(tiff)
    assert [page.fault and page.fault.kind for page in reading.pages] == [kind] * 3
    assert [(page.height, page.width) for page in reading.pages] == [bar_line(text).shape[:2] for text in TEXTS]


def test_ctrl_c_is_not_taken_for_a_bad_page():
    with pytest.raises(KeyboardInterrupt):
        failing(KeyboardInterrupt()).read(bar_line("dead"))


# --- stopping between pages -------------------------------------------------------------------------------------------


def test_a_cancelled_reading_keeps_its_pages_and_says_which_were_not_read(reader: Reader, tiff: Path):
    answers = iter([False, True, True])
    reading = reader.read(tiff, cancelled=lambda: next(answers))
    assert [page.text for page in reading.pages] == ["a bad cab", "", ""]
    assert [page.fault and page.fault.kind for page in reading.pages] == [None, "stopped", "stopped"]
    assert reading.fault is None


def test_pages_beyond_the_time_limit_are_not_read(reader: Reader, tiff: Path):
    reading = reader.read(tiff, seconds=0)
    assert [page.fault and page.fault.kind for page in reading.pages] == ["stopped"] * 3
    assert reading.fault is not None
    assert reading.fault.kind == "stopped"


# --- page by page -----------------------------------------------------------------------------------------------------


class Notes:
    """Writes down what it is given."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def begin(self, info: DocumentInfo) -> None:
        self.said.append(("begin", info.source, info.page_count))

    def add(self, scan: Scan) -> None:
        self.said.append((scan.page.number, scan.page.text, scan.image is None, scan.page.fault is None))

    def close(self, fault: Fault | None) -> None:
        self.said.append(fault)

    def abort(self) -> None:
        self.said.append("abort")


def test_pages_are_handed_on_as_they_are_read(reader: Reader, tiff: Path):
    damage_page(tiff, 1)
    notes = Notes()
    (fault,) = reader.stream(tiff, notes, name="a.tif")
    assert fault.message.startswith("a.tif, page 2: cannot be decoded")
    assert notes.said == [
        ("begin", "a.tif", 3),
        (1, "a bad cab", False, True),
        (2, "", True, False),
        (3, "bead", False, True),
        None,
    ]


def test_a_known_page_whose_image_is_gone_keeps_its_text(reader: Reader, tiff: Path):
    known = {page.number: page for page in reader.read(tiff, name="a.tif").pages}
    damage_page(tiff, 1)
    notes = Notes()
    (fault,) = reader.stream(tiff, notes, name="a.tif", known=known.get)
    assert fault.message.startswith("a.tif, page 2: cannot be decoded")
    assert fault.hint is not None
    assert fault.hint.endswith("its text was read before and is kept")
    assert notes.said[2] == (2, "dead", True, True)
    assert notes.said[-1] is None


def test_known_pages_are_not_read_again(reader: Reader, tiff: Path):
    known = {page.number: page for page in reader.read(tiff).pages}
    notes = Notes()
    assert failing(RuntimeError("boom")).stream(tiff, notes, known=known.get) == ()
    assert [said[1] for said in notes.said[1:-1] if isinstance(said, tuple)] == TEXTS


def test_known_pages_without_images_are_no_failed_input(reader: Reader, tiff: Path):
    known = {page.number: page for page in reader.read(tiff).pages}
    for index in range(3):
        damage_page(tiff, index)
    notes = Notes()
    assert len(reader.stream(tiff, notes, known=known.get)) == 3
    assert notes.said[-1] is None


def test_a_known_page_of_a_stopped_reading_keeps_its_text(reader: Reader, tiff: Path):
    known = {page.number: page for page in reader.read(tiff).pages}
    notes = Notes()
    faults = reader.stream(tiff, notes, known=lambda number: known[2] if number == 2 else None, seconds=0)
    assert [fault.kind for fault in faults] == ["stopped"] * 3
    assert [said[1] for said in notes.said[1:-1] if isinstance(said, tuple)] == ["", "dead", ""]
    assert notes.said[-1] is None


def test_an_input_that_cannot_be_opened_has_no_pages(reader: Reader, tmp_path: Path):
    notes = Notes()
    faults = reader.stream(tmp_path / "none.png", notes, name="none.png")
    assert notes.said == [("begin", "none.png", 0), *faults]


def test_what_a_writer_raises_is_not_taken_for_a_bad_page(reader: Reader):
    class Full(Notes):
        def add(self, scan: Scan) -> None:
            raise OutputError("the disk is full")

    with pytest.raises(OutputError):
        reader.stream(bar_line("dead"), Full())


def test_a_page_that_fails_after_decoding_keeps_its_image(tiff: Path):
    notes = Notes()
    failing(RuntimeError("boom")).stream(tiff, notes)
    assert notes.said[1:-1] == [(number, "", False, False) for number in (1, 2, 3)]


def test_one_image_is_kept_at_a_time(reader: Reader, tiff: Path):
    alive: list[weakref.ref[UInt8Image]] = []

    class Watch(Notes):
        def add(self, scan: Scan) -> None:
            assert scan.image is not None
            assert [image for image in alive if image() is not None] == []
            alive.append(weakref.ref(scan.image))

    reader.stream(tiff, Watch())
    assert len(alive) == 3
