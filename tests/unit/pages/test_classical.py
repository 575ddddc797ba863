import cv2
import numpy as np
import pytest
from unit.pages.drawing import (
    TEXTS,
    baseline_heights,
    blank_page,
    fill,
    lines_of,
    write,
    write_page,
)

from quillread.errors import ImageError
from quillread.pages.classical import ClassicalSegmenter

find = ClassicalSegmenter()


def test_a_clean_page_gives_its_lines_at_their_baselines():
    page, heights = write_page()
    assert baseline_heights(find(page)) == pytest.approx(heights, abs=6)


def test_a_large_page_gives_lines_in_its_own_pixels():
    page, heights = write_page()
    large = cv2.resize(page, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    assert baseline_heights(find(large)) == pytest.approx([3 * height for height in heights], abs=18)


def test_baselines_of_a_tilted_page_run_along_its_lines():
    page, heights = write_page()
    turn = cv2.getRotationMatrix2D((500, 400), -3, 1)
    tilted = cv2.warpAffine(page, turn, (1000, 800), borderValue=(245, 245, 245))
    lines = lines_of(find(tilted))
    back = cv2.invertAffineTransform(turn)
    straight = [np.asarray(line.baseline) @ back[:, :2].T + back[:, 2] for line in lines]
    assert len(lines) == len(heights)
    for points, height in zip(straight, heights, strict=True):
        assert points[:, 1] == pytest.approx(height, abs=10)


def test_baselines_follow_a_curved_page():
    page, heights = write_page()
    xs, ys = np.meshgrid(np.arange(1000, dtype=np.float32), np.arange(800, dtype=np.float32))
    bend = 25 * np.sin(xs / 1000 * np.pi)
    curved = cv2.remap(page, xs, ys - bend, cv2.INTER_LINEAR, borderValue=(245, 245, 245))
    lines = lines_of(find(curved))
    assert len(lines) == len(heights)
    for line, height in zip(lines, heights, strict=True):
        for x, y in line.baseline:
            assert y == pytest.approx(height + 25 * np.sin(x / 1000 * np.pi), abs=10)


@pytest.mark.parametrize("spacing", [0, 40])
def test_ruling_is_not_taken_for_lines(spacing):
    page, heights = write_page(lines=4)
    for y in range(40, 800, 50):
        cv2.line(page, (0, y), (999, y), (150, 170, 200), 2)
    for x in range(20, 1000, spacing or 2000):
        cv2.line(page, (x, 0), (x, 799), (200, 120, 120), 2)
    assert baseline_heights(find(page)) == pytest.approx(heights, abs=8)


def test_a_dark_scan_border_is_not_taken_for_lines():
    page, heights = write_page()
    page[:30], page[-25:], page[:, :35] = 20, 15, 25
    assert baseline_heights(find(page)) == pytest.approx(heights, abs=6)


def test_uneven_light_does_not_hide_lines():
    page, heights = write_page()
    shade = np.linspace(1.0, 0.55, 1000)[None, :, None]
    assert baseline_heights(find((page * shade).astype(np.uint8))) == pytest.approx(heights, abs=6)


def test_a_blank_page_has_no_regions():
    assert find(blank_page()).regions == ()


def test_specks_are_not_lines():
    page = blank_page()
    generator = np.random.default_rng(3)
    for x, y in generator.integers(20, 780, (60, 2)):
        cv2.circle(page, (int(x), int(y)), 1, (60, 60, 60), -1)
    assert find(page).regions == ()


def test_grain_is_not_lines():
    grain = np.random.default_rng(5).normal(230, 6, (800, 1000, 1)).clip(0, 255)
    assert find(np.repeat(grain, 3, axis=2).astype(np.uint8)).regions == ()


def test_one_line_is_found_on_an_otherwise_empty_page():
    page = blank_page()
    write(page, TEXTS[0], 120, 400)
    assert baseline_heights(find(page)) == pytest.approx([400], abs=6)


def test_an_image_of_one_line_gives_one_line():
    page = blank_page(height=90)
    write(page, TEXTS[0], 120, 60)
    assert len(lines_of(find(page))) == 1


def test_a_page_number_is_kept():
    page, heights = write_page()
    write(page, "12", 880, 60, scale=1.0)
    assert baseline_heights(find(page)) == pytest.approx([60, *heights], abs=6)


def test_a_polygon_holds_all_ink_of_its_line_and_none_of_the_others():
    page, heights = write_page()
    ink = page.min(axis=2) < 128
    for line, height in zip(lines_of(find(page)), heights, strict=True):
        inside = fill(line.polygon, page.shape)
        own = np.zeros_like(ink)
        own[height - 50 : height + 25] = ink[height - 50 : height + 25]
        assert (inside & ink == own).all()


def test_dots_and_accents_belong_to_the_line_below():
    page, heights = write_page(pitch=80)
    cv2.circle(page, (200, heights[2] - 45), 4, (40, 30, 90), -1)
    lines = lines_of(find(page))
    holders = [index for index, line in enumerate(lines) if fill(line.polygon, page.shape)[heights[2] - 45, 200]]
    assert holders == [2]


def test_a_descender_that_touches_the_next_line_does_not_join_the_lines():
    page, heights = write_page(pitch=80)
    cv2.line(page, (400, heights[1] - 10), (390, heights[2] - 15), (40, 30, 90), 3)
    assert baseline_heights(find(page)) == pytest.approx(heights, abs=6)


def test_small_print_of_narrow_lines_is_not_merged():
    page, heights = write_page(first=200, lines=5)
    for y in (60, 84):
        write(page, "small print of a form that nobody ever reads at all", 120, y, scale=0.5)
    assert len(lines_of(find(page))) == len(heights) + 2


def test_a_page_upside_down_does_not_fail():
    page, heights = write_page()
    assert len(lines_of(find(np.ascontiguousarray(page[::-1, ::-1])))) == len(heights)


def test_the_same_page_gives_the_same_lines():
    page, _ = write_page()
    assert find(page) == find(page.copy())


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (8, 8), (9, 3000), (3000, 9)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_images_too_small_for_writing_have_no_regions(shape, value):
    assert find(np.full((*shape, 3), value, np.uint8)).regions == ()


def test_an_image_of_noise_does_not_fail():
    find(np.random.default_rng(1).integers(0, 256, (400, 300, 3), np.uint8))


def test_points_stay_on_the_page():
    page = blank_page()
    for y in (30, 130, 230, 330):
        write(page, "running over both edges of the page", -30, y)
    points = np.array([point for line in lines_of(find(page)) for point in line.polygon.points])
    assert (points >= 0).all() and (points <= (1000, 800)).all()


@pytest.mark.parametrize("image", [np.zeros((50, 50), np.uint8), np.zeros((50, 50, 3), np.float32)])
def test_other_arrays_than_rgb_are_refused(image):
    with pytest.raises(ImageError, match="uint8"):
        find(image)
