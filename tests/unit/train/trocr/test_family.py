from pathlib import Path

import numpy as np
import pytest
from fakes import line_image, write_trocr
from runs import train_config

from quillread.images.fit import CanvasConfig
from quillread.models.model_folder import ModelInfo, write_info
from quillread.models.trocr.settings import GenerateConfig
from quillread.train.family_settings import LabelsConfig
from quillread.train.trocr.family import TrocrFamily

CANVAS = CanvasConfig(32, 128, "pad")


@pytest.fixture
def start(tmp_path: Path) -> Path:
    folder = write_trocr(tmp_path / "start")
    write_info(ModelInfo(family="trocr", name="start", canvas=CANVAS), folder)
    return folder


def open_family(start: Path, **settings: object) -> TrocrFamily:
    return TrocrFamily(train_config(family="trocr", start=str(start), **settings))


def test_the_canvas_is_that_of_the_start(start: Path):
    family = open_family(start)
    pixels, _ = family.form.make(line_image("ab"), "ab", np.random.default_rng(0))
    assert family.info.canvas == CANVAS
    assert pixels.shape == (3, 32, 128)
    assert tuple(family.network.network.config.encoder.image_size) == (32, 128)


def test_a_canvas_of_the_run_goes_before_that_of_the_start(start: Path):
    family = open_family(start, canvas=CanvasConfig(64, 64))
    assert family.info.canvas == CanvasConfig(64, 64)
    assert family.form.make(line_image("ab"), "ab", np.random.default_rng(0))[0].shape == (3, 64, 64)


def test_the_model_may_write_as_many_tokens_as_labels_have(start: Path):
    family = open_family(start, labels=LabelsConfig(max_length=9))
    settings = family.model.network.generation_config
    assert (settings.max_length, settings.max_new_tokens) == (10, None)


def test_validation_reads_little_longer_than_its_longest_text(start: Path):
    (transcript,) = open_family(start).recognizer(None, ["ab", "abcd"]).read([line_image("ab")])
    family = open_family(start)
    longest = family.form.tokens("abcd")
    limit = longest + longest // 4 + 8
    assert family.form.max_tokens > limit
    assert 0 < len(family.model.tokenizer(transcript.text)["input_ids"]) <= limit + 2
    assert family.info.generate == GenerateConfig()
