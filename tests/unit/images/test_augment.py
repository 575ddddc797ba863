from dataclasses import replace

import numpy as np
import pytest
from fakes import line_image

from quillread.errors import ConfigError
from quillread.images.augment import STEPS, AugmentConfig, augment
from quillread.images.tones import paper_level

IMAGES = {"rgb": line_image("a line of text", 64), "grey": line_image("a line of text", 64)[..., 0].copy()}
NEVER = AugmentConfig(**dict.fromkeys(STEPS, 0.0))
SAME_SHAPE = [name for name in STEPS if name not in ("crop_jitter", "shear", "stretch")]
each_step = pytest.mark.parametrize("name", STEPS)
each_image = pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)


def change(name: str, strength: float) -> float:
    """Mean change of a pixel over several seeds."""
    image = IMAGES["grey"]
    changed = (STEPS[name](image, np.random.default_rng(seed), strength) for seed in range(20))
    return float(np.mean([np.abs(c.astype(float) - image).mean() for c in changed]))


@each_step
@each_image
def test_a_step_keeps_the_form_and_changes_the_image(name: str, image: np.ndarray):
    # Some draws are close to nothing; among a few there is a visible one.
    results = [STEPS[name](image, np.random.default_rng(seed), 1.5) for seed in range(5)]
    assert all(r.dtype == np.uint8 and r.ndim == image.ndim and r.size > 0 for r in results)
    assert image.ndim == 2 or all(r.shape[2] == 3 for r in results)
    assert any(r.shape != image.shape or not np.array_equal(r, image) for r in results)


@each_step
@each_image
def test_a_step_gives_the_same_image_for_the_same_seed(name: str, image: np.ndarray):
    first, second = (STEPS[name](image, np.random.default_rng(7), 1.0) for _ in range(2))
    assert np.array_equal(first, second)


@each_step
@each_image
def test_a_step_does_not_write_into_its_argument(name: str, image: np.ndarray):
    before = image.copy()
    for seed in range(5):
        STEPS[name](image, np.random.default_rng(seed), 1.5)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", SAME_SHAPE)
def test_more_strength_changes_more(name: str):
    assert change(name, 2.0) > change(name, 0.4)


@each_step
@pytest.mark.parametrize("shape", [(16, 24), (64, 16), (24, 900)])
def test_a_step_takes_small_and_long_lines(name: str, shape: tuple[int, int]):
    image = np.full(shape, 220, np.uint8)
    for seed in range(5):
        assert STEPS[name](image, np.random.default_rng(seed), 2.0).size > 0


@each_image
def test_probabilities_of_zero_leave_the_image_as_it_is(image: np.ndarray):
    assert np.array_equal(augment(image, np.random.default_rng(0), NEVER), image)


@each_step
def test_a_probability_of_one_applies_the_step(name: str):
    image = IMAGES["rgb"]
    rng = np.random.default_rng(5)
    expected = np.random.default_rng(5)
    expected.random(len(STEPS))
    only = replace(NEVER, **{name: 1.0})
    assert np.array_equal(augment(image, rng, only), STEPS[name](image, expected, 1.0))


@each_image
def test_the_same_seed_gives_the_same_image(image: np.ndarray):
    first, second = (augment(image, np.random.default_rng(11), AugmentConfig()) for _ in range(2))
    assert np.array_equal(first, second)


def test_other_seeds_give_other_images():
    results = {augment(IMAGES["grey"], np.random.default_rng(s), AugmentConfig()).tobytes() for s in range(10)}
    assert len(results) >= 9


def test_paper_is_measured_for_each_channel():
    image = np.full((20, 50, 3), (250, 240, 200), np.uint8)
    image[5:10, 5:20] = 10
    assert paper_level(image) == (250.0, 240.0, 200.0)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_what_is_no_probability_is_refused(value: float):
    with pytest.raises(ConfigError, match=r"augment\.blur must be a probability"):
        AugmentConfig(blur=value)


def test_a_strength_of_zero_is_refused():
    with pytest.raises(ConfigError, match=r"augment\.strength must be above 0"):
        AugmentConfig(strength=0)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 2), (3, 5, 3), (40, 301, 3)])
def test_the_paper_level_is_the_percentile_that_numpy_gives(shape: tuple[int, ...]):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    expected = np.percentile(image.reshape(-1, 3 if len(shape) == 3 else 1), 75, axis=0)
    assert paper_level(image) == pytest.approx(tuple(expected))


def test_perspective_cuts_off_no_writing():
    image = np.full((64, 400), 255, np.uint8)
    image[:3] = image[-3:] = 0  # ascenders and descenders that reach the edges
    for seed in range(30):
        changed = STEPS["perspective"](image, np.random.default_rng(seed), 1.5)
        ink = (255.0 - changed).sum(axis=0)[20:-20]
        assert ink.min() > 0.6 * 255 * 6


def test_one_switch_is_elastic_distortion_and_noise():
    once, both = replace(NEVER, elastic_noise=1.0), replace(NEVER, elastic=1.0, noise=1.0)
    first, second = (augment(IMAGES["grey"], np.random.default_rng(3), config) for config in (once, both))
    assert once.is_active
    assert np.array_equal(first, second)
    assert not np.array_equal(first, IMAGES["grey"])


def test_the_switch_lowers_no_probability_and_touches_no_other():
    config = replace(NEVER, noise=0.7, elastic_noise=0.5)
    assert {name: config.share(name) for name in STEPS if config.share(name)} == {"elastic": 0.5, "noise": 0.7}


def test_the_switch_is_a_probability():
    with pytest.raises(ConfigError, match=r"augment\.elastic_noise must be a probability"):
        AugmentConfig(elastic_noise=2)


@each_step
@pytest.mark.parametrize("width", [33_000, 66_000])
def test_a_step_takes_lines_that_are_longer_than_opencv_takes(name: str, width: int):
    image = np.full((12, width), 220, np.uint8)
    image[3:9, 20::100] = 10
    result = STEPS[name](image, np.random.default_rng(0), 1.0)
    assert result.shape[1] > 0.7 * width
    assert result[:, :1000].min() < 190
    assert result[:, -1000:].min() < 190


@pytest.mark.parametrize("width", [4, 8])
def test_perspective_does_not_turn_a_narrow_letter_over(width: int):
    image = np.full((64, width), 240, np.uint8)
    image[:, : width // 4] = 0
    for seed in range(100):
        ink = 240.0 - STEPS["perspective"](image, np.random.default_rng(seed), 1.0).astype(float).clip(0, 240)
        assert (ink.sum(axis=0) * np.arange(width)).sum() < ink.sum() * (width - 1) / 2
