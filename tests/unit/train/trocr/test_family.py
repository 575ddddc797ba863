from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import line_image, write_trocr
from runs import train_config

from quillread.errors import ConfigError, ModelError
from quillread.images.fit import CanvasConfig
from quillread.models.model_folder import ModelInfo, write_info
from quillread.models.trocr.onnx_folder import FACTS_NAME
from quillread.models.trocr.settings import GenerateConfig
from quillread.train.family_settings import LabelsConfig, LoraConfig, TuningConfig
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


def batch_of(family: TrocrFamily) -> dict[str, Any]:
    texts = ("ab", "the bad cab")
    batch = family.form.collate([family.form.make(line_image(t), t, np.random.default_rng(0)) for t in texts])
    del batch["weights"]
    return batch


def test_a_model_that_sees_as_its_teacher_does_has_nothing_to_learn_from_it(start: Path):
    family = open_family(start, tuning=TuningConfig(distil=1.0))
    batch = batch_of(family)
    with torch.no_grad():
        both = family.network.eval()(**batch)["losses"]
        del batch["teacher_values"]
        alone = family.network(**batch)["losses"]
    assert torch.allclose(both, alone, atol=1e-5)


def test_the_distance_from_the_teacher_counts_by_its_weight(start: Path):
    wide = open_family(start)
    narrow = open_family(start, canvas=CanvasConfig(32, 64, "pad"), tuning=TuningConfig(distil=0.5))
    batch = batch_of(narrow)
    with torch.no_grad():
        both = narrow.network.eval()(**batch)["losses"]
        del batch["teacher_values"]
        alone = narrow.network(**batch)["losses"]
        labels = batch["labels"].clamp(min=1)
        inputs = torch.cat([torch.full((2, 1), 2), labels[:, :-1]], dim=1)
        given = narrow.network.network(
            pixel_values=narrow.network._numbers(batch["pixel_values"]), decoder_input_ids=inputs
        ).logits
        seen = wide.network._numbers(batch_of(wide)["pixel_values"])
        wanted = wide.network.network.eval()(pixel_values=seen, decoder_input_ids=inputs).logits
    shares = wanted.softmax(-1)
    tokens = (shares * (wanted.log_softmax(-1) - given.log_softmax(-1))).sum(-1)
    distance = torch.stack([tokens[i, batch["labels"][i] >= 0].mean() for i in range(2)])
    assert distance.min() > 1e-5
    assert torch.allclose(both - alone, 0.5 * distance, atol=1e-5)


@pytest.mark.parametrize("lora", [None, LoraConfig(rank=2)])
def test_a_teacher_is_neither_trained_nor_saved(start: Path, lora: LoraConfig | None):
    plain, taught = (open_family(start, tuning=TuningConfig(distil=distil, lora=lora)) for distil in (0.0, 1.0))
    assert [name for name, _ in taught.network.named_parameters()] == [
        name for name, _ in plain.network.named_parameters()
    ]
    taught.network.train()
    teacher = taught.network._teacher
    assert teacher is not None
    assert not teacher.network.training
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


def test_an_export_cannot_be_trained(start: Path):
    (start / FACTS_NAME).write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="is an export, which is read with and cannot be trained") as caught:
        open_family(start)
    assert "the model that it was made of" in str(caught.value.hint)


def test_random_weights_have_nothing_to_teach():
    with pytest.raises(ConfigError, match="random weights have nothing to teach"):
        TrocrFamily(train_config(family="trocr", tuning=TuningConfig(distil=1.0)))
