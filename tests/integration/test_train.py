"""Whole training runs of a tiny network on the CPU."""

import dataclasses
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import line_image, write_folder
from runs import changed, interrupt, script_rates, train_config
from safetensors.torch import load_file

from quillread.cli.main import main
from quillread.config import build, dump
from quillread.data.spec import open_source
from quillread.errors import ConfigError, DataError, ModelError, TrainingError
from quillread.files import claim_folder, release_folder
from quillread.models.compact.onnx_file import CompactConfig, read_weights, write_onnx
from quillread.models.model_folder import ONNX_NAME, read_info, write_info
from quillread.recognize.load import load
from quillread.train import dataset as dataset_module
from quillread.train import finetune as finetune_module
from quillread.train import trainer as trainer_module
from quillread.train.average import AVERAGE_NAME
from quillread.train.callbacks import CURVE_NAME, METRICS_NAME, StopSpeechless
from quillread.train.compact_form import CompactForm
from quillread.train.config import ScheduleConfig, TrainConfig
from quillread.train.dataset import LineDataset
from quillread.train.finetune import TrainResult, finetune, finetune_folds
from quillread.train.lines import open_lines, open_sources
from quillread.train.new_letters import grow_head
from quillread.train.plan import LineKey, Plan
from quillread.train.run_folder import average_models, average_run
from quillread.train.trainer import LineTrainer, StopOnSignal
from quillread.types import Calibration, ErrorCurve, Transcript

TEXTS = ["a bad cab", "dead bee", "a bead", "faded", "cafe", "decade", "face", "abide"]
EPOCH_STEPS, EPOCHS = 4, 3
LAST = EPOCH_STEPS * EPOCHS


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    lines = write_folder(tmp_path_factory.mktemp("data") / "lines", TEXTS)
    network = CompactConfig(
        channels=(8, 8, 8, 8), blocks=(1, 1, 1, 1), sequence_width=16, sequence_blocks=1, sequence_kernel=3
    )
    return train_config(
        data=(f"folder:{lines}",),
        validation=(f"folder:{lines}",),
        charset="abcdefi ",
        network=network,
        batch_size=2,
        micro_batch=2,
        epochs=EPOCHS,
        patience=EPOCHS,  # so that there is a state of early stopping to restore
        precision="fp32",
        workers=0,
    )


