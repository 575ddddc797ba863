import logging
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import BarBackend, bar_info, bar_line, bar_recognizer, png
from PIL import Image

from quillread.errors import ImageError, OutputError, UsageError
from quillread.formats.export import ExportInfo, Scan
from quillread.images.crop import CropConfig
from quillread.images.geometry import AffineMap
from quillread.images.read import open_document
from quillread.images.sheet import SheetConfig
from quillread.pages import transcribe
from quillread.pages.transcribe import PageConfig, PageReader
from quillread.recognize.ctc import CtcEngine
from quillread.recognize.recognizer import LineRecognizer
from quillread.types import Line, Page, Polygon, Region, UInt8Image

SCALE = 4  # so large that the margin of a crop does not shift what BarBackend sees
HEIGHT, PITCH = 48 * SCALE, 240
TEXTS = ["a bad cab", "dead", "bead"]


def page_of(texts: list[str], width: int = 500) -> UInt8Image:
    """Draw lines that `BarBackend` reads, the k-th with its top at k times PITCH."""
    page = np.full((PITCH * len(texts), width, 3), 255, np.uint8)
    for k, text in enumerate(texts):
        line = bar_line(text, SCALE)
        page[k * PITCH : k * PITCH + line.shape[0], 40 : 40 + line.shape[1]] = line
    return page


def line_at(top: float, width: float = 400) -> Line:
    bottom = top + HEIGHT
    corners = ((40.0, top), (40 + width, top), (40 + width, bottom), (40.0, bottom))
    return Line(((40.0, bottom), (40 + width, bottom)), Polygon(corners))


def every_line(image: UInt8Image) -> tuple[Region, ...]:
    """Find the lines of `page_of`, each in a region of its own."""
    lines = [line_at(top) for top in range(0, image.shape[0], PITCH)]
    return tuple(Region(line.polygon, (line,)) for line in lines)


Segment = Callable[[UInt8Image], tuple[Region, ...]]


@pytest.fixture
def make_reader(monkeypatch: pytest.MonkeyPatch) -> Callable[..., PageReader]:
    """Build a reader of bars with a line finder of the test's own."""

    def make(segment: Segment = every_line, *, flatten: bool = False) -> PageReader:
        monkeypatch.setattr(transcribe, "load_segmenter", lambda _: segment)
        config = PageConfig(crop=CropConfig(margin=0), sheet=SheetConfig(flatten=flatten))
        return PageReader(bar_recognizer(), "bars", config)

    return make


@pytest.fixture
def line_reader() -> PageReader:
    return PageReader(bar_recognizer(), "bars", PageConfig(lines=True))


def texts_of(page: Page) -> list[str | None]:
    return [line.transcript.text if line.transcript else None for line in page.lines]


def save_tiff(path: Path, images: list[UInt8Image]) -> Path:
    first, *rest = [Image.fromarray(image) for image in images]
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


def test_lines_are_read_in_the_order_of_the_regions(make_reader: Callable[..., PageReader]):
    page = make_reader().read_page(page_of(TEXTS))
    assert texts_of(page) == TEXTS
    assert page.text == "\n\n".join(TEXTS)


def test_a_page_has_the_size_of_its_image(make_reader: Callable[..., PageReader]):
    page = make_reader().read_page(page_of(TEXTS, width=600))
    assert (page.width, page.height) == (600, 3 * PITCH)


def test_a_page_without_lines_is_a_page(make_reader: Callable[..., PageReader]):
    page = make_reader(lambda _: ()).read_page(page_of(TEXTS))
    assert (page.regions, page.error, page.text) == ((), None, "")


def test_words_lie_on_the_page_where_they_are_written(make_reader: Callable[..., PageReader]):
    page = make_reader().read_page(page_of(TEXTS))
    boxes = [word.polygon.bounds for word in page.lines[0].transcript.words]
    # The line starts at 40; characters and the gaps between them are as wide as four model pixels.
    assert [box.x0 for box in boxes] == pytest.approx([40 + 16 * column for column in (1, 5, 13)], abs=16)
    assert [box.x1 for box in boxes] == pytest.approx([40 + 16 * column for column in (2, 10, 18)], abs=16)


