from pathlib import Path

import cv2
import numpy as np
import pytest
from unit.pages.drawing import TEXTS, baseline_heights, blank_page, fill, lines_of, write, write_page
from unit.pages.page_maps import PerfectNetwork, line

from quillread.errors import ImageError, ModelError
from quillread.images.crop import crop_line
from quillread.models.page import page_pixels, view_page
from quillread.pages.neural import NeuralConfig, NeuralSegmenter, mark_baselines, open_network
from quillread.types import UInt8Image


def page_with_truth(scale: int = 1) -> tuple[UInt8Image, list[int], PerfectNetwork]:
    """A page, the heights of its baselines, and a network that knows them."""
    page, heights = write_page()
    lines = [line(120, 120 + _width(index), y, body=20) for index, y in enumerate(heights)]
    large = cv2.resize(page, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return large, [scale * y for y in heights], PerfectNetwork(_on_view(lines, page, large))


def _width(index: int) -> int:
    return int(cv2.getTextSize(TEXTS[index % len(TEXTS)], cv2.FONT_HERSHEY_COMPLEX, 1.4, 2)[0][0])


def _on_view(lines: list, page: UInt8Image, large: UInt8Image) -> list:
    factor = max(view_page(large).grey.shape) / max(page.shape)
    return [
        line(*(v[0] * factor for v in (a.baseline[0], a.baseline[1])), a.baseline[0, 1] * factor, 20) for a in lines
    ]


@pytest.mark.parametrize("scale", [1, 3])
def test_lines_are_found_at_their_baselines_in_pixels_of_the_page(scale: int):
    page, heights, network = page_with_truth(scale)
    assert baseline_heights(NeuralSegmenter(network)(page)) == pytest.approx(heights, abs=6 * scale)


def test_a_polygon_holds_all_the_ink_of_its_line_and_none_of_the_next():
    page, heights, network = page_with_truth()
    ink = page[..., 0] < 150
    for found, height in zip(lines_of(NeuralSegmenter(network)(page)), heights, strict=True):
        own = ink.copy()
        own[: height - 60] = own[height + 30 :] = False
        inside = fill(found.polygon, page.shape)
        assert (own & inside).sum() >= 0.99 * own.sum()
        assert not (ink & ~own & inside).any()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_page_gives_the_same_lines_where_they_stand_on_it(quarters: int):
    page, _, network = page_with_truth()
    upright = NeuralSegmenter(network)(page)
    turned = np.ascontiguousarray(np.rot90(page, quarters))
    _, _, network = page_with_truth()
    network._turns = [quarters, 0]
    found = NeuralSegmenter(network)(turned)
    height, width = turned.shape[:2]
    places = {1: lambda x, y: (y, height - x), 2: lambda x, y: (width - x, height - y), 3: lambda x, y: (width - y, x)}
    for a, b in zip(lines_of(upright), lines_of(found), strict=True):
        expected = np.array([places[quarters](x, y) for x, y in a.baseline])
        assert np.array(b.baseline) == pytest.approx(expected, abs=1.5)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_lines_of_a_turned_page_are_cut_out_upright(quarters: int):
    page, _, network = page_with_truth()
    turned = np.ascontiguousarray(np.rot90(page, quarters))
    upright = lines_of(NeuralSegmenter(network)(page))
    network._turns = [quarters, 0]
    for a, b in zip(upright, lines_of(NeuralSegmenter(network)(turned)), strict=True):
        first, second = crop_line(page, a)[0].astype(int), crop_line(turned, b)[0].astype(int)
        height, width = np.minimum(first.shape, second.shape)[:2]
        assert np.abs(np.subtract(first.shape, second.shape)).max() <= 4
        differences = [
            np.abs(
                first[4 : height - 8, 4 : width - 8] - second[4 + dy : height - 8 + dy, 4 + dx : width - 8 + dx]
            ).mean()
            for dy in range(-4, 5)
            for dx in range(-4, 5)
        ]
        assert min(differences) < 0.25 * max(differences)  # resampled between pixels, but the same letters


def test_a_page_that_does_not_look_upright_after_turning_stays_as_it_is():
    page, heights, network = page_with_truth()
    network._turns = [2, 2]
    assert baseline_heights(NeuralSegmenter(network)(page)) == pytest.approx(heights, abs=6)


def test_small_letters_are_looked_at_again_on_a_larger_view():
    page = blank_page(3000, 2400)
    network = PerfectNetwork([line(100, 800, y, body=3) for y in range(100, 700, 12)])
    NeuralSegmenter(network)(page)
    assert [max(shape) for shape in network.shapes] == [1024, 1920, 3008]


def test_where_nothing_is_found_a_smaller_view_is_tried():
    network = PerfectNetwork([])
    assert NeuralSegmenter(network)(blank_page()).regions == ()
    assert [max(shape) for shape in network.shapes] == [1024, 384]


def test_what_has_no_ink_is_no_line_and_is_told():
    network = PerfectNetwork([line(100, 800, y, body=16) for y in range(100, 700, 50)])
    layout = NeuralSegmenter(network)(blank_page())
    assert layout.regions == ()
    assert layout.notes == ("12 lines without the ink of a word skipped",)


def test_print_is_found_and_marked_or_skipped_on_request():
    page, heights, network = page_with_truth()
    network._lines[0] = line(120, 600, heights[0], 12, printed=True)
    found = lines_of(NeuralSegmenter(network)(page))
    assert [line.printed for line in found] == [True] + [False] * (len(heights) - 1)
    assert len(lines_of(NeuralSegmenter(network, NeuralConfig(skip_print=True))(page))) == len(heights) - 1


def test_lines_of_a_facing_page_that_the_edge_cuts_off_are_skipped_and_told_or_kept_on_request():
    page, heights = write_page()
    page = np.hstack([page, page[:, 100:300]])
    factor = max(view_page(page).grey.shape) / max(page.shape)
    own, cut = (
        [line(first * factor, last * factor, height * factor, 20) for height in heights]
        for first, last in ((120, 600), (1020, 1199))
    )
    layout = NeuralSegmenter(PerfectNetwork(own + cut))(page)
    assert len(lines_of(layout)) == len(heights)
    told = "6 lines cut off by the edge of the image skipped; segmenter=neural-all reads lines cut off"
    assert layout.notes == (told,)
    kept = NeuralSegmenter(PerfectNetwork(own + cut), NeuralConfig(keep_cut=True))(page)
    assert len(lines_of(kept)) == 2 * len(heights)
    assert kept.notes == ()


def test_an_image_too_small_for_writing_has_no_lines():
    assert NeuralSegmenter(PerfectNetwork([]))(np.full((4, 500, 3), 255, np.uint8)).regions == ()


def test_what_is_no_page_is_refused():
    with pytest.raises(ImageError, match="must be uint8"):
        NeuralSegmenter(PerfectNetwork([]))(np.zeros((50, 50), np.uint8))


def test_a_missing_network_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match=r"none\.onnx"):
        open_network(tmp_path / "none.onnx")


def test_baselines_alone_need_no_ink():
    page, heights, network = page_with_truth()
    found = mark_baselines(view_page(page), network)
    assert [found_line.baseline[0][1] for found_line in found] == pytest.approx(heights, abs=3)


def test_pixels_are_darkness_over_the_paper_with_sides_as_the_network_needs_them():
    grey = np.full((50, 70), 200, np.uint8)
    grey[10, 10] = 0
    pixels = page_pixels(grey, 32)
    assert pixels.shape == (64, 96)
    assert pixels[10, 10] == 1
    assert pixels[20, 20] == pytest.approx(0, abs=1e-6)


def test_a_view_is_reduced_but_never_enlarged():
    page = blank_page(300, 200)
    write(page, "small", 20, 100, 0.8)
    assert view_page(page).grey.shape == (200, 300)
    assert view_page(page, 150).grey.shape == (100, 150)
    assert view_page(page, 150).scale == (2, 2)
