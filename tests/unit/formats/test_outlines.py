import tracemalloc
from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
import pytest
from documents import box

from quillread.formats.outlines import fit_words, line_pitch, outline_lines
from quillread.images.crop import Outline
from quillread.images.geometry import outline
from quillread.types import Box, Line, Page, Polygon, Region, Word


def page(*lines: Line) -> Page:
    return Page("a.jpg", 1, 1000, 1000, (Region(lines[0].polygon, lines, "block"),))


def bare(y: float, x0: float = 100.0, x1: float = 500.0) -> Line:
    """A line as the readers give it if its file has a baseline only."""
    return Line(((x0, y), (x1, y)), box(x0, y, x1, y), None, f"l{y:.0f}")


def test_a_line_without_an_outline_gets_one_as_high_as_lines_are_apart():
    first = outline_lines(page(bare(200), bare(300), bare(400))).lines[0]
    assert first.polygon.bounds == Box(75, 125, 525, 230)
    assert (first.id, first.baseline) == ("l200", bare(200).baseline)


def test_a_slanted_line_gets_a_slanted_outline():
    slanted = replace(bare(200), baseline=((100.0, 200.0), (500.0, 300.0)), polygon=box(100, 200, 500, 300))
    corners = outline_lines(page(slanted)).lines[0].polygon.points
    start, stop = corners[0], corners[len(corners) // 2 - 1]
    assert (stop[1] - start[1]) / (stop[0] - start[0]) == pytest.approx(0.25)


def test_outlines_of_the_file_stay_unless_they_are_not_wanted():
    own = replace(bare(200), polygon=box(90, 190, 510, 205))
    assert outline_lines(page(own, bare(300))).lines[0] == own
    assert outline_lines(page(own, bare(300)), "baseline").lines[0].polygon.bounds.height == pytest.approx(105)


def test_a_baseline_without_length_is_left_as_it_is():
    dot = Line(((5.0, 5.0), (5.0, 5.0)), Polygon(((5.0, 5.0), (5.0, 5.0), (5.0, 5.0))))
    for which in get_args(Outline):
        assert outline_lines(page(dot), which).lines == (dot,)


def test_a_baseline_of_one_place_beside_an_outline_leaves_that():
    dot = Line(((50.0, 50.0), (50.0, 50.0)), box(10, 30, 90, 60))
    assert outline_lines(page(dot, bare(200)), "both").lines[0] == dot


def test_the_pitch_is_the_usual_distance_of_lines_below_each_other():
    assert line_pitch(page(bare(100), bare(150), bare(200), bare(320), bare(120, 600, 900))) == 50
    assert line_pitch(page(bare(100))) == 40  # a tenth of the only line
    assert line_pitch(Page("a", 1, 9, 9)) == 1


def test_an_upright_baseline_alone_on_a_page_has_an_outline():
    upright = Line(((50.0, 100.0), (50.0, 400.0)), Polygon(((50.0, 100.0), (50.0, 400.0), (50.0, 100.0))))
    assert outline_lines(page(upright)).lines[0].polygon.bounds.height >= 300


def test_an_outline_of_crossed_corners_is_the_hull_of_them():
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = box(100, 150, 500, 210).points
    tie = replace(bare(200), polygon=Polygon(((x0, y0), (x2, y2), (x1, y1), (x3, y3))))
    assert outline_lines(page(tie, bare(300))).lines[0].polygon.bounds == Box(100, 150, 500, 210)
    assert area(outline_lines(page(tie, bare(300))).lines[0]) == 400 * 60


def test_an_outline_with_a_small_loop_or_a_bend_stays():
    loop = Polygon(((100, 150), (300, 150), (290, 160), (310, 160), (300, 150), (500, 150), (500, 210), (100, 210)))
    arc = np.linspace(0.2, np.pi - 0.2, 30)
    ring = np.vstack(
        [500 + radius * np.column_stack((np.cos(a), -np.sin(a))) for radius, a in ((300, arc), (270, arc[::-1]))]
    )
    for own in (loop, Polygon(tuple(map(tuple, ring.tolist())))):
        line = replace(bare(205), polygon=own)
        assert outline_lines(page(line)).lines[0] == line


def area(line: Line) -> float:
    return cv2.contourArea(np.array(line.polygon.points, np.float32))


def lines_with_outlines(top: float, bottom: float) -> Page:
    """Baselines 100 apart, with boxes from so far above to so far below them."""
    return page(*(replace(bare(y), polygon=box(90, y - top, 510, y + bottom)) for y in (200.0, 300.0, 400.0)))


def test_thin_outlines_are_widened_to_the_band_along_the_baseline():
    line = outline_lines(lines_with_outlines(40, 15), "both").lines[1]
    assert within(line.polygon.bounds, Box(75, 225, 525, 330))


def test_outlines_keep_what_stands_out_of_the_band_but_not_of_the_neighbours():
    line = outline_lines(lines_with_outlines(80, 38), "both").lines[1]
    assert within(line.polygon.bounds, Box(75, 220, 525, 338))
    spread = lines_with_outlines(60, 20)
    first, second, third = spread.lines
    spike = Polygon(((90, 240), (300, 240), (305, 110), (310, 240), (510, 240), (510, 320), (90, 320)))
    line = outline_lines(page(first, replace(second, polygon=spike), third), "both").lines[1]
    assert within(line.polygon.bounds, Box(75, 215, 525, 330), 4)


def test_a_heading_keeps_its_height():
    heading = replace(bare(200), polygon=box(100, 20, 500, 250))
    small = [replace(bare(y), polygon=box(100, y - 30, 500, y + 10)) for y in (300.0, 340.0, 380.0, 420.0)]
    assert within(outline_lines(page(heading, *small), "both").lines[0].polygon.bounds, Box(90, 20, 510, 250), 2)


def test_lines_far_apart_have_no_band_as_high_as_their_distance():
    lines = [replace(bare(y), polygon=box(100, y - 30, 500, y + 10)) for y in (200.0, 900.0)]
    assert outline_lines(page(*lines), "both").lines[0].polygon.bounds.height < 100


def test_a_line_without_a_baseline_of_its_own_keeps_its_outline():
    made = replace(bare(230), polygon=box(100, 150, 500, 230))  # as the readers give it
    for name in get_args(Outline):
        assert outline_lines(page(made, bare(330)), name).lines[0] == made


@pytest.mark.parametrize(
    "baseline", [((700.0, 800.0), (900.0, 800.0)), ((110.0, 200.0), (115.0, 200.0), (110.0, 200.0))]
)
def test_a_baseline_that_says_nothing_leaves_the_outline(baseline: tuple[tuple[float, float], ...]):
    line = Line(baseline, box(90, 150, 510, 215))
    assert outline_lines(page(line, bare(300)), "both").lines[0] == line


def test_the_pitch_of_lines_that_run_downwards_is_their_distance():
    lines = [Line(((x, 100.0), (x, 500.0)), box(x - 9, 100, x + 9, 500)) for x in (100.0, 160.0, 220.0)]
    assert line_pitch(page(*lines)) == 60


def test_thousands_of_lines_are_compared_in_little_memory():
    lines = [bare(float(y), x, x + 3) for y in range(0, 1000, 20) for x in range(0, 400, 5)]
    tracemalloc.start()
    try:
        assert line_pitch(page(*lines)) == 20
        assert tracemalloc.get_traced_memory()[1] < 75 << 20
    finally:
        tracemalloc.stop()


def within(box: Box, other: Box, by: float = 3) -> bool:
    pairs = ((box.x0, other.x0), (box.y0, other.y0), (box.x1, other.x1), (box.y1, other.y1))
    return all(abs(a - b) <= by for a, b in pairs)


def outside(part: Polygon, whole: Polygon) -> float:
    """How far a polygon reaches out of another, in pixels."""
    rim = np.array(whole.points, np.float32)
    sides = outline(np.array(part.points), 1.0)
    return max(-cv2.pointPolygonTest(rim, (float(x), float(y)), True) for x, y in sides)


def word_at(x0: float, x1: float, turn: float = 0.0) -> Word:
    """A word of a line at y = 200 on the page, turned around (100, 200) by an angle."""
    corners = np.array(((x0, 140), (x1, 140), (x1, 240), (x0, 240))) - (100, 200)
    spun = corners @ np.array(((np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn)))) + (100, 200)
    return Word("x", 0.5, Polygon(tuple((x, y) for x, y in spun.tolist())))


