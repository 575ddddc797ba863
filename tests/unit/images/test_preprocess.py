import numpy as np
import pytest
from fakes import line_image

from quillread import config
from quillread.errors import ConfigError, ImageError
from quillread.images import preprocess as preprocess_module
from quillread.images.geometry import AffineMap
from quillread.images.preprocess import CLASSIC, STEPS, PreprocessConfig, StepCache, preprocess
from quillread.images.steps_shape import UNMOVED
from quillread.images.steps_tone import MedianConfig

LINE = line_image("a line of text", 48)
each_step = pytest.mark.parametrize("name", STEPS)
LEVELS = {"white": 255, "grey": 128, "black": 0}


def only(*names):
    return PreprocessConfig(names)


def test_without_steps_the_image_itself_is_returned():
    image, to_source = preprocess(LINE, PreprocessConfig())
    assert image is LINE
    assert to_source.back(3, 4) == (3, 4)


@each_step
def test_a_step_gives_rgb_and_a_map(name):
    result, to_source = preprocess(LINE, only(name))
    assert (result.dtype, result.ndim, result.shape[2]) == (np.uint8, 3, 3)
    assert to_source.back_points([(0, 0), (1, 1)]).shape == (2, 2)


@each_step
@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (3, 5), (30, 200)])
def test_a_step_takes_blank_and_tiny_images(name, shape, level):
    result, _ = preprocess(np.full((*shape, 3), level, np.uint8), only(name))
    assert result.shape == (*shape, 3)


@each_step
def test_a_step_takes_noise(name):
    noise = np.random.default_rng(0).integers(0, 256, (30, 200, 3)).astype(np.uint8)
    assert preprocess(noise, only(name))[0].size > 0


@each_step
def test_a_step_of_a_grey_image_stays_grey_within_the_chain(name):
    result, _ = STEPS[name](LINE[..., 0].copy(), PreprocessConfig(), None)
    assert result.ndim == 2


@each_step
def test_a_step_does_not_write_into_its_argument(name):
    before = LINE.copy()
    preprocess(LINE, only(name))
    assert np.array_equal(LINE, before)


@each_step
def test_a_step_takes_a_part_of_a_larger_image(name):
    part = LINE[::-1, 5:150]
    assert np.array_equal(preprocess(part, only(name))[0], preprocess(part.copy(), only(name))[0])


def test_steps_run_in_the_order_given(monkeypatch):
    ran = []
    for name in STEPS:
        monkeypatch.setitem(STEPS, name, lambda image, *_, name=name: ran.append(name) or (image, UNMOVED))
    preprocess(LINE, only("otsu", "median", "deskew", "grayscale"))
    assert ran == ["otsu", "median", "deskew", "grayscale"]


def test_settings_reach_their_step():
    image = np.full((20, 40, 3), 200, np.uint8)
    image[8:11, 18:21] = 0
    assert preprocess(image, only("median"))[0].min() == 0
    assert preprocess(image, PreprocessConfig(("median",), median=MedianConfig(5)))[0].min() == 200


def test_the_classic_chain_leaves_black_writing_on_white():
    result, _ = preprocess(LINE, PreprocessConfig(CLASSIC))
    assert set(np.unique(result)) == {0, 255}
    assert result.shape == LINE.shape


def test_maps_are_chained_from_the_last_step_to_the_source(monkeypatch):
    def cut(image, settings, cache):
        return image[5:, 3:], AffineMap.shift(3, 5)

    def halve(image, settings, cache):
        return image[::2, ::2], AffineMap.scaling(2, 2)

    monkeypatch.setitem(STEPS, "deskew", cut)
    monkeypatch.setitem(STEPS, "deslant", halve)
    _, to_source = preprocess(LINE, only("deskew", "grayscale", "deslant"))
    assert to_source.back(10, 10) == (23, 25)


def test_non_local_means_is_computed_once_with_a_cache(tmp_path, monkeypatch):
    calls = []
    denoise = preprocess_module.non_local_means
    monkeypatch.setattr(
        preprocess_module, "non_local_means", lambda *given: calls.append(given[0].shape) or denoise(*given)
    )
    plain = preprocess(LINE, PreprocessConfig(CLASSIC))[0]
    first, second = (preprocess(LINE, PreprocessConfig(CLASSIC), StepCache(tmp_path))[0] for _ in range(2))
    assert len(calls) == 2
    assert np.array_equal(first, plain)
    assert np.array_equal(second, plain)


@pytest.mark.parametrize(
    "image",
    [LINE[..., 0], LINE.astype(np.float32), LINE[:0], np.zeros((5, 5, 4), np.uint8)],
    ids=["grey", "float", "empty", "four channels"],
)
def test_an_image_of_another_form_is_refused(image):
    with pytest.raises(ImageError, match="a line image must be uint8"):
        preprocess(image, only("median"))


def test_an_unknown_step_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"unknown step 'non_local_mean' \(did you mean 'non_local_means'\?\)"):
        PreprocessConfig(("non_local_mean",))


def test_a_step_that_is_there_twice_is_refused():
    with pytest.raises(ConfigError, match="'median' is there twice"):
        PreprocessConfig(("median", "otsu", "median"))


def test_settings_survive_the_way_through_a_file():
    settings = PreprocessConfig(CLASSIC, median=MedianConfig(5))
    assert config.build(PreprocessConfig, config.dump(settings)) == settings


def test_settings_from_the_command_line_are_read():
    values = config.apply_overrides({}, ["steps=[grayscale,median]", "median.size=5"])
    assert config.build(PreprocessConfig, values) == PreprocessConfig(("grayscale", "median"), median=MedianConfig(5))


def test_a_fault_within_a_step_names_its_setting():
    with pytest.raises(ConfigError, match=r"preprocess\.median\.size must be odd"):
        config.build(PreprocessConfig, {"median": {"size": 4}})


def test_every_setting_belongs_to_a_step():
    assert set(config.dump(PreprocessConfig())) - {"steps"} <= set(STEPS)
