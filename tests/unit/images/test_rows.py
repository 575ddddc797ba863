import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from quillread.errors import ImageError
from quillread.images.rows import count_rows, split_rows

PITCH = 60


def draw(*texts, pitch=PITCH, slope=0.0, height=None, top=0):
    """Rows of printed text, each `pitch` pixels below the one before."""
    font = ImageFont.load_default(pitch * 0.7)
    size = (900, height or pitch * len(texts))
    image = Image.new("RGB", size, (235, 230, 220))
    for row, text in enumerate(texts):
        ImageDraw.Draw(image).text((15, top + row * pitch), text, (40, 30, 60), font)
    sheared = image.transform(size, Image.Transform.AFFINE, (1, 0, 0, -slope, 1, slope * 450), fillcolor="white")
    return np.array(sheared)


ONE = draw("a line of plain words and nothing else")
TWO = draw("a line of plain words above", "and another line of words below")


def test_line_is_one_row():
    assert count_rows(ONE) == 1


def test_two_lines_are_two_rows():
    assert count_rows(TWO) == 2


def test_three_lines_are_three_rows():
    assert count_rows(draw("the first line of words", "then the second one", "and under it a third")) == 3


def test_row_much_shorter_than_the_other_counts():
    assert count_rows(draw("a line of plain words above it", "a short one")) == 2


@pytest.mark.parametrize("slope", [-0.05, 0.05])
def test_sloping_rows_are_counted(slope):
    assert count_rows(draw("a line of plain words above", "and another line of words below", slope=slope)) == 2


@pytest.mark.parametrize("slope", [-0.05, 0.05])
def test_sloping_line_is_one_row(slope):
    assert count_rows(draw("a line of plain words and so on", height=2 * PITCH, top=30, slope=slope)) == 1


def test_neighbour_that_reaches_in_is_no_row():
    crop = draw("the line above is cut", "a line of plain words and more", "the line below is cut")
    assert count_rows(crop[PITCH * 2 // 3 : PITCH * 9 // 4]) == 1


def test_ruling_is_no_row():
    ruled = draw("a line of plain words and so on", height=2 * PITCH)
    ruled[95:98] = 80
    assert count_rows(ruled) == 1


def test_dotted_ruling_is_no_row():
    ruled = draw("a line of plain words and so on", height=2 * PITCH)
    ruled[95:99].reshape(4, 90, 10, 3)[:, :, :6] = 40
    assert count_rows(ruled) == 1


def test_edge_of_the_paper_is_no_row():
    crop = draw("a line of plain words and so on", height=2 * PITCH)
    crop[95:] //= 3
    assert count_rows(crop) == 1


def test_blank_paper_is_one_row():
    assert count_rows(np.full((60, 500, 3), 230, np.uint8)) == 1


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 400, 3), (400, 2, 3), (3, 90, 3), (40, 9000, 3)])
def test_odd_shapes_are_one_row(shape):
    assert count_rows(np.random.default_rng(0).integers(0, 255, shape, np.uint8)) == 1


def test_grey_images_are_counted():
    assert count_rows(TWO[..., 0]) == 2


def test_empty_image_is_refused():
    with pytest.raises(ImageError):
        count_rows(np.zeros((0, 10, 3), np.uint8))


def test_each_row_of_a_split_crop_is_one():
    assert [count_rows(row) for row, _ in split_rows(TWO)] == [1, 1]


def test_rows_come_from_top_to_bottom_and_map_back():
    (upper, to_top), (lower, to_bottom) = split_rows(TWO)
    assert to_top.back(5, 0) == (5, 0)
    assert to_bottom.back(5, lower.shape[0]) == (5, TWO.shape[0])
    assert upper.shape[1] == lower.shape[1] == TWO.shape[1]


def test_row_holds_the_pixels_that_its_map_names():
    _, (lower, to_source) = split_rows(TWO)
    _, y0 = to_source.back(0, 0)
    np.testing.assert_array_equal(lower, TWO[int(y0) :])


def test_rows_together_hold_all_of_the_crop():
    assert sum(row.shape[0] for row, _ in split_rows(TWO)) >= TWO.shape[0]


def test_line_comes_back_whole():
    ((row, to_source),) = split_rows(ONE)
    np.testing.assert_array_equal(row, ONE)
    assert to_source.back(3, 4) == (3, 4)


def test_what_a_sloping_neighbour_leaves_is_painted_over():
    crop = draw("a line of plain words above it", "and another line of words below", slope=0.06)
    (upper, _), (lower, _) = split_rows(crop)
    assert [count_rows(row) for row in (upper, lower)] == [1, 1]
    assert upper[-1, :200].std(axis=0).max() == 0


def test_splitting_leaves_the_crop_as_it_is():
    crop = draw("a line of plain words above it", "and another line of words below", slope=0.06)
    before = crop.copy()
    split_rows(crop)
    np.testing.assert_array_equal(crop, before)
