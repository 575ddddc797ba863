"""Pages that are no letters, for both line finders: none may fail, take too much work or find what is not there."""

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import pytest
from unit.pages.drawing import TEXTS, baseline_heights, blank_page, lines_of, write, write_page

from quillread.images.read import open_document
from quillread.pages.segment import Segmenter, load_segmenter
from quillread.types import Line, UInt8Image

LETTER = Path(__file__).parents[2] / "data" / "page.jpg"
MOST_CALLS = 3_000_000
"""Function calls that finding lines may take: three times those of the page with 300 lines. Unlike seconds, they are
the same on every machine."""


def count_calls(find: Callable[[], list[Line]]) -> tuple[list[Line], int]:
    """Return what was found, and how many functions of Python and C were called for it."""
    calls = itertools.count()

    def count(frame: FrameType, event: str, function: object) -> None:
        if event in ("call", "c_call"):
            next(calls)

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        found = find()
    finally:
        sys.setprofile(before)
    return found, next(calls)


@pytest.fixture(scope="module", params=["neural", "classical"])
def find(request: pytest.FixtureRequest) -> Callable[[UInt8Image], list[Line]]:
    segment: Segmenter = load_segmenter(request.param)

    def lines(image: UInt8Image) -> list[Line]:
        found, calls = count_calls(lambda: lines_of(segment(image)))
        assert calls < MOST_CALLS
        height, width = image.shape[:2]
        for line in found:
            points = np.array([*line.baseline, *line.polygon.points])
            assert np.isfinite(points).all() and len(line.baseline) >= 2
            assert (points >= 0).all() and (points <= (width, height)).all()
        return found

    lines.name = request.param  # type: ignore[attr-defined]
    return lines


def fax(page: UInt8Image) -> UInt8Image:
    return np.where(page.min(axis=2, keepdims=True) < 140, 0, 255).astype(np.uint8).repeat(3, axis=2)


@pytest.mark.parametrize("value", [0, 90, 255])
def test_a_page_of_one_colour_has_no_lines(find, value):
    assert find(np.full((1400, 1000, 3), value, np.uint8)) == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (900, 3), (8, 8), (20, 20)])
def test_tiny_images_have_no_lines(find, shape):
    assert find(np.full((*shape, 3), 200, np.uint8)) == []


@pytest.mark.parametrize("shape", [(8, 60_000), (60_000, 9), (20, 20_000)])
def test_a_strip_that_is_reduced_to_nothing_has_no_lines(find, shape):
    assert find(np.full((*shape, 3), 200, np.uint8)) == []


def test_a_huge_page_gives_its_lines(find):
    page, heights = write_page()
    huge = cv2.resize(page, None, fx=9, fy=9, interpolation=cv2.INTER_LINEAR)
    found = sorted(float(np.mean([y for _, y in line.baseline])) for line in find(huge))
    assert found == pytest.approx([9 * height for height in heights], abs=9 * 12)


def test_one_word_is_one_line(find):
    page = blank_page()
    write(page, "Monday", 430, 300)
    (line,) = find(page)
    assert np.mean([y for _, y in line.baseline]) == pytest.approx(300, abs=10)


def test_the_shadowed_half_of_a_page_gives_its_lines():
    page, heights = write_page()
    light = cv2.GaussianBlur(np.repeat([1.0, 0.35], 500)[None].astype(np.float32), (0, 0), 20)
    shadowed = (page * light[..., None]).astype(np.uint8)
    assert baseline_heights(load_segmenter("neural")(shadowed)) == pytest.approx(heights, abs=10)


def test_a_dark_sheet_beside_a_white_one_gives_its_lines():
    page, heights = write_page()
    dark = np.hstack([(page * 0.42).astype(np.uint8), np.full((800, 600, 3), 250, np.uint8)])
    assert baseline_heights(load_segmenter("neural")(dark)) == pytest.approx(heights, abs=10)