@pytest.mark.parametrize("turn", [0.0, 0.1, -0.3, np.pi / 2, np.pi])
def test_words_have_their_part_of_the_outline_of_the_line(turn: float):
    upper = [(90, 160), (150, 158), (150, 145), (200, 150), (260, 172), (300, 150), (420, 165), (510, 150)]
    lower = [(510, 215), (400, 235), (398, 212), (300, 220), (220, 220), (219, 234), (210, 236), (209, 214), (90, 210)]
    rim = np.array((*upper, *lower), float) - (100, 200)
    spun = rim @ np.array(((np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn)))) + (100, 200)
    line = replace(bare(200), polygon=Polygon(tuple((x, y) for x, y in spun.tolist())))
    words = fit_words(line, [word_at(85, 145, turn), word_at(160, 290, turn), word_at(300, 520, turn)])
    for word in words:
        assert outside(word.polygon, line.polygon) < 0.6
    areas = [cv2.contourArea(np.array(word.polygon.points, np.float32)) for word in words]
    assert 0.9 < sum(areas) / (area(line) - 25 * 60) < 1.1  # all of the line but the gaps between its words


def test_a_word_beside_its_line_stays_within_its_bounds():
    line = replace(bare(200), polygon=box(90, 150, 510, 215))
    beside = Word("x", 0.5, box(505, 300, 600, 340))
    odd = Word("x", 0.5, Polygon(((100, 100), (200, 100), (150, 300))))
    assert [outside(word.polygon, line.polygon) for word in fit_words(line, [beside, odd])] == [0, 0]


def test_an_outline_of_very_many_corners_costs_no_more_than_its_bounds():
    zigzag = tuple((90 + i / 100, 150.0 + 20 * (i % 2)) for i in range(40_000))
    line = replace(bare(200), polygon=Polygon((*zigzag, (490, 215), (90, 215))))
    (word,) = fit_words(line, [word_at(160, 290)])
    assert word.polygon.bounds == Box(160, 150, 290, 215)


def test_a_word_that_is_the_line_keeps_its_outline():
    line = replace(bare(200), polygon=box(90, 150, 510, 215))
    whole = Word("x", 0.5, line.polygon)
    assert fit_words(line, [whole]) == (whole,)
