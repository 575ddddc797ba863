from dataclasses import replace

import numpy as np
import pytest
from documents import ODD, blank, failed, line, page, scan

from quillread.errors import Fault
from quillread.formats.overlay import colour_of, draw_overlay
from quillread.types import Line, Page, Polygon, Region, Scan, UInt8Image


def drawn(item: Scan) -> UInt8Image:
    picture = draw_overlay(item)
    assert picture is not None
    return picture


def test_the_page_and_its_text_stand_side_by_side():
    picture = drawn(scan())
    assert picture.shape == (1400, 2000, 3)
    assert picture.dtype == np.uint8
    left, right = picture[:, :1000], picture[:, 1001:]
    assert (left[0, 0] == (230, 225, 210)).all()
    # Text stands where its line does, and nowhere else.
    inked = (right < 200).any(axis=(1, 2))
    assert inked[105:150].any()
    assert not inked[300:390].any()


def test_a_large_page_is_made_smaller():
    big = replace(blank(), page=Page("a", 1, 4000, 3000), image=np.zeros((3000, 4000, 3), np.uint8))
    assert drawn(big).shape == (1500, 4000, 3)


def test_lines_are_tinted_by_the_confidence_of_their_words():
    def tint(confidence: float) -> np.ndarray:
        source = line("Dear", 100)
        assert source.transcript
        words = tuple(replace(word, confidence=confidence) for word in source.transcript.words)
        item = replace(source, transcript=replace(source.transcript, words=words))
        found = Page("a", 1, 1000, 1400, (Region(item.polygon, (item,)),))
        return drawn(Scan(found, np.full((1400, 1000, 3), 255, np.uint8)))[104, 160].astype(int)

    red, green = tint(0.0), tint(1.0)
    assert red[0] > red[1] + 20
    assert green[1] > green[0] + 20


def test_a_line_that_was_not_read_is_grey():
    picture = drawn(replace(scan(), image=np.full((1400, 1000, 3), 255, np.uint8)))
    red, green, blue = picture[510, 250].tolist()
    assert red == green == blue < 255


@pytest.mark.parametrize(
    ("confidence", "colour"), [(-1.0, (200, 30, 30)), (0.0, (200, 30, 30)), (0.5, (200, 130, 0)), (1.0, (0, 120, 60))]
)
def test_colours_go_from_red_over_amber_to_green(confidence: float, colour: tuple[int, int, int]):
    assert colour_of(confidence) == colour


def test_a_page_without_an_image_has_no_picture():
    assert draw_overlay(failed()) is None


def test_a_page_that_failed_says_why():
    item = replace(scan(), page=Page("a", 1, 1000, 1400, fault=Fault("image", "broken")))
    assert (drawn(item)[:60, 1001:] < 200).any()


def test_letters_with_accents_are_drawn_and_not_as_boxes():
    def text(letters: str) -> UInt8Image:
        item = line(letters, 100)
        return drawn(Scan(Page("a", 1, 1000, 1400, (Region(item.polygon, (item,)),)), scan().image))[:, 1001:]

    shapes = [text(letter) for letter in ("é", "è", "ж", "ω", "\ufffd")]
    for i, one in enumerate(shapes):
        assert (one < 200).any()
        assert not any((one == other).all() for other in shapes[i + 1 :])


def test_odd_text_is_drawn():
    assert page().lines[2].transcript.text == ODD  # type: ignore[union-attr]
    assert drawn(scan()).any()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_text_runs_as_its_line_does(quarters: int):
    def turned(x: float, y: float) -> tuple[float, float]:
        return ((x, y), (y, 1000 - x), (1000 - x, 1000 - y), (1000 - y, x))[quarters]

    level = line("Dear Sir", 500)
    words = tuple(
        replace(word, polygon=Polygon(tuple(turned(*point) for point in word.polygon.points)))
        for word in level.transcript.words
    )
    outline = Polygon(tuple(turned(*point) for point in level.polygon.points))
    item = Line(tuple(turned(*point) for point in level.baseline), outline, replace(level.transcript, words=words))

    def text_beside(shown: Line) -> np.ndarray:
        page = Page("a.png", 1, 1000, 1000, (Region(shown.polygon, (shown,)),))
        return draw_overlay(Scan(page, np.full((1000, 1000, 3), 255, np.uint8)))[:, 1001:]

    def box(picture: np.ndarray) -> tuple[int, ...]:
        ys, xs = np.nonzero(picture.min(axis=2) < 200)
        return int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())

    upright = np.rot90(text_beside(item), -quarters)
    assert np.allclose(box(upright), box(text_beside(level)), atol=3)
