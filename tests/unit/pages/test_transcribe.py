from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import bar_info, bar_line, bar_recognizer
from PIL import Image

from quillread.errors import ImageError
from quillread.images.crop import CropConfig, Outline
from quillread.images.geometry import AffineMap
from quillread.pages import transcribe
from quillread.pages.segment import Layout, Segmenter
from quillread.pages.transcribe import PageTranscriber
from quillread.recognize.choosing import ChoosingReader
from quillread.types import Line, Page, Polygon, Region, Transcript, UInt8Image

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


def make(segment: Segment | None = every_line, *, flatten: bool = False) -> PageTranscriber:
    """Build what reads bars on pages, with a line finder of the test's own."""
    return PageTranscriber(bar_recognizer(), layout_of(segment), CropConfig(margin=0), flatten=flatten)


def layout_of(segment: Segment | None) -> Segmenter | None:
    return None if segment is None else lambda image: Layout(segment(image))


def texts_of(page: Page) -> list[str | None]:
    return [line.transcript.text if line.transcript else None for line in page.lines]


def test_lines_are_read_in_the_order_of_the_regions():
    page = make()(page_of(TEXTS))
    assert texts_of(page) == TEXTS
    assert page.text == "\n\n".join(TEXTS)


def test_a_page_is_read_the_same_by_any_number_of_threads():
    crop = CropConfig(margin=0)
    one, several = (
        PageTranscriber(bar_recognizer(), layout_of(every_line), crop, threads=threads)(page_of(TEXTS))
        for threads in (1, 4)
    )
    assert one == several
    assert texts_of(one) == TEXTS


def test_a_page_has_the_size_of_its_image():
    page = make()(page_of(TEXTS, width=600))
    assert (page.width, page.height) == (600, 3 * PITCH)


def test_a_page_without_lines_is_a_page():
    page = make(lambda _: ())(page_of(TEXTS))
    assert (page.regions, page.fault, page.text) == ((), None, "")


def test_words_lie_on_the_page_where_they_are_written():
    page = make()(page_of(TEXTS))
    boxes = [word.polygon.bounds for word in page.lines[0].transcript.words]
    # The line starts at 40; characters and the gaps between them are as wide as four model pixels.
    assert [box.x0 for box in boxes] == pytest.approx([40 + 16 * column for column in (1, 5, 13)], abs=16)
    assert [box.x1 for box in boxes] == pytest.approx([40 + 16 * column for column in (2, 10, 18)], abs=16)


def test_words_of_a_line_that_sticks_out_end_at_the_border():
    def slanted(image: UInt8Image) -> tuple[Region, ...]:
        (region,) = every_line(image)
        baseline = ((0.0, 100.0), (500.0, HEIGHT + 60.0))
        return (replace(region, lines=(Line(baseline, region.lines[0].polygon),)),)

    page = make(slanted)(page_of(["abcde abc"], width=450))
    points = [point for line in page.lines for word in line.transcript.words for point in word.polygon.points]
    assert points
    assert all(0 <= x <= page.width and 0 <= y <= page.height for x, y in points)


def test_a_line_that_cannot_be_cut_out_stays_without_a_transcript():
    def with_a_flat_line(image: UInt8Image) -> tuple[Region, ...]:
        first, *rest = every_line(image)
        flat = Line(((5.0, 5.0), (5.0, 5.0)), first.polygon)
        return (Region(first.polygon, (flat, *first.lines)), *rest)

    page = make(with_a_flat_line)(page_of(TEXTS))
    assert texts_of(page) == [None, *TEXTS]
    assert page.notes == ("the line from (5, 5) to (5, 5) has a baseline without length",)


def test_an_image_taken_as_a_line_is_read_whole():
    page = make(None)(bar_line("a bad cab"))
    (line,) = page.lines
    assert line.transcript.text == "a bad cab"
    assert line.polygon.bounds.width == page.width
    assert line.transcript.words[-1].polygon.bounds.x1 <= page.width


def test_an_image_of_another_form_is_refused():
    with pytest.raises(ImageError, match="float64"):
        make(None)(np.zeros((20, 20, 3)))


def test_a_negative_is_read_inverted_and_told():
    seen: list[UInt8Image] = []
    image = np.array(Image.open(Path(__file__).parents[2] / "data" / "page.jpg").convert("RGB"))
    negative = 255 - image
    page = make(lambda found: seen.append(found) or ())(negative)
    assert (seen[0] == image).all()
    assert (negative == 255 - image).all()
    assert page.notes[0] == "a negative, light writing on a dark ground: read inverted"


def test_lines_that_are_known_are_read_and_none_are_looked_for():
    def never(image: UInt8Image) -> tuple[Region, ...]:
        raise AssertionError("lines are known")

    known = (Region(line_at(PITCH).polygon, (replace(line_at(PITCH), id="l7"),), "block"),)
    page = make(never, flatten=True)(page_of(TEXTS), known)
    assert texts_of(page) == ["dead"]
    assert (page.regions[0].id, page.lines[0].id, page.lines[0].baseline) == ("block", "l7", line_at(PITCH).baseline)


