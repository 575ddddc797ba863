import dataclasses
import os

import pytest

from quillread.errors import Fault
from quillread.types import Box, DocumentInfo, Line, Page, Polygon, Reading, Region, Transcript

SQUARE = Polygon(((1.0, 8.0), (5.0, 2.0), (9.0, 8.0)))


def region(*texts: str | None) -> Region:
    lines = (Line(((0.0, 0.0), (1.0, 0.0)), SQUARE, None if text is None else Transcript(text, 0.5)) for text in texts)
    return Region(SQUARE, tuple(lines))


def test_bounds_hold_all_points_of_a_polygon():
    assert SQUARE.bounds == Box(1.0, 2.0, 9.0, 8.0)


def test_a_box_measures_itself():
    box = Box(1.0, 2.0, 9.0, 8.0)
    assert (box.width, box.height) == (8.0, 6.0)


def test_page_lines_run_through_the_regions_in_order():
    first, second = region("a", "b"), region("c")
    assert Page("x", 1, 10, 10, (first, second)).lines == (*first.lines, *second.lines)


def test_page_text_separates_lines_and_regions():
    assert Page("x", 1, 10, 10, (region("a", "b"), region("c"))).text == "a\nb\n\nc"


def test_page_text_leaves_out_lines_and_regions_without_text():
    assert Page("x", 1, 10, 10, (region("a", "", None, "b"), region(None), region("c"))).text == "a\nb\n\nc"


def test_reading_text_separates_pages():
    pages = (Page("x", 1, 9, 9, (region("a"),)), Page("x", 2, 9, 9), Page("x", 3, 9, 9, (region("b"),)))
    assert Reading("x", pages).text == "a\n\nb"


def test_faults_of_a_reading_are_its_own_and_those_of_its_pages():
    damaged, missing = Fault("image", "page 2 is damaged"), Fault("image", "no such file", "check the path")
    pages = (Page("x", 1, 9, 9), Page("x", 2, 0, 0, fault=damaged))
    assert Reading("x", pages).faults == (damaged,)
    assert Reading("x", fault=missing).faults == (missing,)
    assert Reading("x", pages, missing).faults == (missing, damaged)
    assert Reading("x", pages[:1]).faults == ()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("letters/a.png", "a.png"),
        ("letters\\a.png", "a.png" if os.name == "nt" else "letters\\a.png"),  # elsewhere a name may have a backslash
        ("https://example.org/iiif/a.json", "a.json"),
        ("https://example.org/a/", "a"),
        ("-", "-"),
        ("/", "/"),
    ],
)
def test_an_image_is_named_without_its_folder(source: str, name: str):
    assert DocumentInfo(source).image_name == name


def test_results_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Transcript("a", 0.5).text = "b"  # type: ignore[misc]
