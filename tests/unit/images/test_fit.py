import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quillread.errors import ConfigError, ImageError
from quillread.images.fit import InkConfig, ink_pixels, scale_to_height
from quillread.images.tones import grey_percentiles, to_grey


def line(paper: int, ink: int, shape: tuple[int, int] = (96, 400)) -> np.ndarray:
    image = np.full((*shape, 3), paper, np.uint8)
    image[shape[0] // 3 : shape[0] // 2, 40:200] = ink
    return image


def test_ink_is_near_one_and_paper_zero():
    pixels = ink_pixels(line(paper=230, ink=40), InkConfig(height=48))
    assert pixels.shape == (48, 200)
    assert pixels.dtype == np.float32
    assert pixels[20, 60] == pytest.approx(1.0)
    assert pixels[40, 150] == 0.0


@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (200, 120), (120, 60)])
def test_paper_and_ink_of_any_brightness_give_the_same_pixels(paper: int, ink: int):
    expected = ink_pixels(line(255, 0), InkConfig())
    assert np.abs(ink_pixels(line(paper, ink), InkConfig()) - expected).max() < 0.03


def test_faint_noise_on_blank_paper_stays_faint():
    noise = np.random.default_rng(3).integers(244, 248, (48, 300, 3)).astype(np.uint8)
    assert np.abs(ink_pixels(noise, InkConfig())).max() < 0.2


def test_pixels_are_bounded():
    image = line(200, 190)
    image[0, 0], image[0, 1] = 0, 255
    pixels = ink_pixels(image, InkConfig(height=96))
    assert (pixels.min(), pixels.max()) == (-0.5, 1.5)


def test_grey_and_rgb_of_the_same_grey_give_the_same_pixels():
    image = line(220, 30)
    assert np.array_equal(ink_pixels(image[..., 0], InkConfig()), ink_pixels(image, InkConfig()))


def test_the_image_is_not_written_into():
    image = line(220, 30)
    before = image.copy()
    ink_pixels(image, InkConfig())
    assert np.array_equal(image, before)


def writing(height: int, rows: tuple[int, int], width: int = 600, rise: int = 0) -> np.ndarray:
    """Strokes between two rows of an image, each `rise` pixels higher at its end than at its beginning."""
    image = np.full((height, width, 3), 220, np.uint8)
    for x in range(20, width - 20, 12):
        up = round(rise * x / width)
        image[max(rows[0] - up, 0) : rows[1] - up, x : x + 4] = 40
    return image


def inked_rows(pixels: np.ndarray) -> np.ndarray:
    return np.flatnonzero(pixels.mean(1) > 0.05)


def test_low_writing_is_enlarged_and_stays_in_the_middle():
    image = writing(128, (60, 80))
    as_is = ink_pixels(image, InkConfig(height=64))
    larger = ink_pixels(image, InkConfig(height=64, spread=0.13))
    assert larger.shape[0] == 64
    assert larger.shape[1] / as_is.shape[1] == pytest.approx(1.35, abs=0.02)  # as much as any line
    assert len(inked_rows(larger)) / len(inked_rows(as_is)) == pytest.approx(1.35, abs=0.15)
    assert inked_rows(larger).mean() == pytest.approx(31.5, abs=1.5)


def test_writing_is_enlarged_as_far_as_is_asked_for():
    image = writing(128, (46, 82))  # rows of equal ink: their deviation is their number by the root of 12, 0.081
    for spread, times in ((0.07, 1.0), (0.09, 1.11), (0.1, 1.23), (0.2, 1.35)):
        pixels = ink_pixels(image, InkConfig(height=64, spread=spread))
        assert pixels.shape[1] / 300 == pytest.approx(times, abs=0.02)


def test_high_writing_is_left_as_it_is():
    image = writing(128, (10, 120))
    assert np.array_equal(ink_pixels(image, InkConfig(spread=0.13)), ink_pixels(image, InkConfig()))


def test_rows_are_left_out_at_the_side_with_more_paper():
    pixels = ink_pixels(writing(128, (4, 24)), InkConfig(height=64, spread=0.13))
    assert inked_rows(pixels).min() == pytest.approx(2 * 1.35, abs=1.5)


def test_a_line_that_rises_is_enlarged_as_one_that_does_not():
    widths = [ink_pixels(writing(160, (90, 130), 1600, rise), InkConfig(spread=0.09)).shape[1] for rise in (0, 60)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)
    assert widths[0] > 600 * 1.1 * 48 / 160


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 500), (60, 1)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_images_with_nothing_to_enlarge_are_measured_all_the_same(shape: tuple[int, int], level: int):
    image = np.full(shape, level, np.uint8)
    image[0, 0] = 90
    assert ink_pixels(image, InkConfig(spread=0.13)).shape[0] == 48


def test_a_wide_line_is_narrowed_to_the_limit():
    assert scale_to_height(np.zeros((10, 1000), np.uint8), 48, 2000).shape == (48, 2000)


@pytest.mark.parametrize(("shape", "expected"), [((24, 100), (48, 200)), ((96, 100), (48, 50)), ((480, 1), (48, 1))])
def test_scaling_keeps_the_aspect_ratio(shape: tuple[int, int], expected: tuple[int, int]):
    assert scale_to_height(np.zeros(shape, np.uint8), 48, 4096).shape == expected


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 5, 3), np.float32),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5,), np.uint8),
    ],
    ids=["empty", "float", "four channels", "one axis"],
)
def test_an_image_of_another_form_is_refused(image: np.ndarray):
    with pytest.raises(ImageError, match="a line image must"):
        to_grey(image)


@pytest.mark.parametrize("changes", [{"height": 8}, {"height": 64, "max_width": 32}])
def test_sizes_that_make_no_line_are_refused(changes: dict[str, int]):
    with pytest.raises(ConfigError, match="do not make a line image"):
        InkConfig(**changes)


@pytest.mark.parametrize("spread", [-0.1, 0.6, float("nan")])
def test_a_spread_that_no_writing_has_is_refused(spread: float):
    with pytest.raises(ConfigError, match=r"ink\.spread must be from 0 to 0\.5"):
        InkConfig(spread=spread)


@given(
    arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 40))),
    st.floats(0, 100),
)
def test_percentiles_are_those_of_numpy(grey, percent):
    assert grey_percentiles(grey, (percent, 50.0)) == pytest.approx(np.percentile(grey, (percent, 50)).tolist())
