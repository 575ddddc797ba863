import cv2
import numpy as np
import pytest
from fakes import line_image

from quillread.errors import ConfigError
from quillread.images.steps_tone import AdaptiveThresholdConfig, SauvolaConfig, adaptive_threshold, otsu, sauvola

LINE = line_image("a line of text", 48)
GREY = LINE[..., 0].copy()
SHADED = (GREY * np.linspace(0.3, 1.0, GREY.shape[1]) * 0.8 + 20).astype(np.uint8)

THRESHOLDS = {
    "adaptive_threshold": lambda image: adaptive_threshold(image, AdaptiveThresholdConfig()),
    "otsu": otsu,
    "sauvola": lambda image: sauvola(image, SauvolaConfig()),
}
each_threshold = pytest.mark.parametrize("threshold", THRESHOLDS.values(), ids=THRESHOLDS)
each_local = pytest.mark.parametrize("name", ["adaptive_threshold", "sauvola"])


@each_threshold
@pytest.mark.parametrize("image", [GREY, LINE], ids=["grey", "rgb"])
def test_a_threshold_leaves_black_and_white(threshold, image):
    result = threshold(image)
    assert (result.shape, result.dtype) == (image.shape, np.uint8)
    assert set(np.unique(result)) == {0, 255}


@each_threshold
def test_a_threshold_tells_ink_from_paper(threshold):
    result = threshold(GREY)
    assert result[GREY == 0].max() == 0
    assert result[cv2.erode(GREY, np.ones((5, 5))) == 255].min() == 255


@each_threshold
def test_a_threshold_of_rgb_is_that_of_grey(threshold):
    assert np.array_equal(threshold(LINE), np.dstack([threshold(GREY)] * 3))


@each_local
def test_a_local_threshold_tells_ink_from_paper_in_uneven_light(name):
    result = THRESHOLDS[name](SHADED)
    assert result[GREY == 0].max() == 0
    assert (result[GREY == 255] == 255).mean() > 0.98


def test_otsu_fails_in_uneven_light():
    assert (otsu(SHADED)[GREY == 255] == 255).mean() < 0.9


@each_threshold
@pytest.mark.parametrize("level", [30, 128, 255])
def test_blank_paper_of_any_brightness_becomes_white(threshold, level):
    assert threshold(np.full((40, 200), level, np.uint8)).min() == 255


def test_adaptive_threshold_is_opencvs():
    expected = cv2.adaptiveThreshold(SHADED, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 15, 7)
    assert np.array_equal(adaptive_threshold(SHADED, AdaptiveThresholdConfig("mean", 15, 7)), expected)


def test_sauvola_follows_its_formula():
    config = SauvolaConfig(window=9, k=0.3, contrast=100)
    y, x = 20, 40
    around = SHADED[y - 4 : y + 5, x - 4 : x + 5].astype(float)
    threshold = around.mean() * (1 + 0.3 * (around.std() / 100 - 1))
    below, above = SHADED.copy(), SHADED.copy()
    assert sauvola(SHADED, config)[y, x] == (255 if SHADED[y, x] >= threshold else 0)
    # The pixel itself is a small part of its surroundings.
    below[y, x], above[y, x] = threshold - 15, threshold + 15
    assert (sauvola(below, config)[y, x], sauvola(above, config)[y, x]) == (0, 255)


def test_a_lower_k_keeps_fainter_strokes():
    faint = np.full((40, 200), 200, np.uint8)
    faint[18:22, 20:180] = 175
    assert sauvola(faint, SauvolaConfig(k=0.3)).min() == 255
    assert sauvola(faint, SauvolaConfig(k=0.05))[20, 100] == 0


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (AdaptiveThresholdConfig, {"block": 30}, "adaptive_threshold.block must be odd"),
        (AdaptiveThresholdConfig, {"offset": 300}, "adaptive_threshold.offset must be"),
        (SauvolaConfig, {"window": 1}, "sauvola.window must be odd, 3 to 999, got 1"),
        (SauvolaConfig, {"k": 0}, "sauvola.k must be between 0 and 1"),
        (SauvolaConfig, {"contrast": 0}, "sauvola.contrast must be 1 to 255"),
    ],
)
def test_a_setting_out_of_range_is_refused(config, settings, message):
    with pytest.raises(ConfigError, match=message):
        config(**settings)