def test_words_of_a_line_that_sticks_out_end_at_the_border(make_reader: Callable[..., PageReader]):
    def slanted(image: UInt8Image) -> tuple[Region, ...]:
        (region,) = every_line(image)
        baseline = ((0.0, 100.0), (500.0, HEIGHT + 60.0))
        return (replace(region, lines=(Line(baseline, region.lines[0].polygon),)),)

    page = make_reader(slanted).read_page(page_of(["abcde abc"], width=450))
    points = [point for line in page.lines for word in line.transcript.words for point in word.polygon.points]
    assert points
    assert all(0 <= x <= page.width and 0 <= y <= page.height for x, y in points)


def test_a_line_that_cannot_be_cut_out_stays_without_a_transcript(
    make_reader: Callable[..., PageReader], caplog: pytest.LogCaptureFixture
):
    def with_a_flat_line(image: UInt8Image) -> tuple[Region, ...]:
        first, *rest = every_line(image)
        flat = Line(((5.0, 5.0), (5.0, 5.0)), first.polygon)
        return (Region(first.polygon, (flat, *first.lines)), *rest)

    with open_document(png(page_of(TEXTS)), name="letter.png") as document:
        (page,) = make_reader(with_a_flat_line).pages(document)
    assert texts_of(page) == [None, *TEXTS]
    assert "letter.png: the line from (5, 5) to (5, 5) has a baseline without length" in caplog.text


def test_an_image_taken_as_a_line_is_read_whole(line_reader: PageReader):
    page = line_reader.read_page(bar_line("a bad cab"))
    (line,) = page.lines
    assert line.transcript.text == "a bad cab"
    assert line.polygon.bounds.width == page.width
    assert line.transcript.words[-1].polygon.bounds.x1 <= page.width


def test_an_image_of_another_form_is_refused(line_reader: PageReader):
    with pytest.raises(ImageError, match="float64"):
        line_reader.read_page(np.zeros((20, 20, 3)))


def test_an_unknown_line_finder_is_refused():
    with pytest.raises(UsageError, match="did you mean 'classical'"):
        PageReader(bar_recognizer(), "bars", PageConfig(segmenter="classic"))


def test_a_reading_has_the_name_of_its_input(line_reader: PageReader, tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(bar_line("dead")))
    reading = line_reader.read(tmp_path / "a.png", "letters/a.png")
    assert (reading.source, reading.pages[0].source, reading.pages[0].number) == ("letters/a.png", "letters/a.png", 1)


def test_bytes_are_read_as_stdin(line_reader: PageReader):
    reading = line_reader.read(png(bar_line("dead")))
    assert (reading.source, reading.text, reading.error) == ("-", "dead", None)


def test_a_reading_tells_what_it_was_made_with(line_reader: PageReader):
    provenance = line_reader.read(png(bar_line("dead"))).provenance
    assert (provenance["software"], provenance["model"]) == ("quillread", "bars")
    assert provenance["settings"]["lines"] is True


def test_all_pages_are_read_in_order(line_reader: PageReader, tmp_path: Path):
    path = save_tiff(tmp_path / "a.tif", [bar_line(text) for text in TEXTS])
    reading = line_reader.read(path)
    assert [(page.number, page.text) for page in reading.pages] == list(enumerate(TEXTS, 1))


def test_a_bad_page_carries_its_error_and_the_others_are_read(line_reader: PageReader, tmp_path: Path):
    path = save_tiff(tmp_path / "a.tif", [bar_line(text) for text in TEXTS])
    damage_page(path, 1)
    reading = line_reader.read(path)
    assert reading.error is None
    assert [page.text for page in reading.pages] == ["a bad cab", "", "bead"]
    (error,) = reading.errors
    assert error.startswith(f"{path}, page 2: cannot be decoded")


def test_an_input_of_one_bad_page_failed(line_reader: PageReader):
    reading = line_reader.read(png(bar_line("dead"))[:100], "a.png")
    assert reading.pages == ()
    assert reading.error is not None
    assert reading.error.startswith("a.png: ")


def test_an_input_of_bad_pages_only_failed(line_reader: PageReader, tmp_path: Path):
    path = save_tiff(tmp_path / "a.tif", [bar_line(text) for text in TEXTS[:2]])
    damage_page(path, 0)
    damage_page(path, 1)
    reading = line_reader.read(path)
    assert reading.error == f"{path}: none of its 2 pages could be read"
    assert [page.error is None for page in reading.pages] == [False, False]


def test_an_input_that_cannot_be_opened_failed(line_reader: PageReader, tmp_path: Path):
    reading = line_reader.read(tmp_path / "none.png")
    assert reading.pages == ()
    assert reading.errors[0].startswith(f"{tmp_path / 'none.png'}: no such file\n  hint: ")


