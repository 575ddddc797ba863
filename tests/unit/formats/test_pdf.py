import io
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pypdfium2
import pytest
from documents import box, export, failed, line, page, scan
from fontTools.ttLib import TTFont
from PIL import Image
from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE

import quillread.formats.pdf
from quillread.errors import Fault
from quillread.types import DocumentInfo, Line, Page, Polygon, Region, Scan, Transcript, Word

ASSETS = Path(quillread.formats.pdf.__file__).parent / "assets"


CAN_RUN_POPPLER = shutil.which("pdftotext") is not None
poppler = pytest.mark.skipif(not CAN_RUN_POPPLER, reason="needs pdftotext: apt-get install poppler-utils")


def text_of(content: bytes, index: int = 0) -> str:
    """The text of a page as PDFium gives it, without spaces at either end of a line."""
    with pypdfium2.PdfDocument(content) as pdf:
        lines = pdf[index].get_textpage().get_text_range().splitlines()
    return "\n".join(line.strip(" ") for line in lines)


def text_in_poppler(content: bytes, folder: Path, *options: str) -> str:
    path = folder / "a.pdf"
    path.write_bytes(content)
    out = subprocess.run(["pdftotext", *options, path, "-"], capture_output=True, encoding="utf-8", check=True)
    assert out.stderr == ""
    return out.stdout


def text_in_pypdf(content: bytes) -> str:
    pypdf = pytest.importorskip("pypdf")
    return str(pypdf.PdfReader(io.BytesIO(content)).pages[0].extract_text())


def boxes(content: bytes) -> dict[str, list[float]]:
    """Boxes of the words of the first page: left, top, right, bottom in points, y down."""
    with pypdfium2.PdfDocument(content) as pdf:
        page, text = pdf[0], pdf[0].get_textpage()
        height, whole, found = page.get_height(), pdf[0].get_textpage().get_text_range(), {}
        assert len(whole) == text.count_chars(), "the tests look words up by characters of the first plane"
        at = 0
        for word in whole.split():
            at = whole.index(word, at)
            places = np.array([text.get_charbox(i) for i in range(at, at + len(word))])
            low, high = places[:, :2].min(axis=0), places[:, 2:].max(axis=0)
            found[word] = [low[0], height - high[1], high[0], height - low[1]]
            at += len(word)
        return found


def one_line(item: Line, points: tuple[float, float] | None = (500.0, 700.0)) -> bytes:
    found = Page("a.png", 1, 1000, 1400, (Region(item.polygon, (item,)),))
    return export("pdf", Scan(found, scan().image, points), info=DocumentInfo("a.png"))


def test_words_stand_where_they_are_written():
    found = boxes(one_line(line("Dear Sir,", 100)))
    # Half a point is a pixel here; PDFium rounds the height of glyphs.
    assert found["Dear"] == pytest.approx([50, 50, 110, 75], abs=0.5)
    assert found["Sir,"] == pytest.approx([125, 50, 185, 75], abs=0.5)


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        (((900.0, 400.0), (900.0, 900.0), (850.0, 900.0), (850.0, 400.0)), [425, 200, 450, 450]),
        (((850.0, 900.0), (850.0, 400.0), (900.0, 400.0), (900.0, 900.0)), [425, 200, 450, 450]),
        (((500.0, 300.0), (100.0, 300.0), (100.0, 250.0), (500.0, 250.0)), [50, 125, 250, 150]),
    ],
    ids=["downwards", "upwards", "upside-down"],
)
def test_a_turned_word_stands_where_it_is_written(corners: Any, expected: list[float]):
    word = Word("turned", 0.9, Polygon(corners))
    found = boxes(one_line(Line((corners[3], corners[2]), Polygon(corners), Transcript("turned", 0.9, (word,)))))
    assert found["turned"] == pytest.approx(expected, abs=0.6)


def test_a_line_without_words_stands_where_it_is_written():
    item = Line(((100.0, 140.0), (400.0, 140.0)), box(100, 100, 400, 150), Transcript("whole", 0.9))
    assert boxes(one_line(item))["whole"] == pytest.approx([50, 50, 200, 75], abs=0.5)


