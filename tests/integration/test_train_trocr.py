"""Whole training runs of tiny TrOCR networks on the CPU."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import line_image, write_folder, write_trocr
from runs import TINY_TROCR, changed, gradient_gap, interrupt, optimizer_tensors, script_rates, train_config
from safetensors.torch import load_file
from transformers import VisionEncoderDecoderModel

from quillread.config import dump
from quillread.errors import ModelError, TrainingError
from quillread.evaluate.metrics import score_line, summarise
from quillread.images.fit import CanvasConfig
from quillread.images.preprocess import PreprocessConfig
from quillread.models.model_folder import read_info
from quillread.models.trocr.loading import load_trocr
from quillread.recognize.load import load
from quillread.train import finetune as finetune_module
from quillread.train.callbacks import EndInTime
from quillread.train.config import ScheduleConfig, TrainConfig
from quillread.train.family_settings import LoraConfig, TuningConfig
from quillread.train.finetune import finetune
from quillread.train.trocr.family import TrocrFamily
from quillread.train.trocr.tuning import COLUMNS_NAME

TEXTS = ["a bad cab", "dead bee", "a bead", "faded", "cafe", "decade", "face", "abide"]
EPOCH_STEPS, EPOCHS = 4, 3
LAST = EPOCH_STEPS * EPOCHS
ROUNDING = 1e-5
"""How far gradients are apart, as a share, where sums are rounded in another order: measured 2e-7."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    lines = write_folder(tmp_path_factory.mktemp("data") / "lines", TEXTS)
    return train_config(
        family="trocr",
        data=(f"folder:{lines}",),
        validation=(f"folder:{lines}",),
        shape=TINY_TROCR,
        canvas=CanvasConfig(32, 128, "pad"),
        preprocess=PreprocessConfig(steps=("grayscale", "median")),
        batch_size=2,
        micro_batch=2,
        epochs=EPOCHS,
        patience=EPOCHS,
        precision="fp32",
        workers=0,
    )