def test_a_name_that_the_file_system_cannot_hold_is_an_input_that_failed(line_reader: PageReader):
    reading = line_reader.read(Path("x" * 300))
    assert reading.error is not None
    assert "cannot be read: File name too long" in reading.error


def failing(error: Exception) -> LineRecognizer:
    class Backend(BarBackend):
        def __call__(self, lines: Sequence[np.ndarray]) -> list[np.ndarray]:
            raise error

    return LineRecognizer(CtcEngine(Backend(), bar_info()), bar_info())


def test_a_fault_of_ours_is_told_as_one_and_shows_no_trace(caplog: pytest.LogCaptureFixture):
    reader = PageReader(failing(RuntimeError("boom")), "bars", PageConfig(lines=True))
    with caplog.at_level(logging.WARNING):
        reading = reader.read(png(bar_line("dead")), "a.png")
    assert reading.error is not None
    assert reading.error.startswith("a.png: internal error: RuntimeError('boom')\n  hint: ")
    assert caplog.text == ""


def test_the_trace_of_a_fault_of_ours_is_logged_for_those_who_ask(caplog: pytest.LogCaptureFixture):
    reader = PageReader(failing(RuntimeError("boom")), "bars", PageConfig(lines=True))
    with caplog.at_level(logging.INFO):
        reader.read(png(bar_line("dead")), "a.png")
    assert "Traceback" in caplog.text


def test_a_page_too_large_for_the_memory_says_what_to_lower():
    reader = PageReader(failing(MemoryError()), "bars", PageConfig(lines=True))
    error = reader.read(png(bar_line("dead")), "a.png").error
    assert error is not None
    assert error.startswith("a.png: is too large for the memory\n  hint: lower read.max_pixels")


def test_an_error_of_a_later_step_names_the_input():
    reader = PageReader(failing(ImageError("is no line")), "bars", PageConfig(lines=True))
    assert reader.read(png(bar_line("dead")), "a.png").error == "a.png: is no line"


def test_ctrl_c_is_not_taken_for_a_bad_page():
    class Backend(BarBackend):
        def __call__(self, lines: Sequence[np.ndarray]) -> list[np.ndarray]:
            raise KeyboardInterrupt

    reader = PageReader(LineRecognizer(CtcEngine(Backend(), bar_info()), bar_info()), "bars", PageConfig(lines=True))
    with pytest.raises(KeyboardInterrupt):
        reader.read(png(bar_line("dead")))


# --- a sheet laid flat ------------------------------------------------------------------------------------------------


@pytest.fixture
def flattened(monkeypatch: pytest.MonkeyPatch) -> UInt8Image:
    """An image of which the sheet, as `flatten_sheet` says, begins at (30, 20) and shows a line."""
    sheet = page_of(["a bad cab"])
    image = np.full((400, 600, 3), 200, np.uint8)
    monkeypatch.setattr(transcribe, "flatten_sheet", lambda image: (sheet, AffineMap.shift(30, 20)))
    return image


def test_what_is_read_on_a_flattened_sheet_lies_on_the_image(
    make_reader: Callable[..., PageReader], flattened: UInt8Image
):
    page = make_reader(lambda _: (Region(line_at(0).polygon, (line_at(0),)),), flatten=True).read_page(flattened)
    (line,) = page.lines
    assert (page.width, page.height, page.text) == (600, 400, "a bad cab")
    assert line.baseline == tuple((x + 30, y + 20) for x, y in line_at(0).baseline)
    assert line.polygon.points == tuple((x + 30, y + 20) for x, y in line_at(0).polygon.points)
    assert page.regions[0].polygon == line.polygon
    assert line.transcript is not None
    assert line.transcript.words[0].polygon.bounds.y0 == 20


def test_what_lies_beyond_the_image_is_moved_to_its_border(
    make_reader: Callable[..., PageReader], flattened: UInt8Image
):
    wide = line_at(0, width=900)
    page = make_reader(lambda _: (Region(wide.polygon, (wide,)),), flatten=True).read_page(flattened)
    assert page.lines[0].polygon.bounds.x1 == 600


def test_a_sheet_is_laid_flat_only_if_that_is_asked_for(make_reader: Callable[..., PageReader], flattened: UInt8Image):
    seen: list[tuple[int, ...]] = []

    def segment(image: UInt8Image) -> tuple[Region, ...]:
        seen.append(image.shape)
        return ()

    for flatten in (False, True):
        make_reader(segment, flatten=flatten).read_page(flattened)
    assert seen == [(400, 600, 3), (PITCH, 500, 3)]


