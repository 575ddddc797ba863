from itertools import pairwise

import numpy as np
import pytest
from fakes import line_image
from hypothesis import given
from hypothesis import strategies as st

from quillread.images.rows import ink_bounds, ink_mask, split_line
from quillread.types import Box


def draw(blocks: list[tuple[int, int]], width: int, height: int = 60) -> np.ndarray:
    """Words as rows of upright bars, 4 pixels wide and 4 apart, from and to the columns given."""
    image = np.full((height, width, 3), 230, np.uint8)
    for start, stop in blocks:
        for x in range(start, stop, 8):
            image[15:45, x : x + 4] = 30
    return image


@given(st.integers(1, 600), st.floats(2, 700))
def test_parts_cover_the_line_and_are_not_too_long(width: int, max_width: float):
    parts = split_line(draw([(5, width // 2), (width // 2 + 30, width - 5)], width), max_width)
    assert parts[0][0] == 0 and parts[-1][1] == width
    assert all(a[1] == b[0] for a, b in pairwise(parts))
    assert all(0 < stop - start <= max(2, max_width) for start, stop in parts)


def test_a_line_that_is_short_enough_is_one_part():
    assert split_line(draw([(10, 90)], 100), 100) == [(0, 100)]


@pytest.mark.parametrize("gap", [260, 300, 340])
def test_a_cut_goes_through_the_gap_between_words(gap: int):
    image = draw([(10, gap - 12), (gap + 12, 590)], 600)
    (_, cut), _ = split_line(image, 400)
    assert gap - 12 <= cut <= gap + 12


def test_the_widest_gap_in_reach_is_taken():
    image = draw([(10, 280), (290, 330), (360, 590)], 600)
    (_, cut), _ = split_line(image, 400)
    assert 330 <= cut <= 360


def test_a_cut_does_not_touch_the_ink_of_printed_words():
    image = line_image("several words that stand in one long line of text", 50)
    mask = ink_mask(image)
    assert all(not mask[:, stop - 1 : stop + 1].any() for _, stop in split_line(image, 200)[:-1])


def test_paper_without_ink_is_cut_in_equal_parts():
    assert split_line(np.full((40, 300, 3), 200, np.uint8), 100) == [(0, 100), (100, 200), (200, 300)]


def test_the_bounds_of_ink_leave_out_the_paper():
    assert ink_bounds(draw([(100, 164)], 300)) == Box(100.0, 15.0, 160.0, 45.0)


def test_the_bounds_of_ink_do_not_depend_on_the_light():
    shade = np.linspace(1.0, 0.4, 300)[None, :, None]
    assert ink_bounds((draw([(100, 164)], 300) * shade).astype(np.uint8)) == Box(100.0, 15.0, 160.0, 45.0)


def test_a_ruled_line_is_no_ink():
    image = draw([(100, 164)], 300)
    image[50:52] = 90
    assert ink_bounds(image) == Box(100.0, 15.0, 160.0, 45.0)


def test_paper_without_ink_has_the_bounds_of_the_image():
    assert ink_bounds(np.full((40, 300, 3), 200, np.uint8)) == Box(0.0, 0.0, 300.0, 40.0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2)])
def test_tiny_images_are_taken(shape: tuple[int, int]):
    assert ink_mask(np.zeros((*shape, 3), np.uint8)).shape == shape