@pytest.fixture(scope="module")
def unbroken(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("unbroken") / "run"
    assert finetune(config, output, progress=False).finished
    return output


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def unequal(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """Names of the tensors that are not the same bit for bit, or only on one side."""
    return sorted(a.keys() ^ b.keys()) + [name for name in a if name in b and not torch.equal(a[name], b[name])]


def test_a_run_writes_what_people_look_at(unbroken: Path):
    entries = [json.loads(line) for line in (unbroken / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [e["step"] for e in entries if "eval_cer" in e and "eval_wer" in e] == [4, 8, 12]
    assert (unbroken / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "wrote: a bad cab" in (unbroken / "samples" / "step-4.txt").read_text(encoding="utf-8")
    assert "folder:" in (unbroken / "model" / "README.md").read_text(encoding="utf-8")
    assert list((unbroken / "runs").rglob("events.*"))


def test_the_trained_model_reads_with_the_preprocessing_of_the_training(config: TrainConfig, unbroken: Path):
    info = read_info(unbroken / "model")
    assert (info.preprocess, info.canvas) == (config.preprocess, config.trocr.canvas)
    assert len(load(str(unbroken / "model"), threads=1).read([line_image("abc")] * 2)) == 2


def test_plain_transformers_loads_every_tensor_of_the_model(unbroken: Path):
    plain, report = VisionEncoderDecoderModel.from_pretrained(unbroken / "model", output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert unequal(plain.state_dict(), load_trocr(unbroken / "model").network.state_dict()) == []


@pytest.mark.parametrize("step", [EPOCH_STEPS, EPOCH_STEPS + 2], ids=["between epochs", "within an epoch"])
def test_a_resumed_run_ends_as_an_unbroken_one(
    config: TrainConfig, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
):
    with monkeypatch.context() as patch:
        interrupt(patch, step)
        assert not finetune(config, tmp_path / "run", progress=False).finished
    assert finetune(config, tmp_path / "run", resume=True, progress=False).finished
    last, other = tmp_path / "run" / f"checkpoint-{LAST}", unbroken / f"checkpoint-{LAST}"
    assert unequal(tensors(last), tensors(other)) == []
    assert unequal(optimizer_tensors(last), optimizer_tensors(other)) == []


def test_a_run_with_a_column_head_is_resumed_with_it_and_leaves_none(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tuned = changed(config, tuning=TuningConfig(columns=0.5))
    finetune(tuned, tmp_path / "unbroken", progress=False)
    with monkeypatch.context() as patch:
        interrupt(patch, step=EPOCH_STEPS + 1)
        finetune(tuned, tmp_path / "broken", progress=False)
    finetune(tuned, tmp_path / "broken", resume=True, progress=False)
    one, other = (tmp_path / name / f"checkpoint-{LAST}" for name in ("unbroken", "broken"))
    heads = [load_file(folder / COLUMNS_NAME) for folder in (one, other)]
    assert not unequal(*heads)
    assert not unequal(tensors(one), tensors(other))
    assert not any("columns" in name for name in tensors(tmp_path / "broken" / "model"))
    assert not (tmp_path / "broken" / "model" / COLUMNS_NAME).exists()


@pytest.mark.parametrize("adapters", [False, True], ids=["whole", "adapters"])
def test_the_average_of_the_weights_is_delivered_and_resumed(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapters: bool
):
    lora = TuningConfig(lora=LoraConfig(rank=2, dropout=0.0))
    averaged = changed(config, average_decay=0.7, **({"tuning": lora} if adapters else {}))
    finetune(averaged, tmp_path / "unbroken", progress=False)
    with monkeypatch.context() as patch:
        interrupt(patch, step=EPOCH_STEPS + 1)
        finetune(averaged, tmp_path / "broken", progress=False)
    finetune(averaged, tmp_path / "broken", resume=True, progress=False)
    finetune(changed(averaged, average_decay=0.0), tmp_path / "plain", progress=False)
    models = [tensors(tmp_path / name / "model") for name in ("unbroken", "broken", "plain")]
    assert not unequal(*models[:2])
    assert unequal(models[0], models[2])
    if not adapters:
        assert all(unequal(models[0], tensors(kept)) for kept in (tmp_path / "unbroken").glob("checkpoint-*"))


def test_a_run_that_its_clock_ended_trains_no_further_when_it_is_resumed(config: TrainConfig, tmp_path: Path):
    timed = changed(config, minutes=1e-6)
    assert finetune(timed, tmp_path / "run", progress=False).finished
    assert finetune(timed, tmp_path / "run", resume=True, progress=False).finished
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-1"]
    assert finetune(changed(timed, minutes=60.0), tmp_path / "run", resume=True, progress=False).finished
    assert read_info(tmp_path / "run" / "model").provenance["steps"] == LAST


def test_the_rate_falls_with_the_time(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    half_over = property(lambda _: 0.5)
    monkeypatch.setattr(EndInTime, "share", half_over)
    schedule = ScheduleConfig(learning_rate=1e-3, warmup=0.0, shape="linear")
    timed = changed(config, minutes=60.0, schedule=schedule, epochs=1)
    finetune(timed, tmp_path / "run", progress=False)
    state = torch.load(tmp_path / "run" / f"checkpoint-{EPOCH_STEPS}" / "scheduler.pt", weights_only=True)
    assert state["_last_lr"] == [0.0, 0.0]
    timed = changed(timed, epochs=10)
    with monkeypatch.context() as patch:
        interrupt(patch, step=2)
        finetune(timed, tmp_path / "longer", progress=False)
    state = torch.load(tmp_path / "longer" / "checkpoint-2" / "scheduler.pt", weights_only=True)
    assert state["_last_lr"] == pytest.approx([5e-4, 5e-4])


def test_the_model_is_the_best_checkpoint(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script_rates(monkeypatch, [0.5, 0.3, 0.4])
    finetune(config, tmp_path / "run", progress=False)
    best, last = tmp_path / "run" / "checkpoint-8", tmp_path / "run" / "checkpoint-12"
    assert unequal(tensors(tmp_path / "run" / "model"), tensors(best)) == []
    assert len(unequal(tensors(best), tensors(last))) > 60  # of 75: the pooler and masks do not learn


def test_a_run_that_ended_early_trains_no_further_when_it_is_resumed(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = changed(config, patience=1)
    with monkeypatch.context() as patch:
        script_rates(patch, [0.3, 0.5])
        finetune(settings, tmp_path / "run", progress=False)
    before = tensors(tmp_path / "run" / "model")
    assert finetune(settings, tmp_path / "run", resume=True, progress=False).finished
    assert sorted(p.name for p in (tmp_path / "run").glob("checkpoint-*")) == ["checkpoint-4", "checkpoint-8"]
    assert unequal(tensors(tmp_path / "run" / "model"), before) == []


def test_what_is_reported_is_read_without_knowing_how_long_the_texts_are(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    short = write_folder(tmp_path / "short", ["a", "b"])
    limits: list[int | None] = []
    recognizer = TrocrFamily.recognizer

    def spy(self: TrocrFamily, *args: Any) -> Any:
        made = recognizer(self, *args)
        limits.append(made.info.generate.max_tokens)
        return made

    monkeypatch.setattr(TrocrFamily, "recognizer", spy)
    result = finetune(changed(config, validation=(f"folder:{short}",), epochs=1), tmp_path / "run", progress=False)
    epoch, final = limits
    assert epoch is not None and final is None
    texts = [t.text for t in load(str(result.model), threads=1).read([line_image("a"), line_image("b")])]
    scores = [score_line(truth, text) for truth, text in zip("ab", texts, strict=True)]
    assert result.metrics["eval_cer"] == pytest.approx(summarise(scores)["cer"])


def test_a_run_that_was_broken_off_before_its_first_step_can_be_overwritten(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = changed(config, preprocess=PreprocessConfig(steps=("non_local_means",)), micro_batch=0, epochs=1)

    def killed(*args: Any, **kwargs: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finetune_module, "fit_micro_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            finetune(settings, tmp_path / "run", progress=False)
    assert finetune(settings, tmp_path / "run", overwrite=True, progress=False).finished


@pytest.mark.slow
def test_termination_of_the_whole_process_group_saves_a_checkpoint(config: TrainConfig, tmp_path: Path):
    settings = dump(changed(config, epochs=1000, workers=1))
    (tmp_path / "train.json").write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "quillread.cli.main", "train", "--config", str(tmp_path / "train.json")]
    command += ["--output", str(tmp_path / "run")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", start_new_session=True)
    for _ in range(600):
        if list((tmp_path / "run").glob("checkpoint-*/trainer_state.json")):
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 143, told
    assert (tmp_path / "run" / "model" / "quillread.json").is_file()


def test_a_checkpoint_can_be_read_with(unbroken: Path):
    assert len(load(str(unbroken / f"checkpoint-{LAST}"), threads=1).read([line_image("abc")])) == 1


@pytest.mark.parametrize("variant", ["base-handwritten", "base-stage1", "small"])
def test_a_run_starts_from_every_tensor_of_a_published_checkpoint(config: TrainConfig, tmp_path: Path, variant: str):
    start = write_trocr(tmp_path / "start", variant)
    still = changed(
        config,
        start=str(start),
        canvas=None,
        schedule=ScheduleConfig(learning_rate=0.0),
        epochs=1,
        validation=(),
        validation_share=0.0,
        patience=0,
    )
    finetune(still, tmp_path / "run", progress=False)
    before, after = (load_trocr(folder).network.state_dict() for folder in (start, tmp_path / "run" / "model"))
    assert len(before) > 40
    assert unequal(before, after) == []


@pytest.mark.parametrize("size", [1, 3])
def test_parts_of_a_batch_add_up_to_the_whole(config: TrainConfig, tmp_path: Path, size: int):
    shape = dataclasses.replace(config.trocr.shape, dropout=0.0)
    whole = changed(
        config, shape=shape, batch_size=4, micro_batch=4, epochs=1, validation=(), validation_share=0.0, patience=0
    )
    finetune(whole, tmp_path / "whole", progress=False)
    finetune(changed(whole, micro_batch=size), tmp_path / "parts", progress=False)
    assert gradient_gap(*(tmp_path / name / "checkpoint-2" for name in ("whole", "parts"))) < ROUNDING


def test_memory_that_runs_out_halves_what_is_computed_at_a_time(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    from quillread.train.trocr.family import TrocrForTraining

    forward = TrocrForTraining.forward

    def full(self: Any, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        if len(labels) > 2:
            raise torch.OutOfMemoryError("full")
        return forward(self, pixel_values, labels)

    monkeypatch.setattr(TrocrForTraining, "forward", full)
    settings = changed(config, batch_size=8, micro_batch=8, epochs=1, validation=(), validation_share=0.0, patience=0)
    assert finetune(settings, tmp_path / "run", progress=False).finished
    assert "2 lines are computed at a time" in caplog.text


def test_a_rate_that_diverges_ends_the_run_with_advice(config: TrainConfig, tmp_path: Path):
    wild = changed(
        config,
        schedule=ScheduleConfig(learning_rate=1e30, warmup=0.0, clip_norm=1e30),
        epochs=10,
        validation=(),
        validation_share=0.0,
        patience=0,
    )
    with pytest.raises(TrainingError, match="diverged") as caught:
        finetune(wild, tmp_path / "run", progress=False)
    assert "learning_rate" in str(caught.value)


def test_a_gradient_that_is_not_finite_changes_nothing_and_is_counted(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from quillread.train.trocr.family import TrocrForTraining

    forward = TrocrForTraining.forward
    still = changed(config, epochs=1, validation=(), validation_share=0.0, patience=0)

    def broken(self: Any, pixel_values: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        losses = forward(self, pixel_values, labels)["losses"]
        return {"losses": losses * float("nan")}

    monkeypatch.setattr(TrocrForTraining, "forward", broken)
    finetune(still, tmp_path / "run", progress=False)
    monkeypatch.undo()
    idle = changed(still, schedule=ScheduleConfig(learning_rate=0.0))
    finetune(idle, tmp_path / "idle", progress=False)
    assert read_info(tmp_path / "run" / "model").provenance["skipped_steps"] == EPOCH_STEPS
    assert unequal(tensors(tmp_path / "run" / "model"), tensors(tmp_path / "idle" / "model")) == []


def test_adapters_are_trained_resumed_and_merged(config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    start = write_trocr(tmp_path / "start", "base-handwritten")
    lora = changed(
        config, start=str(start), canvas=None, tuning=TuningConfig(lora=LoraConfig(rank=4, dropout=0.0)), epochs=2
    )
    finetune(lora, tmp_path / "unbroken", progress=False)
    with monkeypatch.context() as patch:
        interrupt(patch, EPOCH_STEPS + 1)
        assert not finetune(lora, tmp_path / "run", progress=False).finished
    finetune(lora, tmp_path / "run", resume=True, progress=False)
    merged, other = (tensors(tmp_path / name / "model") for name in ("run", "unbroken"))
    assert unequal(merged, other) == []
    before, after = load_trocr(start).network.state_dict(), load_trocr(tmp_path / "run" / "model").network.state_dict()
    trained = unequal(before, after)
    assert trained
    assert all("q_proj" in name or "v_proj" in name for name in trained)
    size = sum(value.numel() for value in load_trocr(start).network.parameters())
    assert f" {size:,} parameters, " in (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")


def test_frozen_layers_stay_as_they_are(config: TrainConfig, tmp_path: Path):
    start = write_trocr(tmp_path / "start", "base-handwritten")
    frozen = changed(
        config,
        start=str(start),
        canvas=None,
        tuning=TuningConfig(freeze=("encoder",), layer_decay=0.8, gradient_checkpointing=True),
        epochs=1,
    )
    finetune(frozen, tmp_path / "run", progress=False)
    before, after = load_trocr(start).network.state_dict(), load_trocr(tmp_path / "run" / "model").network.state_dict()
    trained = unequal(before, after)
    assert trained
    assert all(name.startswith("decoder") for name in trained)


def test_a_compact_model_is_no_start_for_trocr(config: TrainConfig, tmp_path: Path):
    with pytest.raises(ModelError, match="is not a TrOCR model"):
        finetune(changed(config, start="builtin"), tmp_path / "run", progress=False)


@pytest.mark.slow
def test_two_processes_train_as_one_does(config: TrainConfig, tmp_path: Path):
    shape = dataclasses.replace(config.trocr.shape, dropout=0.0)
    # 8 lines, of which each process validates 4, and batches of 3, that cannot be shared out evenly.
    settings = changed(config, shape=shape, batch_size=3, micro_batch=2, epochs=2, epoch_lines=6)
    (tmp_path / "train.json").write_text(json.dumps(dump(settings)), encoding="utf-8")
    for name, launcher in {
        "one": [sys.executable],
        "two": [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"),
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{free_port()}"),
        ],
    }.items():
        command = ["-m", "quillread.cli.main", "-v", "train", "--config", str(tmp_path / "train.json")]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        run = subprocess.run(
            [*launcher, *command, "--output", str(tmp_path / name)],
            capture_output=True,
            encoding="utf-8",
            env=environment,
            timeout=300,
        )
        assert run.returncode == 0, run.stderr[-2000:]
        assert run.stdout == f"{tmp_path / name / 'model'}\n"
        assert {"one": "; 1 process\n", "two": "; 2 processes\n"}[name] in run.stderr
    assert gradient_gap(*(tmp_path / name / "checkpoint-4" for name in ("one", "two"))) < ROUNDING
    alone, shared = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        for name in ("one", "two")
    )
    assert len(alone) == len(shared)
    for a, b in zip(alone, shared, strict=True):
        assert {k: a[k] for k in a if k.endswith("er")} == {k: b[k] for k in b if k.endswith("er")}
    losses = [[entry["loss"] for entry in history if "loss" in entry] for history in (alone, shared)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
