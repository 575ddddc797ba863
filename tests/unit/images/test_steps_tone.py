import cv2
import numpy as np
import pytest
from fakes import line_image

from quillread.errors import ConfigError
from quillread.images.steps_tone import (
    ContrastStretchConfig,
    IlluminationConfig,
    MedianConfig,
    NonLocalMeansConfig,
    contrast_stretch,
    illumination,
    median,
    non_local_means,
)

LINE = line_image("a line of text", 48)
GREY = LINE[..., 0].copy()
LIGHT = np.linspace(0.35, 1.0, GREY.shape[1])
RNG = np.random.default_rng(0)


def test_non_local_means_of_grey_is_opencvs_with_the_usual_settings():
    noisy = cv2.randn(np.zeros_like(GREY), 200, 12)
    expected = cv2.fastNlMeansDenoising(noisy, None, 10, 7, 21)
    assert np.array_equal(non_local_means(noisy, NonLocalMeansConfig()), expected)


def test_non_local_means_passes_each_setting_on():
    noisy = cv2.randn(np.zeros_like(GREY), 200, 12)
    expected = cv2.fastNlMeansDenoising(noisy, None, 25, 5, 11)
    settings = NonLocalMeansConfig(strength=25, template_window=5, search_window=11)
    assert np.array_equal(non_local_means(noisy, settings), expected)


def test_non_local_means_takes_noise_away_and_keeps_strokes():
    noisy = (GREY * 0.7 + 40 + RNG.normal(0, 5, GREY.shape)).clip(0, 255).astype(np.uint8)
    cleaned = non_local_means(noisy, NonLocalMeansConfig())
    paper, ink = GREY > 250, GREY < 5
    assert cleaned[paper].std() < noisy[paper].std() / 2
    assert cleaned[ink].mean() < 60


def test_non_local_means_of_a_grey_picture_in_rgb_is_nearly_that_of_grey():
    faint = (255 - (255 - GREY.astype(np.float64)) * 0.3).astype(np.uint8)
    grey = non_local_means(faint, NonLocalMeansConfig())
    rgb = non_local_means(np.dstack([faint] * 3), NonLocalMeansConfig())
    assert np.abs(rgb.astype(int) - grey[..., None]).max() <= 3


def test_median_removes_a_speck_and_keeps_an_edge():
    image = np.full((20, 30), 240, np.uint8)
    image[:, 15:] = 20
    expected = image.copy()
    image[5, 5] = 0
    assert np.array_equal(median(image, MedianConfig()), expected)


def test_median_removes_larger_specks_with_a_larger_square():
    image = np.full((20, 30), 240, np.uint8)
    image[5:8, 5:8] = 0
    assert median(image, MedianConfig(5)).min() == 240


def test_contrast_stretch_makes_ink_black_and_paper_white():
    faint = (170 + GREY.astype(np.int64) * 40 // 255).astype(np.uint8)
    stretched = contrast_stretch(faint, ContrastStretchConfig())
    assert (stretched[GREY == 0].max(), stretched[GREY == 255].min()) == (0, 255)


def test_contrast_stretch_keeps_noise_on_blank_paper_faint():
    paper = RNG.integers(200, 204, (40, 300)).astype(np.uint8)
    assert np.ptp(contrast_stretch(paper, ContrastStretchConfig())) <= 3 * 255 / 32 + 1


def test_contrast_stretch_changes_all_channels_alike():
    tinted = (LINE * np.array([1.0, 0.9, 0.8])).astype(np.uint8)
    stretched = contrast_stretch(tinted, ContrastStretchConfig(white_percentile=99))
    red, green, blue = stretched[0, 0].tolist()
    assert red >= green > blue


def test_contrast_stretch_spreads_levels_between_the_percentiles():
    ramp = np.arange(100, 200, dtype=np.uint8).repeat(10).reshape(10, 100)
    stretched = contrast_stretch(ramp, ContrastStretchConfig(0, 100)).ravel()
    assert (stretched[0], stretched[-1]) == (0, 255)
    assert np.all(np.diff(stretched.astype(int)) >= 0)


def test_illumination_makes_shaded_paper_white():
    shaded = (GREY * LIGHT).astype(np.uint8)
    assert illumination(shaded, IlluminationConfig())[GREY == 255].min() > 235


def test_illumination_keeps_strokes_dark_everywhere():
    shaded = (GREY * LIGHT).astype(np.uint8)
    assert illumination(shaded, IlluminationConfig())[GREY == 0].max() < 20


def test_illumination_takes_the_tint_of_the_paper_away():
    tinted = (LINE * np.array([1.0, 0.9, 0.7])).astype(np.uint8)
    flat = illumination(tinted, IlluminationConfig())
    assert flat[GREY == 255].min() > 250


def test_illumination_of_a_high_image_is_that_of_a_low_one():
    shaded = (GREY * LIGHT).astype(np.uint8)
    large = cv2.resize(shaded, None, fx=4, fy=4, interpolation=cv2.INTER_LINEAR)
    small = illumination(shaded, IlluminationConfig())
    reduced = cv2.resize(illumination(large, IlluminationConfig()), small.shape[::-1], interpolation=cv2.INTER_AREA)
    # At the edges of strokes, enlarging has changed the writing itself.
    assert np.abs(reduced.astype(int) - small)[GREY == 255].mean() < 3


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (NonLocalMeansConfig, {"strength": 0}, "non_local_means.strength must be above 0"),
        (NonLocalMeansConfig, {"template_window": 6}, "non_local_means.template_window must be odd"),
        (NonLocalMeansConfig, {"search_window": 1}, "non_local_means.search_window must be odd"),
        (MedianConfig, {"size": 4}, "median.size must be odd"),
        (MedianConfig, {"size": 1}, "median.size must be odd, 3 to 99, got 1"),
        (ContrastStretchConfig, {"black_percentile": 80}, "black_percentile must be below"),
        (ContrastStretchConfig, {"min_contrast": 0}, "min_contrast must be 1 to 255"),
        (IlluminationConfig, {"reach": 0}, "illumination.reach must be"),
    ],
)
def test_a_setting_out_of_range_is_refused(config, settings, message):
    with pytest.raises(ConfigError, match=message):
        config(**settings)