@pytest.fixture(scope="module")
def unbroken(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("unbroken")
    assert finetune(config, output, progress=False).finished
    return output


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """All that a run goes on from, flat: every tensor and number by its path."""
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    parts = {
        "model": load_file(folder / "model.safetensors"),
        "optimizer": torch.load(folder / "optimizer.pt", weights_only=True),
        "scheduler": torch.load(folder / "scheduler.pt", weights_only=True),
        "random": torch.load(folder / "rng_state.pth", weights_only=False)["cpu"],
        "validations": [entry | {"eval_seconds": 0} for entry in state["log_history"] if "eval_cer" in entry],
        "callbacks": state["stateful_callbacks"],
        "best": (state["best_metric"], state["best_global_step"], state["epoch"]),
    }
    return dict(flatten(parts, ""))


def flatten(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from flatten(item, f"{path}/{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from flatten(item, f"{path}/{i}")
    else:
        yield path, value


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    def same(x: Any, y: Any) -> bool:
        return torch.equal(x, y) if isinstance(x, torch.Tensor) else bool(x == y)

    return sorted(set(a) ^ set(b)) + [path for path in a if path in b and not same(a[path], b[path])]


def assert_model_is_checkpoint(output: Path, step: int) -> None:
    exported = read_weights(output / "model" / ONNX_NAME)
    saved = load_file(output / f"checkpoint-{step}" / "model.safetensors")
    assert exported
    for name, value in exported.items():
        assert np.array_equal(value, saved[f"network.{name}"].numpy()), name


def test_a_run_writes_checkpoints_metrics_curve_and_model(unbroken: Path):
    assert (unbroken / f"checkpoint-{LAST}").is_dir()
    entries = [json.loads(line) for line in (unbroken / METRICS_NAME).read_text(encoding="utf-8").splitlines()]
    assert [e["step"] for e in entries if "eval_cer" in e] == [4, 8, 12]
    assert all(0 < e["loss"] < 100 for e in entries if "loss" in e)
    assert (unbroken / CURVE_NAME).read_bytes().startswith(b"\x89PNG")
    assert read_info(unbroken / "model").provenance["steps"] == LAST


def test_the_trained_model_reads_lines(unbroken: Path):
    folder = unbroken / "model"
    recognizer = load(str(folder), threads=1)
    transcripts = recognizer.read([line_image(text) for text in TEXTS])
    assert len(transcripts) == len(TEXTS)
    assert all(0 <= t.confidence <= 1 for t in transcripts)


def test_a_run_sees_the_lines_of_the_plan_in_order(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[LineKey] = []
    make = LineDataset.__getitem__

    def record(dataset: LineDataset, key: LineKey) -> Any:
        seen.append(key)
        return make(dataset, key)

    monkeypatch.setattr(LineDataset, "__getitem__", record)
    finetune(changed(config, validation=(), validation_share=0.0, patience=0, epochs=2), tmp_path, progress=False)
    source = open_source(config.data[0], "train")
    plan = Plan([source], [np.arange(len(TEXTS))], [1.0], len(TEXTS), config.batch_size, config.seed)
    assert seen == [key for epoch in range(2) for batch in plan.batches(epoch) for key in batch]


def test_a_second_run_is_equal_with_a_worker_process(config: TrainConfig, unbroken: Path, tmp_path: Path):
    finetune(changed(config, workers=1), tmp_path, progress=False)
    again = read_checkpoint(tmp_path / f"checkpoint-{LAST}")
    assert differences(again, read_checkpoint(unbroken / f"checkpoint-{LAST}")) == []


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("step", [EPOCH_STEPS, EPOCH_STEPS + 2], ids=["between epochs", "within an epoch"])
def test_a_resumed_run_ends_as_an_unbroken_one(
    config: TrainConfig,
    unbroken: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    workers: int,
):
    config = changed(config, workers=workers)
    with monkeypatch.context() as patch:
        interrupt(patch, step)
        assert not finetune(config, tmp_path, progress=False).finished
    assert (tmp_path / f"checkpoint-{step}").is_dir()
    assert not (tmp_path / f"checkpoint-{step + 1}").exists()
    result = finetune(config, tmp_path, resume=True, progress=False)
    assert result.finished
    resumed = read_checkpoint(tmp_path / f"checkpoint-{LAST}")
    assert differences(resumed, read_checkpoint(unbroken / f"checkpoint-{LAST}")) == []
    assert (result.model / ONNX_NAME).read_bytes() == (unbroken / "model" / ONNX_NAME).read_bytes()


def test_an_interruption_gives_the_signal_handlers_back(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    interrupt(monkeypatch, 1)
    finetune(config, tmp_path, progress=False)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_the_model_is_the_best_checkpoint(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script_rates(monkeypatch, [0.5, 0.3, 0.4])
    result = finetune(config, tmp_path, progress=False)
    assert result.metrics["eval_cer"] == 0.3
    assert_model_is_checkpoint(tmp_path, step=8)


def validated_steps(output: Path) -> list[int]:
    rows = (output / METRICS_NAME).read_text(encoding="utf-8").splitlines()
    return [row["step"] for row in map(json.loads, rows) if "eval_cer" in row]


def test_a_run_validates_and_saves_every_so_many_steps_and_after_the_last(
    config: TrainConfig, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    by_steps = changed(config, validate_steps=5, keep_checkpoints=3)
    with monkeypatch.context() as patch:
        interrupt(patch, 7)
        assert not finetune(by_steps, tmp_path, progress=False).finished
    assert finetune(by_steps, tmp_path, resume=True, progress=False).finished
    assert validated_steps(tmp_path) == [5, 10, LAST]
    # When lines are read does not change what is learnt.
    last = read_checkpoint(unbroken / f"checkpoint-{LAST}")
    found = read_checkpoint(tmp_path / f"checkpoint-{LAST}")
    assert [path for path in differences(found, last) if path.startswith(("/model", "/optimizer"))] == []


def test_a_run_that_validates_by_steps_and_ends_by_the_clock_validates_after_its_last_step(
    config: TrainConfig, tmp_path: Path
):
    result = finetune(changed(config, validate_steps=100, epochs=1000, minutes=0.01), tmp_path, progress=False)
    (last,) = validated_steps(tmp_path)
    assert result.finished and (tmp_path / f"checkpoint-{last}").is_dir()


def test_patience_ends_a_run_that_gets_no_better(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script_rates(monkeypatch, [0.5, 0.6, 0.6])
    result = finetune(changed(config, patience=1), tmp_path, progress=False)
    assert result.finished
    assert (tmp_path / "checkpoint-8").is_dir()
    assert not (tmp_path / "checkpoint-12").exists()
    assert_model_is_checkpoint(tmp_path, step=4)


def test_a_run_without_validation_writes_metrics_and_its_last_weights(config: TrainConfig, tmp_path: Path):
    quiet = changed(config, validation=(), validation_share=0.0, patience=0, epochs=1)
    result = finetune(quiet, tmp_path, progress=False)
    assert result == TrainResult(tmp_path / "model", finished=True, metrics={})
    assert len((tmp_path / METRICS_NAME).read_text(encoding="utf-8").splitlines()) == EPOCH_STEPS
    assert_model_is_checkpoint(tmp_path, step=EPOCH_STEPS)


@pytest.fixture(scope="module")
def averaged(config: TrainConfig) -> TrainConfig:
    return changed(config, average_decay=0.7, keep_checkpoints=3)


@pytest.fixture(scope="module")
def averaged_run(averaged: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("averaged")
    assert finetune(averaged, output, progress=False).finished
    return output


class TestAveragedWeights:
    def test_they_do_not_change_what_is_learnt(self, averaged_run: Path, unbroken: Path):
        ours, theirs = (read_checkpoint(folder / f"checkpoint-{LAST}") for folder in (averaged_run, unbroken))
        assert [path for path in differences(ours, theirs) if path.startswith(("/model", "/optimizer"))] == []

    def test_the_model_is_the_average_of_the_best_checkpoint(
        self, averaged: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        script_rates(monkeypatch, [0.5, 0.3, 0.4])
        finetune(averaged, tmp_path, progress=False)
        assert_model_is_average(tmp_path, step=8)

    def test_without_validation_the_model_is_the_last_average(self, averaged: TrainConfig, tmp_path: Path):
        quiet = changed(averaged, validation=(), validation_share=0.0, patience=0, epochs=1)
        finetune(quiet, tmp_path, progress=False)
        assert_model_is_average(tmp_path, step=EPOCH_STEPS)

    def test_validations_are_of_the_average(
        self, averaged: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        read, seen = LineTrainer.read, []

        def look(self: LineTrainer, **given: Any) -> Any:
            seen.append({name: value.clone() for name, value in self.family.network.named_parameters()})
            return read(self, **given)

        monkeypatch.setattr(LineTrainer, "read", look)
        finetune(changed(averaged, epochs=1), tmp_path, progress=False)
        kept = load_file(tmp_path / f"checkpoint-{EPOCH_STEPS}" / AVERAGE_NAME)
        assert len(seen) == 2  # the validation, and that of the end
        for values in seen:
            assert all(torch.equal(value, kept[name]) for name, value in values.items())

    @pytest.mark.parametrize("last", [1, 2])
    def test_a_model_of_its_checkpoints_is_of_their_averages(self, averaged_run: Path, tmp_path: Path, last: int):
        checkpoints = average_run(averaged_run, last, tmp_path / "mean")
        made = read_weights(tmp_path / "mean" / ONNX_NAME)
        kept = [load_file(path / AVERAGE_NAME) for path in checkpoints]
        assert len(kept) == last
        for name, value in made.items():
            if f"network.{name}" in kept[0]:
                wanted = sum(each[f"network.{name}"].double() for each in kept) / last
                assert np.allclose(value, wanted.numpy(), rtol=1e-6, atol=1e-9), name
        assert sum(f"network.{name}" in kept[0] for name in made) > 0.9 * len(made)

    @pytest.mark.parametrize("step", [EPOCH_STEPS, EPOCH_STEPS + 2], ids=["between epochs", "within an epoch"])
    def test_a_resumed_run_ends_with_the_same(
        self,
        averaged: TrainConfig,
        averaged_run: Path,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        step: int,
    ):
        with monkeypatch.context() as patch:
            interrupt(patch, step)
            assert not finetune(averaged, tmp_path, progress=False).finished
        assert finetune(averaged, tmp_path, resume=True, progress=False).finished
        ours, theirs = (load_file(folder / f"checkpoint-{LAST}" / AVERAGE_NAME) for folder in (tmp_path, averaged_run))
        assert differences(ours, theirs) == []

    def test_a_damaged_average_is_a_damaged_checkpoint(
        self, averaged: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        with monkeypatch.context() as patch:
            interrupt(patch, EPOCH_STEPS + 2)
            finetune(averaged, tmp_path, progress=False)
        path = tmp_path / f"checkpoint-{EPOCH_STEPS + 2}" / AVERAGE_NAME
        path.write_bytes(path.read_bytes()[:-8])
        assert finetune(averaged, tmp_path, resume=True, progress=False).finished
        assert f"its {AVERAGE_NAME} is damaged" in caplog.text


def assert_model_is_average(output: Path, step: int) -> None:
    exported = read_weights(output / "model" / ONNX_NAME)
    kept, weights = (load_file(output / f"checkpoint-{step}" / name) for name in (AVERAGE_NAME, "model.safetensors"))
    assert all(np.array_equal(value, kept[f"network.{name}"].numpy()) for name, value in exported.items())
    assert any(not np.array_equal(value, weights[f"network.{name}"].numpy()) for name, value in exported.items())


def test_a_finished_run_is_not_overwritten(config: TrainConfig, unbroken: Path):
    with pytest.raises(ConfigError, match="holds a run already") as caught:
        finetune(config, unbroken, progress=False)
    assert "resume it" in str(caught.value)


def test_a_folder_in_which_a_training_runs_is_left_alone(config: TrainConfig, unbroken: Path, tmp_path: Path):
    output = shutil.copytree(unbroken, tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*")}
    held = claim_folder(output)
    for how in ({"resume": True}, {"overwrite": True}, {}):
        with pytest.raises(ConfigError, match="a training still runs in this folder"):
            finetune(config, output, progress=False, **how)
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*")} == before
    release_folder(held)
    assert finetune(config, output, resume=True, progress=False).finished


def test_a_training_holds_its_folder_to_the_end(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write, refused = finetune_module.write_model, []

    def try_beside(*given: Any, **named: Any) -> None:
        with pytest.raises(ConfigError, match="a training still runs"):
            finetune(config, tmp_path / "run", resume=True, progress=False)
        refused.append(True)
        write(*given, **named)

    monkeypatch.setattr(finetune_module, "write_model", try_beside)
    assert finetune(changed(config, epochs=1), tmp_path / "run", progress=False).finished
    assert refused


def test_a_run_that_cannot_start_leaves_no_folder(config: TrainConfig, tmp_path: Path):
    with pytest.raises(DataError):
        finetune(changed(config, data=("folder:none",)), tmp_path / "a" / "run", progress=False)
    assert not (tmp_path / "a").exists()


def test_no_run_to_resume_is_an_error(config: TrainConfig, tmp_path: Path):
    with pytest.raises(ConfigError, match="settings of the run to resume are missing"):
        finetune(config, tmp_path / "new", resume=True, progress=False)


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_anew(
    config: TrainConfig, unbroken: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    for name in ("train.json", "data.json"):
        shutil.copy(unbroken / name, tmp_path)
    (tmp_path / f"checkpoint-{EPOCH_STEPS}").mkdir()
    (tmp_path / f"checkpoint-{EPOCH_STEPS}" / "model.safetensors").write_bytes(b"half")
    assert finetune(config, tmp_path, resume=True, progress=False).finished
    assert "starts anew" in caplog.text
    ours, theirs = (read_checkpoint(folder / f"checkpoint-{LAST}") for folder in (tmp_path, unbroken))
    assert differences(ours, theirs) == []


def test_a_cut_best_checkpoint_does_not_cost_the_run_its_model(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    script_rates(monkeypatch, [0.3, 0.4, 0.5])
    save = trainer_module.seal_checkpoint

    def save_and_cut(folder: Path) -> None:
        save(folder)
        if folder.name == f"checkpoint-{LAST}":
            (tmp_path / f"checkpoint-{EPOCH_STEPS}" / "model.safetensors").write_bytes(b"half")

    monkeypatch.setattr(trainer_module, "seal_checkpoint", save_and_cut)
    assert finetune(config, tmp_path, progress=False).finished
    assert_model_is_checkpoint(tmp_path, step=LAST)


def test_a_second_signal_ends_a_run_at_once(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class TwoSignals(StopOnSignal):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(finetune_module, "StopOnSignal", TwoSignals)
    with pytest.raises(KeyboardInterrupt):
        finetune(config, tmp_path, progress=False)
    assert not any(tmp_path.glob("checkpoint-*"))


def test_a_run_without_data_is_an_error(config: TrainConfig, tmp_path: Path):
    with pytest.raises(DataError, match="no training data"):
        finetune(changed(config, data=()), tmp_path, progress=False)


def test_a_run_starts_from_the_weights_of_a_model_folder(config: TrainConfig, unbroken: Path, tmp_path: Path):
    still = changed(
        config,
        start=str(unbroken / "model"),
        schedule=ScheduleConfig(learning_rate=0.0),
        epochs=1,
        validation=(),
        validation_share=0.0,
        patience=0,
    )
    finetune(still, tmp_path, progress=False)
    before = read_weights(unbroken / "model" / ONNX_NAME)
    after = read_weights(tmp_path / "model" / ONNX_NAME)
    learned = [name for name in before if "running" not in name]
    assert learned
    assert [name for name in learned if not np.array_equal(before[name], after[name])] == []


def test_a_model_is_trained_on_from_python_as_by_the_command(config: TrainConfig, unbroken: Path, tmp_path: Path):
    start = str(unbroken / "model")
    (data,) = map(str, config.data)
    few = {"epochs": 1, "epoch_lines": 4, "batch_size": 2, "workers": 0, "precision": "fp32"}
    result = finetune(TrainConfig.starting_from(start, data=[data], **few), tmp_path / "python", progress=False)
    sets = [part for name, value in few.items() for part in ("--set", f"{name}={value}")]
    assert main(["train", "--model", start, "--data", data, *sets, "--output", str(tmp_path / "command")]) == 0
    weights = [read_weights(folder / ONNX_NAME) for folder in (result.model, tmp_path / "command" / "model")]
    assert [name for name, value in weights[0].items() if not np.array_equal(value, weights[1][name])] == []


def test_a_start_of_another_charset_is_refused(config: TrainConfig, unbroken: Path, tmp_path: Path):
    other = changed(config, start=str(unbroken / "model"), charset="xyz abcdefi")
    with pytest.raises(ModelError, match="another charset"):
        finetune(other, tmp_path, progress=False)


def test_a_start_of_another_shape_names_the_first_tensor(config: TrainConfig, unbroken: Path, tmp_path: Path):
    wider = dataclasses.replace(config.compact.network, channels=(16, 8, 8, 8))
    with pytest.raises(ModelError, match=r"another shape .*stem\.0\.weight"):
        finetune(changed(config, start=str(unbroken / "model"), network=wider), tmp_path, progress=False)


@pytest.fixture
def taught(config: TrainConfig, unbroken: Path, tmp_path: Path) -> TrainConfig:
    """A smaller network that starts from a copy of a model's first layers and learns from it."""
    teacher = tmp_path / "teacher"
    shutil.copytree(unbroken / "model", teacher)
    small = dataclasses.replace(config.compact.network, sequence_blocks=0)
    return changed(config, network=small, start=str(teacher), allow_partial=True, teacher=str(teacher), shortcut=0.0)


def test_a_resumed_run_with_a_teacher_ends_as_an_unbroken_one(
    taught: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    finetune(taught, tmp_path / "whole", progress=False)
    with monkeypatch.context() as patch:
        interrupt(patch, step=6)
        assert not finetune(taught, tmp_path / "cut", progress=False).finished
    assert finetune(taught, tmp_path / "cut", resume=True, progress=False).finished
    whole, cut = (read_checkpoint(tmp_path / name / f"checkpoint-{LAST}") for name in ("whole", "cut"))
    assert differences(whole, cut) == []
    assert not any("teacher" in name for name in whole)


def test_a_run_is_not_resumed_with_another_teacher(
    taught: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        interrupt(patch, step=2)
        finetune(taught, tmp_path / "run", progress=False)
    weights = read_weights(tmp_path / "teacher" / ONNX_NAME)
    write_onnx(
        {n: v * 1.01 for n, v in weights.items()}, config_of(tmp_path / "teacher"), tmp_path / "teacher/model.onnx"
    )
    with pytest.raises(DataError, match=r"the data changed .*teacher: "):
        finetune(taught, tmp_path / "run", resume=True, progress=False)


def config_of(folder: Path) -> CompactConfig:
    return build(CompactConfig, read_info(folder).provenance["training"]["network"])


def test_the_card_names_the_teacher_and_what_was_taken_over(taught: TrainConfig, tmp_path: Path):
    finetune(changed(taught, epochs=1), tmp_path / "run", progress=False)
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "Started from: teacher, in part.\nTaught by: teacher.\n" in card
    assert "was taught by, bind this model too" in card
    weights = read_weights(tmp_path / "run" / "model" / ONNX_NAME)
    size = sum(value.size for name, value in weights.items() if ".running_" not in name)
    assert f"A compact CTC model for lines of handwriting, {size:,} parameters, trained" in card


def test_a_run_does_not_overwrite_its_teacher(taught: TrainConfig, tmp_path: Path):
    output = tmp_path / "run"
    finetune(changed(taught, epochs=1), output, progress=False)
    inside = changed(taught, start=None, allow_partial=False, teacher=str(output / "model"))
    with pytest.raises(ConfigError, match="would be overwritten"):
        finetune(inside, output, overwrite=True, progress=False)


@pytest.mark.slow
def test_two_processes_share_the_steps_of_a_compact_network(taught: TrainConfig, tmp_path: Path):
    settings = changed(taught, batch_size=4, micro_batch=0, epochs=1)
    (tmp_path / "train.json").write_text(json.dumps(dump(settings)), encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command = ["-m", "quillread.cli.main", "-v", "train", "--config", str(tmp_path / "train.json"), "--output"]
    run = subprocess.run(
        [*launcher, *command, str(tmp_path / "run")],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "2 steps of 4 lines, all at a time; fp32; 2 processes\n" in run.stderr
    assert read_info(tmp_path / "run" / "model").provenance["lines_seen"] == 8


@pytest.mark.slow
def test_a_run_of_two_processes_that_was_killed_goes_on_with_one(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    settings = changed(config, batch_size=4, micro_batch=0, patience=0)
    (tmp_path / "train.json").write_text(json.dumps(dump(settings)), encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    command = [str(Path(__file__).parents[1] / "lost_runs.py"), "train", "--config", str(tmp_path / "train.json")]
    lost = subprocess.run(
        [*launcher, *command, "--output", str(tmp_path / "run")],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"OMP_NUM_THREADS": "1", "LOST": "3"},
        timeout=300,
    )
    assert lost.returncode == -signal.SIGKILL
    assert (tmp_path / "run" / "checkpoint-2").is_dir(), lost.stderr[-2000:]
    assert not (tmp_path / "run" / "model").exists()
    monkeypatch.setattr(logging.getLogger("transformers"), "handlers", [caplog.handler])
    result = finetune(settings, tmp_path / "run", resume=True, progress=False)
    assert result.finished
    assert read_info(result.model).provenance["steps"] == 6
    assert "the run goes on with 1 process, its checkpoint is of 2" in caplog.text
    assert "do not match" not in caplog.text


def test_a_run_that_goes_on_with_as_many_processes_says_nothing_of_them(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with monkeypatch.context() as patch:
        interrupt(patch, 2)
        finetune(config, tmp_path, progress=False)
    monkeypatch.setattr(logging.getLogger("transformers"), "handlers", [caplog.handler])  # it keeps its log to itself
    finetune(changed(config, epochs=EPOCHS + 1), tmp_path, resume=True, progress=False)
    assert "goes on with" not in caplog.text and "do not match" not in caplog.text


def test_a_broken_image_is_named_once_and_the_run_goes_on(
    config: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    lines = write_folder(tmp_path / "lines", TEXTS)
    picture = lines / "line-03.png"
    picture.write_bytes(picture.read_bytes()[:200])
    broken = changed(config, data=(f"folder:{lines}",), validation=(), validation_share=0.0, patience=0)
    assert finetune(broken, tmp_path / "run", progress=False).finished
    assert caplog.text.count("line-03.png: cannot be decoded") == 1


def test_a_broken_image_among_the_validation_lines_is_left_out(
    config: TrainConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    lines = write_folder(tmp_path / "lines", TEXTS)
    picture = lines / "line-03.png"
    picture.write_bytes(picture.read_bytes()[:200])
    broken = changed(config, validation=(f"folder:{lines}",), epochs=1)
    finetune(broken, tmp_path / "run", progress=False)
    assert read_info(tmp_path / "run" / "model").provenance["validation_lines"] == {"lines": len(TEXTS) - 1}
    assert "line-03.png: cannot be decoded" in caplog.text


def test_many_broken_images_end_the_run_and_free_the_signals(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dataset_module, "_MOST_UNREADABLE", 1)
    lines = write_folder(tmp_path / "lines", TEXTS)
    for number in (2, 3):
        picture = lines / f"line-0{number}.png"
        picture.write_bytes(picture.read_bytes()[:200])
    before = signal.getsignal(signal.SIGTERM)
    broken = changed(config, data=(f"folder:{lines}",), validation=(), validation_share=0.0, patience=0)
    with pytest.raises(DataError, match=r"row [23] \(line-0[23]\.png\)"):
        finetune(broken, tmp_path / "run", progress=False)
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("progress", [True, False])
def test_a_run_writes_nothing_to_stdout(
    config: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str], progress: bool
):
    quick = changed(config, validation=(), validation_share=0.0, patience=0, epochs=1)
    finetune(quick, tmp_path, progress=progress)
    assert capsys.readouterr().out == ""


def test_a_resumed_run_goes_on_counting_epochs_without_a_gain(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = changed(config, patience=2, epochs=6)
    with monkeypatch.context() as patch:
        interrupt(patch, 2 * EPOCH_STEPS)
        script_rates(patch, [0.5, 0.6])
        assert not finetune(settings, tmp_path, progress=False).finished
    script_rates(monkeypatch, [0.7, 0.8, 0.9, 0.9])
    finetune(settings, tmp_path, resume=True, progress=False)
    assert (tmp_path / f"checkpoint-{3 * EPOCH_STEPS}").is_dir()  # two epochs after the best one
    assert not (tmp_path / f"checkpoint-{4 * EPOCH_STEPS}").exists()


def test_a_run_whose_folder_was_moved_keeps_its_best_weights(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as patch:
        interrupt(patch, 2 * EPOCH_STEPS)
        script_rates(patch, [0.5, 0.6])
        finetune(config, tmp_path / "before", progress=False)
    (tmp_path / "before").rename(tmp_path / "after")
    script_rates(monkeypatch, [0.7])
    finetune(config, tmp_path / "after", resume=True, progress=False)
    assert_model_is_checkpoint(tmp_path / "after", EPOCH_STEPS)


def test_a_run_is_not_resumed_with_other_settings(config: TrainConfig, unbroken: Path):
    record = (unbroken / "train.json").read_bytes()
    other = changed(config, seed=2, epochs=5)
    with pytest.raises(ConfigError, match="other settings: seed: 1 before, 2 now"):
        finetune(other, unbroken, resume=True, progress=False)
    assert (unbroken / "train.json").read_bytes() == record


def test_new_letters_are_taught_and_confidences_kept(
    config: TrainConfig, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    start = tmp_path / "start"
    shutil.copytree(unbroken / "model", start)
    known = replace(
        read_info(start),
        line_calibration=Calibration(0.7, -0.3),
        error_curve=ErrorCurve((0.0, 0.5), (0.1, 0.2)),
    )
    write_info(known, start)
    lines = write_folder(tmp_path / "lines", ["faſt bad", "ſad", "b\u0303 bed", "cafe", "face"])
    taught = changed(config, start=str(start), data=(f"folder:{lines}",), epochs=2, patience=0)
    script_rates(monkeypatch, [0.5])
    result = finetune(taught, tmp_path / "run", progress=False)
    info = read_info(result.model)
    assert info.charset == config.compact.charset + "tſ\u0303"
    assert (info.line_calibration, info.error_curve) == (known.line_calibration, known.error_curve)
    assert "skipped" not in info.provenance["sources"][0]
    seen, before = set(info.provenance["trained_on"]), set(known.provenance["trained_on"])
    assert (len(before), len(seen - before), before <= seen) == (len(TEXTS), 3, True)  # cafe and face it knew
    assert load(str(result.model), threads=1).read([line_image("faſt")])


def test_checkpoints_are_averaged(config: TrainConfig, unbroken: Path, tmp_path: Path):
    checkpoints = average_run(unbroken, 2, tmp_path / "mean")
    exported = read_weights(tmp_path / "mean" / ONNX_NAME)
    first, second = (load_file(path / "model.safetensors") for path in checkpoints)
    for name, value in exported.items():
        wanted = (first[f"network.{name}"].double() + second[f"network.{name}"].double()) / 2
        assert np.allclose(value, wanted.numpy(), rtol=1e-6, atol=1e-9), name
    assert read_info(tmp_path / "mean").provenance["averaged"] == [path.name for path in checkpoints]


def test_models_are_averaged(unbroken: Path, tmp_path: Path):
    average_run(unbroken, 2, tmp_path / "other")
    folders = [unbroken / "model", tmp_path / "other"]
    other = read_info(folders[1])
    write_info(replace(other, provenance={**other.provenance, "trained_on": ["a mark"]}), folders[1])
    average_models([str(folder) for folder in folders], tmp_path / "mean")
    seen = [*read_info(folders[0]).provenance["trained_on"], "a mark"]
    assert sorted(seen) == read_info(tmp_path / "mean").provenance["trained_on"]
    first, second, mean = (read_weights(folder / ONNX_NAME) for folder in (*folders, tmp_path / "mean"))
    assert any(not np.array_equal(first[name], second[name]) for name in first)
    for name in mean:
        assert np.allclose(mean[name], (first[name] + second[name]) / 2, atol=1e-6)


def test_a_model_that_has_learnt_letters_is_averaged_with_one_that_lacks_them(unbroken: Path, tmp_path: Path):
    first = read_info(unbroken / "model")
    weights = read_weights(unbroken / "model" / ONNX_NAME)
    state = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
    grown = {
        n: v.numpy()
        for n, v in grow_head(state, first.charset, first.charset + "ꝗ", first.provenance["training"]["seed"]).items()
    }
    taught = tmp_path / "taught"
    taught.mkdir()
    network = build(CompactConfig, first.provenance["training"]["network"])
    write_onnx(grown | {"head.bias": grown["head.bias"] + 1}, network, taught / ONNX_NAME)
    write_info(replace(first, charset=first.charset + "ꝗ"), taught)
    average_models([str(unbroken / "model"), str(taught)], tmp_path / "mean")
    mean = read_weights(tmp_path / "mean" / ONNX_NAME)
    assert read_info(tmp_path / "mean").charset == first.charset + "ꝗ"
    assert np.allclose(mean["head.weight"], grown["head.weight"], atol=1e-6)
    assert np.allclose(mean["head.bias"], grown["head.bias"] + 0.5, atol=1e-6)
    with pytest.raises(ModelError, match="differ in letters"):
        average_models([str(taught), str(unbroken / "model")], tmp_path / "again")


def test_models_of_other_letters_cannot_be_averaged(unbroken: Path, tmp_path: Path):
    with pytest.raises(ModelError, match="cannot be averaged"):
        average_models(["builtin", str(unbroken / "model")], tmp_path / "mean")


def test_the_last_checkpoint_alone_is_made_a_model(unbroken: Path, tmp_path: Path):
    assert average_run(unbroken, 1, tmp_path / "last") == [unbroken / f"checkpoint-{LAST}"]
    made = read_weights(tmp_path / "last" / ONNX_NAME)
    kept = load_file(unbroken / f"checkpoint-{LAST}" / "model.safetensors")
    assert all(np.array_equal(value, kept[f"network.{name}"].numpy()) for name, value in made.items())


def test_more_checkpoints_than_there_are_cannot_be_averaged(unbroken: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="3 are asked for"):
        average_run(unbroken, 3, tmp_path / "mean")


def test_a_folder_without_a_run_cannot_be_averaged(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds no run"):
        average_run(tmp_path, 2, tmp_path / "mean")


def test_a_fold_is_validated_on_what_it_is_not_trained_on(config: TrainConfig, tmp_path: Path):
    form = CompactForm(config)
    sources = open_sources(config)
    whole = open_lines(changed(config, validation=(), validation_share=0.0), form, sources)
    parts = [open_lines(changed(config, fold=(number, 2), validation_lines=0), form, sources) for number in (1, 2)]
    held = [{sample.id for part in lines.validation for sample in part.samples} for lines in parts]
    assert held[0] and held[1] and not held[0] & held[1]
    assert len(held[0] | held[1]) == sum(len(source) for source in whole.sources)


def test_folds_go_on_with_the_one_that_was_interrupted(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folds = changed(config, validation=(), epochs=1)
    with monkeypatch.context() as patch:
        interrupt(patch, 1)
        assert [result.finished for result in finetune_folds(folds, 2, tmp_path, progress=False)] == [False]
    first, second = (tmp_path / f"fold-{number}" / "model" for number in (1, 2))
    assert (read_info(first).provenance["steps"], read_info(first).provenance["finished"]) == (1, False)
    going_on = finetune_folds(folds, 2, tmp_path, resume=True, progress=False)
    assert [(result.model, result.finished) for result in going_on] == [(first, True), (second, True)]
    assert read_info(first).provenance["steps"] == read_info(second).provenance["steps"] == EPOCH_STEPS // 2
    assert not list(finetune_folds(folds, 2, tmp_path, resume=True, progress=False))
    with pytest.raises(ConfigError, match="other settings: seed"):
        list(finetune_folds(changed(folds, seed=5), 2, tmp_path, resume=True, progress=False))
    longer = finetune_folds(changed(folds, epochs=2), 2, tmp_path, resume=True, progress=False)
    assert [result.model for result in longer] == [first, second]
    write_info(replace(read_info(first), provenance={"steps": EPOCH_STEPS}), first)  # as before it was recorded
    assert not list(finetune_folds(changed(folds, epochs=2), 2, tmp_path, resume=True, progress=False))
    write_info(replace(read_info(first), provenance={"steps": 1}), first)
    again = finetune_folds(changed(folds, epochs=2), 2, tmp_path, resume=True, progress=False)
    assert [result.model for result in again] == [first]


def test_a_run_that_starts_from_a_model_tells_what_became_of_it(
    config: TrainConfig, unbroken: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    spoiling = ScheduleConfig(learning_rate=0.3, warmup=0.0)
    settings = changed(config, start=str(unbroken / "model"), schedule=spoiling, epochs=1, patience=0)
    with caplog.at_level("INFO", "quillread.train.finetune"):
        finetune(settings, tmp_path / "run", progress=False)
    assert f"CER on {len(TEXTS)} validation lines: " in caplog.text
    is_worse = _rates(caplog.text)[1] > _rates(caplog.text)[0]
    assert ("made the model worse" in caplog.text) == is_worse
    old, new = (read_weights(folder / "model" / ONNX_NAME) for folder in (unbroken, tmp_path / "run"))
    assert all(np.array_equal(old[name], new[name]) for name in old) == is_worse


def read_the_same(trainer: LineTrainer, *, limited: bool = True) -> list[list[Transcript]]:
    return [[Transcript("a", 0.5) for _ in part.samples] for part in trainer.validation]


def read_each(trainer: LineTrainer, *, limited: bool = True) -> list[list[Transcript]]:
    return [[Transcript(sample.text, 0.5) for sample in part.samples] for part in trainer.validation]


@pytest.mark.parametrize("from_model", [False, True])
def test_a_model_that_says_the_same_for_all_lines_is_not_written(
    config: TrainConfig, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_model: bool
):
    monkeypatch.setattr(StopSpeechless, "has_stopped", True)
    monkeypatch.setattr(LineTrainer, "read", read_the_same)
    start = {"start": str(unbroken / "model"), "allow_partial": True} if from_model else {}
    with pytest.raises(TrainingError, match="says the same for all validation lines") as caught:
        finetune(changed(config, **start), tmp_path / "run", progress=False)
    assert ("learning_rate" in caught.value.hint) == from_model
    assert not (tmp_path / "run" / "model").exists()


def test_a_run_that_fell_silent_ends_with_weights_of_before_that_read(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(StopSpeechless, "has_stopped", True)
    monkeypatch.setattr(LineTrainer, "read", read_each)
    result = finetune(config, tmp_path / "run", progress=False)
    assert result.metrics["eval_cer"] == 0
    assert (result.model / ONNX_NAME).is_file()


def _rates(text: str) -> list[float]:
    found = re.search(r"lines: ([\d.]+) % before, ([\d.]+) % after", text)
    assert found is not None
    return [float(rate) for rate in found.groups()]
