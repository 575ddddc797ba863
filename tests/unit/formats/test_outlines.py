from dataclasses import replace

import pytest
from documents import box

from quillread.formats.ground_truth import line_pitch, outline_lines
from quillread.types import Box, Line, Page, Polygon, Region


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
    assert outline_lines(page(own, bare(300)), by_baseline=True).lines[0].polygon.bounds.height == pytest.approx(105)


def test_a_baseline_without_length_is_left_as_it_is():
    dot = Line(((5.0, 5.0), (5.0, 5.0)), Polygon(((5.0, 5.0), (5.0, 5.0), (5.0, 5.0))))
    assert outline_lines(page(dot)).lines == (dot,)


def test_the_pitch_is_the_usual_distance_of_lines_below_each_other():
    assert line_pitch(page(bare(100), bare(150), bare(200), bare(320), bare(120, 600, 900))) == 50
    assert line_pitch(page(bare(100))) == 40  # a tenth of the only line
    assert line_pitch(Page("a", 1, 9, 9)) == 1


def test_an_upright_baseline_alone_on_a_page_has_an_outline():
    upright = Line(((50.0, 100.0), (50.0, 400.0)), Polygon(((50.0, 100.0), (50.0, 400.0), (50.0, 100.0))))
    assert outline_lines(page(upright)).lines[0].polygon.bounds.height >= 300