TEXTS = [
    "Dear Sir, né l'été",
    "日本語 テスト",
    "Ελληνικά кириллица",
    "\U0001d518nicode \U0001f58b",
    "שלום",
    "e\u0301",
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_unicode_is_found_again(text: str):
    assert text_of(one_line(line(text, 100))) == text


@pytest.mark.parametrize("has_words", [True, False], ids=["words", "line"])
@pytest.mark.parametrize("text", ["ב1876 (שלום)", "سنة ١٨٧٦ (م)", "12/13 שלום", "בשנת 1876, היה"])
def test_numbers_and_brackets_in_a_line_from_right_to_left_are_found_again(text: str, has_words: bool):
    item, words, at = line(text, 100), [], 100.0 + 30 * len(text)
    for word in text.split():
        words.append(Word(word, 0.9, box(at - 30 * len(word), 100, at, 150)))
        at -= 30 * (len(word) + 1)
    read = Transcript(text, 0.9, tuple(words) if has_words else ())
    outline = box(100, 100, 100 + 30 * len(text), 150)
    assert text_of(one_line(replace(item, polygon=outline, transcript=read))) == text


def test_words_of_a_line_from_right_to_left_without_words_stand_from_the_right():
    item = Line(((100, 140), (400, 140)), box(100, 100, 400, 150), Transcript("שלום 123 בא", 0.9))
    found = boxes(one_line(item))
    assert found["שלום"][2] == pytest.approx(200, abs=0.5)
    assert found["בא"][0] == pytest.approx(50, abs=0.5)
    assert found["בא"][2] < found["123"][0] < found["שלום"][0]


@poppler
def test_pdftotext_finds_the_text_and_its_places(tmp_path: Path):
    found = text_in_poppler(one_line(line("Dear 日本 Sir,", 100)), tmp_path, "-bbox")
    places = re.findall(r'<word xMin="(.*?)" yMin="(.*?)" xMax="(.*?)" yMax="(.*?)">(.*?)<', found)
    assert [place[4] for place in places] == ["Dear", "日本", "Sir,"]
    corners = [[float(number) for number in place[:4]] for place in places]
    assert corners[0] == pytest.approx([50, 50, 110, 75], abs=0.03)
    assert corners[1] == pytest.approx([125, 50, 155, 75], abs=0.03)


def written_by_hand(rng: np.random.Generator, turns: int = 0) -> Page:
    """A page of 25 close lines: they slope, words turn by themselves, are of all heights and nearly touch."""
    lines = []
    for row in range(25):
        slope, along, words = np.radians(rng.uniform(-2, 2)), 60.0, []
        for _ in range(12):
            text = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz,'"), rng.integers(1, 9)))
            width, height = 16.0 * len(text), rng.uniform(35, 75)
            centre = along + width / 2, 120 + 60 * row + along * np.tan(slope)
            tilt = slope + np.radians(rng.uniform(-3, 3))
            x, y = (
                np.array([np.cos(tilt), np.sin(tilt)]) * width / 2,
                np.array([-np.sin(tilt), np.cos(tilt)]) * height / 2,
            )
            corners = np.array([-x - y, x - y, x + y, y - x]) + centre
            for _ in range(turns):
                corners = np.stack([1700 - corners[:, 1], corners[:, 0]], axis=1)
            words.append(Word(text, 0.9, Polygon(tuple(map(tuple, corners.tolist())))))
            along += width + rng.uniform(2, 25)
        shape, told = words[0].polygon, " ".join(word.text for word in words)
        lines.append(Line(shape.points[2:], shape, Transcript(told, 0.9, tuple(words))))
    return Page("a.png", 1, 1700, 1700, (Region(lines[0].polygon, tuple(lines)),))


@poppler
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_hardly_a_word_is_lost_in_pdftotext(turns: int, tmp_path: Path):
    found = written_by_hand(np.random.default_rng(0), turns)
    content = export("pdf", Scan(found, scan().image))
    for options in ((), ("-raw",), ("-layout",)):
        lost = Counter(found.text.split()) - Counter(text_in_poppler(content, tmp_path, *options).split())
        assert lost.total() <= 6  # of 300; with words turned each, some 25


@pytest.mark.parametrize("extract", [text_of, text_in_pypdf])
def test_no_word_is_lost_elsewhere(extract: Callable[[bytes], str]):
    found = written_by_hand(np.random.default_rng(0))
    assert not Counter(found.text.split()) - Counter(extract(export("pdf", Scan(found, scan().image))).split())


def tilted(degrees: float) -> Page:
    """A page of 20 lines of 9 words, 60 pixels apart and 50 high, photographed askew."""
    rng, lines = np.random.default_rng(0), []
    turn = np.array([[np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]])
    turn = np.vstack([turn, [[-turn[0, 1], turn[0, 0]]]])
    for row in range(20):
        along, words = 100.0, []
        for _ in range(9):
            text = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(1, 9)))
            outline = np.array(box(along, 250 + 60 * row, along + 18 * len(text), 300 + 60 * row).points)
            corners = (outline - 850) @ turn + 850
            words.append(Word(text, 0.9, Polygon(tuple(map(tuple, corners.tolist())))))
            along += 18 * len(text) + 20
        shape, told = words[0].polygon, " ".join(word.text for word in words)
        lines.append(Line(shape.points[2:], shape, Transcript(told, 0.9, tuple(words))))
    return Page("a.png", 1, 1700, 1700, (Region(lines[0].polygon, tuple(lines)),))