def test_given_lines_are_read_on_the_image_as_it_is(flattened: UInt8Image):
    class Known:
        def find(self, source: str, number: int, count: int, size: tuple[int, int]) -> tuple[Region, ...]:
            assert (source, number, count, size) == ("a.png", 1, 1, (500, PITCH))
            return (Region(line_at(0).polygon, (line_at(0),), "block"),)

    reader = PageReader(bar_recognizer(), "bars", PageConfig(crop=CropConfig(margin=0)), Known())
    (page,) = reader.read(png(page_of(["dead"])), "a.png").pages
    assert (page.text, page.regions[0].id, page.lines[0].baseline) == ("dead", "block", line_at(0).baseline)


# --- page by page -----------------------------------------------------------------------------------------------------


class Notes:
    """Writes down what it is given."""

    def __init__(self) -> None:
        self.said: list[object] = []

    def begin(self, info: ExportInfo) -> None:
        self.said.append(("begin", info.source, info.page_count))

    def add(self, scan: Scan) -> None:
        self.said.append((scan.page.number, scan.page.text, scan.image is None, scan.page.error is None))

    def close(self, error: str | None) -> None:
        self.said.append(error)


def test_pages_are_handed_on_as_they_are_read(line_reader: PageReader, tmp_path: Path):
    path = save_tiff(tmp_path / "a.tif", [bar_line(text) for text in TEXTS])
    damage_page(path, 1)
    notes = Notes()
    (error,) = line_reader.stream(path, notes, "a.tif")
    assert error.startswith("a.tif, page 2: cannot be decoded")
    assert notes.said == [
        ("begin", "a.tif", 3),
        (1, "a bad cab", False, True),
        (2, "", True, False),
        (3, "bead", False, True),
        None,
    ]


def test_a_known_page_whose_image_is_gone_keeps_its_text(line_reader: PageReader, tmp_path: Path):
    path = save_tiff(tmp_path / "a.tif", [bar_line(text) for text in TEXTS])
    known = {page.number: page for page in line_reader.read(path, "a.tif").pages}
    damage_page(path, 1)
    notes = Notes()
    (error,) = line_reader.stream(path, notes, "a.tif", known.get)
    assert error.startswith("a.tif, page 2: cannot be decoded")
    assert error.endswith("its text was read before and is kept")
    assert notes.said[2] == (2, known[2].text, True, True)
    assert known[2].text
    assert notes.said[-1] is None


def test_known_pages_without_images_are_no_failed_input(line_reader: PageReader, tmp_path: Path):
    path = save_tiff(tmp_path / "a.tif", [bar_line("dead")] * 2)
    known = {page.number: page for page in line_reader.read(path).pages}
    damage_page(path, 0)
    damage_page(path, 1)
    notes = Notes()
    assert len(line_reader.stream(path, notes, known=known.get)) == 2
    assert notes.said[-1] is None


def test_an_input_that_cannot_be_opened_has_no_pages(line_reader: PageReader, tmp_path: Path):
    notes = Notes()
    errors = line_reader.stream(tmp_path / "none.png", notes, "none.png")
    assert notes.said == [("begin", "none.png", 0), *errors]


def test_what_a_receiver_raises_is_not_taken_for_a_bad_page(line_reader: PageReader):
    class Full(Notes):
        def add(self, scan: Scan) -> None:
            raise OutputError("the disk is full")

    with pytest.raises(OutputError):
        line_reader.stream(png(bar_line("dead")), Full())


def test_a_page_that_fails_after_decoding_keeps_its_image_and_size(tmp_path: Path):
    path = save_tiff(tmp_path / "a.tif", [bar_line("dead")] * 2)
    reader = PageReader(failing(RuntimeError("boom")), "bars", PageConfig(lines=True))
    with open_document(path) as document:
        for scan in reader.scans(document):
            assert scan.image is not None
            assert (scan.page.height, scan.page.width) == scan.image.shape[:2]


def test_one_image_is_kept_at_a_time(line_reader: PageReader, tmp_path: Path):
    path = save_tiff(tmp_path / "a.tif", [bar_line("dead")] * 4)
    alive: list[weakref.ref[UInt8Image]] = []

    class Watch(Notes):
        def add(self, scan: Scan) -> None:
            assert scan.image is not None
            assert [image for image in alive if image() is not None] == []
            alive.append(weakref.ref(scan.image))

    line_reader.stream(path, Watch())
    assert len(alive) == 4