@pytest.mark.parametrize(("outline", "rows"), [("polygon", 22), ("both", 47), ("baseline", 53)])
def test_known_lines_with_thin_outlines_are_cut_wider_and_keep_their_outlines(outline: Outline, rows: int):
    baselines = [((40.0, y), (440.0, y)) for y in (100.0, 150.0, 200.0)]
    lines = tuple(
        Line(((x0, y), (x1, y)), Polygon(((x0, y - 15), (x1, y - 15), (x1, y + 5), (x0, y + 5))))
        for (x0, y), (x1, _) in baselines
    )
    seen: list[int] = []

    class Notes(SeesTwoRows):
        def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
            seen.extend(image.shape[0] for image in images)
            return super().read(images)

    known = (Region(lines[0].polygon, lines),)
    config = CropConfig(margin=0, outline=outline)
    page = PageTranscriber(Notes(), None, config)(np.full((300, 500, 3), 255, np.uint8), known)
    assert seen == pytest.approx([rows] * 3, abs=4)
    assert [line.polygon for line in page.lines] == [line.polygon for line in lines]


def test_a_known_line_without_an_outline_gets_one_and_is_cut_as_high_as_the_lines_beside_it():
    lines = [
        Line(((40.0, y), (440.0, y)), Polygon(((40, y - 15), (440, y - 15), (440, y + 5), (40, y + 5))))
        for y in (100.0, 400.0, 700.0)
    ]
    bare = ((40.0, 1000.0), (440.0, 1000.0))
    lines.append(Line(bare, Polygon((*bare, *bare[::-1]))))  # as the readers of PAGE and ALTO return it
    seen: list[int] = []

    class Notes(SeesTwoRows):
        def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
            seen.extend(image.shape[0] for image in images)
            return super().read(images)

    known = (Region(lines[0].polygon, tuple(lines)),)
    page = PageTranscriber(Notes(), None, CropConfig(margin=0))(np.full((1300, 500, 3), 255, np.uint8), known)
    assert page.lines[3].polygon.bounds.height == pytest.approx(315, abs=1)  # the band along its baseline
    assert seen[3] == pytest.approx(42, abs=4)  # lines are 300 apart, and outlines 20 high


class SeesTwoRows:
    """Reads nothing, and says that every line image holds two rows of writing."""

    info = bar_info()

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        return [Transcript("", 0.5, rows=2) for _ in images]


@pytest.mark.parametrize(
    ("segment", "told"),
    [
        (None, ("2 rows of writing in one line",)),
        (every_line, ("line 1 holds 2 rows of writing", "line 2 holds 2 rows of writing")),
    ],
    ids=["a line", "a page"],
)
def test_lines_that_hold_several_rows_are_told(segment: Segment | None, told: tuple[str, ...]):
    page = PageTranscriber(SeesTwoRows(), layout_of(segment), CropConfig())(page_of(TEXTS[:2]))
    assert page.notes == told


def test_a_page_on_which_nothing_is_found_says_so():
    assert make(lambda image: ())(page_of(TEXTS)).notes == ("no writing found",)


# --- a sheet laid flat ------------------------------------------------------------------------------------------------


@pytest.fixture
def flattened(monkeypatch: pytest.MonkeyPatch) -> UInt8Image:
    """An image of which the sheet, as `flatten_sheet` says, begins at (30, 20) and shows a line."""
    sheet = page_of(["a bad cab"])
    image = np.full((400, 600, 3), 200, np.uint8)
    monkeypatch.setattr(transcribe, "flatten_sheet", lambda image: (sheet, AffineMap.shift(30, 20)))
    return image


def test_what_is_read_on_a_flattened_sheet_lies_on_the_image(flattened: UInt8Image):
    page = make(lambda _: (Region(line_at(0).polygon, (line_at(0),)),), flatten=True)(flattened)
    (line,) = page.lines
    assert (page.width, page.height, page.text) == (600, 400, "a bad cab")
    assert line.baseline == tuple((x + 30, y + 20) for x, y in line_at(0).baseline)
    assert line.polygon.points == tuple((x + 30, y + 20) for x, y in line_at(0).polygon.points)
    assert page.regions[0].polygon == line.polygon
    assert line.transcript is not None
    assert line.transcript.words[0].polygon.bounds.y0 == 20


def test_what_lies_beyond_the_image_is_moved_to_its_border(flattened: UInt8Image):
    wide = line_at(0, width=900)
    page = make(lambda _: (Region(wide.polygon, (wide,)),), flatten=True)(flattened)
    assert page.lines[0].polygon.bounds.x1 == 600


def test_a_sheet_is_laid_flat_only_if_that_is_asked_for(flattened: UInt8Image):
    seen: list[tuple[int, ...]] = []

    def segment(image: UInt8Image) -> tuple[Region, ...]:
        seen.append(image.shape)
        return ()

    for flatten in (False, True):
        make(segment, flatten=flatten)(flattened)
    assert seen == [(400, 600, 3), (PITCH, 500, 3)]


def test_a_page_tells_which_of_several_models_was_chosen_for_it():
    readers = {"poor": bar_recognizer(certainty=0.5), "sure": bar_recognizer()}
    page = PageTranscriber(ChoosingReader(readers), layout_of(every_line), CropConfig(margin=0))(page_of(TEXTS))
    assert (page.model, texts_of(page)) == ("sure", TEXTS)


def test_a_line_image_tells_its_model_too():
    readers = {"poor": bar_recognizer(certainty=0.5), "sure": bar_recognizer()}
    page = PageTranscriber(ChoosingReader(readers), None, CropConfig())(bar_line("dead", SCALE))
    assert (page.model, texts_of(page)) == ("sure", ["dead"])


def test_a_page_without_lines_was_read_by_none():
    readers = {"poor": bar_recognizer(certainty=0.5), "sure": bar_recognizer()}
    page = PageTranscriber(ChoosingReader(readers), layout_of(lambda _: ()), CropConfig())(page_of(TEXTS))
    assert page.model == ""