@poppler
@pytest.mark.parametrize("degrees", [-5, -2, 1, 2, 3, 5])
def test_lines_of_a_page_that_lies_askew_stay_whole(degrees: float, tmp_path: Path):
    found = tilted(degrees)
    content = export("pdf", Scan(found, scan().image))
    for told in (*(text_in_poppler(content, tmp_path, option) for option in ("-layout", "-raw")), text_of(content)):
        assert [" ".join(row.split()) for row in told.split("\n") if row.strip("\f ")] == found.text.split("\n")
    plain = text_in_poppler(content, tmp_path)
    assert [row for row in plain.split("\n") if row.strip("\f ")] == found.text.split("\n")


def test_words_of_a_line_that_slopes_are_covered_at_its_ends():
    corners = [box(x, 100 - x / 50, x + 80, 150 - x / 50) for x in range(0, 900, 100)]
    words = tuple(Word(f"word{n}", 0.9, outline) for n, outline in enumerate(corners))
    found = boxes(one_line(Line(((0, 150), (880, 132)), corners[0], Transcript("x", 0.9, words))))
    for word in words:
        middle = word.polygon.bounds.y0 / 2 + 12.5
        assert found[word.text][1] < middle < found[word.text][3]


def test_short_lines_of_a_page_that_lies_askew_keep_their_distance_from_long_ones():
    found = tilted(5)
    rows = []
    for number, item in enumerate(found.lines):
        words = item.transcript.words if item.transcript else ()
        words = words if number % 3 else words[:2]
        rows.append(replace(item, transcript=Transcript(" ".join(word.text for word in words), 0.9, words)))
    found = replace(found, regions=(replace(found.regions[0], lines=tuple(rows)),))
    assert text_of(export("pdf", Scan(found, scan().image))) == found.text


def test_a_word_without_text_leaves_the_others_as_they_are():
    first, empty = Word("first", 0.9, box(100, 100, 300, 150)), Word("", 0.9, box(310, 100, 400, 150))
    item = Line(((100, 140), (400, 140)), box(100, 100, 400, 150), Transcript("first", 0.9, (first, empty)))
    content = one_line(item)
    assert boxes(content)["first"] == pytest.approx([50, 50, 150, 75], abs=0.5)


def test_words_of_a_steep_line_stay_where_they_are():
    outlines = [box(x, 100 + x / 4, x + 80, 150 + x / 4) for x in (0, 200, 400)]
    words = tuple(Word(f"word{n}", 0.9, outline) for n, outline in enumerate(outlines))
    found = boxes(one_line(Line(((0, 150), (480, 250)), outlines[0], Transcript("x", 0.9, words))))
    assert [found[word.text][1] for word in words] == pytest.approx([50, 75, 100], abs=0.5)


def test_a_sloping_word_has_a_level_box_around_its_middle():
    corners = ((100.0, 100.0), (300.0, 120.0), (300.0, 170.0), (100.0, 150.0))
    found = one_line(Line(corners[2:], Polygon(corners), Transcript("slope", 0.9)))
    assert boxes(found)["slope"] == pytest.approx([50, 55, 150, 80], abs=0.5)


def test_lines_are_lines_of_the_text():
    assert text_of(export("pdf", scan())).startswith("Dear Sir,\nI am, yours\n")


def test_a_page_has_its_size_on_paper():
    with pypdfium2.PdfDocument(export("pdf", scan(points=(612.0, 792.0)))) as pdf:
        assert pdf[0].get_size() == pytest.approx((612, 792))


def test_a_page_of_unknown_size_is_as_long_as_a4():
    with pypdfium2.PdfDocument(export("pdf", scan())) as pdf:
        assert pdf[0].get_size() == pytest.approx((841.89 * 10 / 14, 841.89), abs=0.01)


def test_a_page_larger_than_a_pdf_may_have_is_made_smaller():
    with pypdfium2.PdfDocument(export("pdf", scan(points=(30000.0, 15000.0)))) as pdf:
        assert pdf[0].get_size() == pytest.approx((14400, 7200))


