import numpy as np
import pytest

from quillread.errors import ConfigError
from quillread.images.fit import CanvasConfig, pad_to_canvas, squash

LINE = np.full((50, 200, 3), (240, 230, 210), np.uint8)
LINE[20:30, 20:180:4] = 10
WIDE = CanvasConfig(64, 1024, "pad")


def test_padding_gives_a_line_the_aspect_ratio_of_the_canvas():
    assert pad_to_canvas(LINE, WIDE).shape == (50, 800, 3)


def test_padding_leaves_the_pixels_in_their_places():
    assert np.array_equal(pad_to_canvas(LINE, WIDE)[:, :200], LINE)


def test_padding_has_the_colour_of_the_paper():
    assert np.unique(pad_to_canvas(LINE, WIDE)[:, 200:].reshape(-1, 3), axis=0).tolist() == [[240, 230, 210]]


@pytest.mark.parametrize("config", [CanvasConfig(64, 1024, "squash"), CanvasConfig(64, 128, "pad")])
def test_a_line_that_is_squashed_or_wider_than_the_canvas_is_not_padded(config):
    assert pad_to_canvas(LINE, config) is LINE


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 40, 3), (40, 1, 3)])
def test_tiny_images_are_padded(shape):
    height, width = pad_to_canvas(np.full(shape, 255, np.uint8), WIDE).shape[:2]
    assert (height, width) == (shape[0], max(shape[1], 16 * shape[0]))


@pytest.mark.parametrize(
    ("shape", "config", "expected"),
    [
        ((64, 960), CanvasConfig(384, 384), 15.0),
        ((64, 960), CanvasConfig(64, 960), 1.0),
        ((64, 32), CanvasConfig(384, 384), 0.5),
        ((64, 32), CanvasConfig(384, 384, "pad"), 1.0),
        ((64, 2048, 3), CanvasConfig(64, 1024, "pad"), 2.0),
    ],
)
def test_squash_is_how_much_more_the_width_shrinks_than_the_height(shape, config, expected):
    assert squash(shape, config) == expected


@pytest.mark.parametrize("size", [(8, 384), (384, 0)])
def test_a_canvas_of_too_few_pixels_is_refused(size):
    with pytest.raises(ConfigError, match="too few"):
        CanvasConfig(*size)