@pytest.mark.parametrize("angle", [-40, -12, 25])
def test_a_tilted_page_gives_its_lines_where_they_stand(angle):
    page, heights = write_page()
    # Around its middle, as the lines are told by how far they are from it.
    tilt = cv2.getRotationMatrix2D((500, 400), angle, 1.0)
    tilt[:, 2] += 200
    tilted = cv2.warpAffine(page, tilt, (1400, 1200), borderValue=(60, 60, 60))
    found = lines_of(load_segmenter("neural")(tilted))
    level = [cv2.transform(np.array([line.baseline]), cv2.invertAffineTransform(tilt))[0] for line in found]
    assert [points[:, 1].mean() for points in level] == pytest.approx(heights, abs=10)
    assert all(np.ptp(points[:, 1]) < 10 for points in level)


def test_print_alone_is_found(find):
    page = blank_page()
    for y in range(80, 760, 34):
        cv2.putText(
            page, "printed lines of a small book, all alike " * 2, (70, y), 0, 0.6, (30, 30, 30), 1, cv2.LINE_AA
        )
    assert len(find(page)) == pytest.approx(20, abs=1)


def test_a_fax_of_black_and_white_gives_its_lines(find):
    page, heights = write_page()
    found = sorted(float(np.mean([y for _, y in line.baseline])) for line in find(fax(page)))
    assert found == pytest.approx(heights, abs=10)


def test_a_drawing_has_hardly_any_lines(find):
    page = blank_page()
    cv2.circle(page, (500, 400), 250, (40, 40, 40), 3, cv2.LINE_AA)
    cv2.rectangle(page, (200, 150), (800, 650), (40, 40, 40), 3)
    for x in range(300, 700, 20):
        cv2.line(page, (x, 300), (x + 60, 500), (60, 60, 60), 1, cv2.LINE_AA)
    assert len(find(page)) <= 3


def test_a_desk_without_paper_does_not_fail_and_has_hardly_any_lines(find):
    rng = np.random.default_rng(4)
    grain = cv2.resize(rng.normal(0, 1, (60, 8)).astype(np.float32), (1400, 1000), interpolation=cv2.INTER_CUBIC)
    desk = 110 + 25 * grain + rng.normal(0, 5, (1000, 1400))
    found = find(np.clip(desk, 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2))
    if find.name == "neural":  # the other one takes streaks for writing
        assert len(found) <= 3


def test_a_table_of_a_hundred_columns_does_not_fail(find):
    page = np.full((2000, 3000, 3), 245, np.uint8)
    for x in range(0, 3000, 30):
        cv2.line(page, (x, 100), (x, 1900), (90, 90, 90), 1)
        for y in range(140, 1900, 40):
            cv2.putText(page, str((x * y) % 97), (x + 3, y), 0, 0.5, (60, 30, 30), 1, cv2.LINE_AA)
    assert find(page)


@pytest.mark.slow
def test_three_hundred_lines_are_not_too_many(find):
    page = np.full((4200, 3000, 3), 245, np.uint8)
    for index, y in enumerate(range(60, 60 + 300 * 13, 13)):
        cv2.putText(page, (TEXTS[index % 4] + " ") * 9, (60, y), 0, 0.38, (60, 30, 30), 1, cv2.LINE_AA)
    found = find(page)
    if find.name == "neural":
        assert len(found) == pytest.approx(300, rel=0.1)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_page_is_found_and_its_lines_run_as_they_were_written(quarters):
    with open_document(LETTER) as document:
        page = document.page(0)
    segment = load_segmenter("neural")
    upright, turned = (lines_of(segment(np.ascontiguousarray(np.rot90(page, turn)))) for turn in (0, quarters))
    assert len(turned) == len(upright)
    for line in turned:
        (x0, y0), (x1, y1) = line.baseline[0], line.baseline[-1]
        along = {1: y0 - y1, 2: x0 - x1, 3: y1 - y0}[quarters]
        assert along > 0.9 * np.hypot(x1 - x0, y1 - y0)


def test_the_lines_of_a_page_are_in_order(find):
    page, heights = write_page()
    assert [float(np.mean([y for _, y in line.baseline])) for line in find(page)] == pytest.approx(heights, abs=10)