def test_the_text_is_invisible_over_the_image():
    with pypdfium2.PdfDocument(export("pdf", scan())) as pdf:
        pixels = pdf[0].render(scale=0.5).to_numpy()
    # JPEG keeps a plain surface but for rounding.
    assert np.abs(pixels[..., ::-1].astype(int) - (230, 225, 210)).max() <= 3


def test_black_and_white_stays_as_it_is():
    image = np.zeros((1400, 1000, 3), np.uint8)
    image[::3, ::5] = 255
    with pypdfium2.PdfDocument(export("pdf", replace(scan(), image=image))) as pdf:
        (found,) = pdf[0].get_objects([FPDF_PAGEOBJ_IMAGE])
        assert (found.get_bitmap().to_numpy().reshape(1400, 1000, -1)[..., 0] == image[..., 0]).all()


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_file_is_taken_as_it_is(mode: str):
    buffer = io.BytesIO()
    Image.fromarray(scan().image).convert(mode).save(buffer, "JPEG")  # type: ignore[arg-type]
    content = export("pdf", replace(scan(), jpeg=buffer.getvalue))
    assert buffer.getvalue() in content
    with pypdfium2.PdfDocument(content) as pdf:
        pixels = pdf[0].render(scale=0.2, grayscale=mode == "L").to_numpy()
    assert abs(int(pixels.mean()) - 222) < 5


def test_pages_follow_each_other_and_a_failed_one_says_so():
    content = export("pdf", scan(1), failed(2), scan(3))
    with pypdfium2.PdfDocument(content) as pdf:
        assert len(pdf) == 3
    assert text_of(content, 1) == "Page 2 could not be read."


def test_a_page_without_its_image_keeps_its_text_and_says_so():
    content = export("pdf", replace(scan(), image=None, missing=Fault("image", "a.pdf, page 1: HTTP 404")))
    text, whole = text_of(content, 0), text_of(export("pdf", scan()), 0)
    assert "The image of page 1 is not available." in text
    assert whole.split()
    assert set(whole.split()) <= set(text.split())


def test_a_page_that_failed_keeps_its_image():
    content = export("pdf", replace(scan(), page=Page("a.pdf", 1, 1000, 1400, fault=Fault("image", "broken"))))
    with pypdfium2.PdfDocument(content) as pdf:
        assert len(list(pdf[0].get_objects())) == 1


def test_the_title_is_the_input():
    with pypdfium2.PdfDocument(export("pdf", scan())) as pdf:
        assert pdf.get_metadata_value("Title") == "letters/a&b.pdf"


def test_a_lone_surrogate_does_not_break_the_text():
    assert text_of(one_line(line("a\ud800b", 100))) == "a\ufffdb"


def test_more_characters_than_a_section_of_the_table_holds_are_found_again():
    text = "".join(chr(0x4E00 + i) for i in range(250))
    assert text_of(one_line(Line(((10.0, 90.0), (990.0, 90.0)), box(10, 50, 990, 100), Transcript(text, 1.0)))) == text


def test_the_font_has_one_glyph_that_leaves_no_ink():
    font = TTFont(io.BytesIO((ASSETS / "glyphless.ttf").read_bytes()))
    assert [font["hmtx"][name] for name in font.getGlyphOrder()] == [(500, 0), (500, 0)]
    points = list(font["glyf"]["glyph00001"].coordinates)
    xs, ys = np.array(points, float).T
    assert (xs * np.roll(ys, -1) - ys * np.roll(xs, -1)).sum() == 0  # no area
    assert (min(ys), max(ys)) == (-400, 1200)  # without an extent, PDFium drops text that runs downwards


def test_pages_have_the_words_of_a_page_only():
    assert "yours" not in text_of(export("pdf", scan(1), replace(scan(2), page=Page("a", 2, 1000, 1400))), 1)
    assert page().text


def test_a_large_jpeg_goes_into_the_file_whatever_pillow_thinks_of_its_size(monkeypatch: pytest.MonkeyPatch):
    jpeg = io.BytesIO()
    Image.fromarray(scan().image).save(jpeg, "JPEG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    head, content = quillread.formats.pdf._encode_image(scan().image, jpeg.getvalue())
    assert content == jpeg.getvalue() and "/DCTDecode" in head


def test_an_image_that_is_longer_than_a_jpeg_can_be_is_made_shorter():
    image = np.full((65_501 + 99, 4, 3), (200, 190, 180), np.uint8)
    content = export("pdf", Scan(Page("a.png", 1, 4, len(image)), image))
    assert b"/Width 4 /Height 65500" in content
