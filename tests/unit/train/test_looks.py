"""What people are shown of a training is what its network gets."""

from pathlib import Path

import numpy as np
import pytest
from fakes import line_image, write_trocr
from runs import TINY_TROCR, train_config

from quillread.config import dump
from quillread.images.fit import CanvasConfig
from quillread.models.model_folder import ModelInfo, write_info
from quillread.models.trocr.loading import load_trocr
from quillread.models.trocr.pixels import set_canvas
from quillread.train.compact_form import CompactForm
from quillread.train.config import TrainConfig
from quillread.train.looks import compact_looks, training_view
from quillread.train.trocr.family import TrocrFamily
from quillread.train.trocr.form import TrocrForm

IMAGE = line_image("a line of words", height=90)
CLASSIC = ["grayscale", "non_local_means", "median", "adaptive_threshold"]


@pytest.mark.parametrize("variant", ["base-handwritten", "small"])
@pytest.mark.parametrize("steps", [CLASSIC, []], ids=["classic", "none"])
@pytest.mark.parametrize("canvas", [CanvasConfig(32, 32), CanvasConfig(32, 128, "pad"), None])
def test_a_view_of_trocr_has_the_pixels_of_its_batches(
    tmp_path: Path, variant: str, steps: list[str], canvas: CanvasConfig | None
):
    start = write_trocr(tmp_path / "start", variant)
    model = load_trocr(start)
    if canvas:
        set_canvas(model, canvas.height, canvas.width)
    config = train_config(family="trocr", start=str(start), canvas=canvas, preprocess={"steps": steps})
    pixels, _ = TrocrForm(config, model).make(IMAGE, "a line", np.random.default_rng(1))
    looks, see = training_view(config)
    seen = see(looks(IMAGE, np.random.default_rng(1)))
    assert np.array_equal(pixels, seen[None] if seen.ndim == 2 else seen.transpose(2, 0, 1))


WIDE = CanvasConfig(128, 512, "pad")


@pytest.mark.parametrize("distil", [0.0, 1.0])
@pytest.mark.parametrize("kept", [WIDE, None], ids=["recorded", "plain"])
@pytest.mark.parametrize("canvas", [CanvasConfig(32, 128, "pad"), None], ids=["narrow", "own"])
def test_a_view_has_the_canvas_of_the_start_and_of_a_teacher(
    tmp_path: Path, canvas: CanvasConfig | None, kept: CanvasConfig | None, distil: float
):
    start = write_trocr(tmp_path / "start")
    if kept:
        write_info(ModelInfo(family="trocr", name="start", canvas=kept), start)
    tuning = {"distil": distil}
    check_view(train_config(family="trocr", start=str(start), canvas=canvas, tuning=tuning))


def test_a_view_of_random_weights_has_their_canvas():
    check_view(train_config(family="trocr", shape=dump(TINY_TROCR)))


def check_view(config: TrainConfig) -> None:
    """Compare what is shown of an image that is higher than any canvas with what the encoder gets."""
    image = line_image("a line of words", height=600)
    pixels = TrocrFamily(config).form.make(image, "a line", np.random.default_rng(1))[0]
    looks, see = training_view(config)
    seen = see(looks(image, np.random.default_rng(1)))
    assert np.array_equal(pixels, seen[None] if seen.ndim == 2 else seen.transpose(2, 0, 1))


def test_published_checkpoints_and_random_weights_have_their_canvas():
    for start, shape in (("microsoft/trocr-base-handwritten", (384, 384)), (None, (64, 768))):
        looks, see = training_view(train_config(family="trocr", start=start))
        assert see(looks(IMAGE, np.random.default_rng(0))).shape[:2] == shape


def test_a_view_of_a_compact_network_is_its_ink():
    config = train_config(charset="abcdefghijklmnopqrstuvwxyz ")
    pixels, _ = CompactForm(config).make(IMAGE, "a line", np.random.default_rng(1))
    looks, see = training_view(config)
    seen = see(looks(IMAGE, np.random.default_rng(1)))
    assert seen.shape == pixels.shape
    assert np.abs((255 - seen) / 255 - pixels.clip(0, 1)).max() < 1 / 255


def test_a_long_line_is_distorted_as_wide_as_it_is_read():
    config = train_config(family="compact")
    image = np.full((128, 128 * 80, 3), 240, np.uint8)
    assert compact_looks(config).clean(image).shape == (64, 64 * 80)


def test_a_line_longer_than_any_is_narrowed_whatever_its_height():
    config = train_config(family="compact")
    assert compact_looks(config).clean(np.full((40, 40_000, 3), 240, np.uint8)).shape == (40, 5462)


def test_a_network_of_tall_lines_is_not_taught_with_low_ones():
    config = train_config(family="compact", ink={"height": 80}, network={"height": 80})
    assert compact_looks(config).clean(np.full((200, 800, 3), 240, np.uint8)).shape == (80, 320)
