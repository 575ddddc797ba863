"""One training run, from sources to a model folder."""

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch
import transformers
from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from quillread import config as configs
from quillread.decode.confidence import fit_calibration
from quillread.errors import ConfigError, DataError, ModelError
from quillread.files import write_atomic
from quillread.models.checkpoint import ONNX_NAME, ModelInfo, read_info, write_info
from quillread.models.compact import CompactNetwork, count_parameters
from quillread.models.compact_config import COLUMN_WIDTH
from quillread.models.compact_onnx import read_weights, write_onnx
from quillread.text.charset import Charset
from quillread.train.arguments import training_arguments
from quillread.train.callbacks import RecordMetrics, ResumeExactly, StopEarly
from quillread.train.compact_model import CompactForTraining
from quillread.train.config import TrainConfig
from quillread.train.dataset import LineDataset, PlanSampler, make_loader
from quillread.train.lines import RunLines, open_lines
from quillread.train.trainer import LineTrainer, StopOnSignal
from quillread.types import Calibration
from quillread.version import __version__

log = logging.getLogger(__name__)

CONFIG_NAME = "train.json"


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run ended with."""

    model: Path
    """Folder of the best weights so far."""
    finished: bool
    """False if it was interrupted; `resume` goes on."""
    metrics: dict[str, float]
    """Of the best checkpoint: `eval_cer`, `eval_wer`, `eval_SOURCE_cer`."""


def finetune(config: TrainConfig, output: Path, *, resume: bool = False, progress: bool = True) -> TrainResult:
    """Train a model.

    Writes into `output`: `checkpoint-STEP` (the best and the last), `metrics.jsonl`, `curve.png`, TensorBoard files,
    `train.json`, and at the end `model`, the folder that `--model` takes.

    Args:
        config: Data, network and schedule.
        output: Folder of the run.
        resume: Go on from the last checkpoint in `output`.
        progress: Show a progress bar on stderr.

    Raises:
        ConfigError: If `output` holds a run and `resume` is not set, there is nothing to resume, or the run to resume
            had other settings.
        DataError: If a source is missing, malformed or has no usable line.
    """
    checkpoint = _find_checkpoint(output, resume)
    if resume:
        _check_same(config, output / CONFIG_NAME)
    # OpenCV's pool of threads does not survive the fork of the loader's workers: one of them would hang.
    cv2.setNumThreads(1)
    transformers.set_seed(config.seed)
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # set by `accelerate launch`
    charset = Charset(config.charset)
    lines = open_lines(config, charset, processes)
    network = _network(config, len(charset))
    steps_per_epoch = lines.plan.batches_per_epoch // processes // config.gradient_accumulation
    validates = bool(lines.validation)
    args = training_arguments(config, output, steps_per_epoch, validates=validates, progress=progress)
    dataset = LineDataset(lines.sources, charset, config.ink, config.augment)
    sampler = PlanSampler(lines.plan, config.batch_size)
    loader = make_loader(dataset, sampler, config.workers, pin=torch.cuda.is_available())
    stop = StopOnSignal()
    callbacks: list[TrainerCallback] = [RecordMetrics(output), stop, ResumeExactly(sampler)]
    if config.patience and validates:
        callbacks.append(StopEarly(config.patience))
    info = ModelInfo("compact", config.name, config.charset, config.ink, COLUMN_WIDTH)
    trainer = LineTrainer(CompactForTraining(network), args, loader, lines.validation, info, callbacks)
    if trainer.is_world_process_zero():
        write_atomic(output / CONFIG_NAME, json.dumps(configs.dump(config), ensure_ascii=False, indent=2).encode())
        size = count_parameters(network)
        log.info("%d parameters; %d steps of %d lines", size, args.max_steps, config.batch_size * processes)
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except DataError as error:
        # A worker process sends its error wrapped in a traceback; the last line is what it said.
        raise DataError(error.message.rpartition("DataError: ")[2].strip(), hint=error.hint) from error
    finally:
        stop.release()
    metrics = _best_metrics(trainer)
    folder = output / "model"
    if trainer.is_world_process_zero():
        provenance = _provenance(config, trainer, lines, metrics)
        save_model(network, replace(info, provenance=provenance, line_calibration=_calibrate(trainer, lines)), folder)
    finished = not stop.stopped or trainer.state.global_step >= args.max_steps
    return TrainResult(folder, finished, metrics)


def save_model(network: CompactNetwork, info: ModelInfo, folder: Path) -> None:
    """Write a network as a model folder."""
    weights = {name: value.detach().float().cpu().numpy() for name, value in network.state_dict().items()}
    write_onnx(weights, network.config, folder / ONNX_NAME)
    write_info(info, folder)


def _provenance(
    config: TrainConfig, trainer: LineTrainer, lines: RunLines, metrics: Mapping[str, float]
) -> dict[str, Any]:
    steps, args = trainer.state.global_step, trainer.args
    return {
        "version": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        # The folder of the data stays on this machine: the model travels.
        "training": configs.dump(replace(config, root=None, start=config.start and Path(config.start.name))),
        "sources": list(lines.report),
        "steps": steps,
        "lines_seen": steps * config.batch_size * config.gradient_accumulation * args.world_size,
        "validation": dict(metrics),
    }


def _calibrate(trainer: LineTrainer, lines: RunLines) -> Calibration:
    """Fit line confidences on the validation lines, from the likelihoods and whether each line was read exactly."""
    recognizer = trainer.recognizer()
    reported, right = [], []
    for part in lines.validation:
        for sample, transcript in zip(
            part.samples, recognizer.read([sample.image for sample in part.samples]), strict=True
        ):
            # The recogniser of the training is not calibrated: its confidence is the likelihood.
            reported.append(math.log(max(transcript.confidence, 1e-26)))
            right.append(transcript.text == sample.text)
    return fit_calibration(reported, right)


def _find_checkpoint(output: Path, resume: bool) -> Path | None:
    found = get_last_checkpoint(str(output)) if output.is_dir() else None
    if resume and not found:
        raise ConfigError(f"{output}: holds no checkpoint to resume from")
    if found and not resume:
        raise ConfigError(f"{output}: holds a run already", hint="add --resume to go on, or name another --output")
    return Path(found) if found else None


_MAY_CHANGE = ("root", "workers", "epochs", "patience")
"""Settings that a resumed run may have other than the first: none changes what an epoch is made of."""


def _check_same(config: TrainConfig, path: Path) -> None:
    """Refuse to go on with other settings, which would be another run under the name of the first."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: the settings of the run to resume cannot be read: {error}") from error
    now = json.loads(json.dumps(configs.dump(config)))
    changed = [key for key in now if key not in _MAY_CHANGE and before.get(key, now[key]) != now[key]]
    if changed:
        listed = "; ".join(f"{key}: {before[key]} before, {now[key]} now" for key in changed)
        raise ConfigError(
            f"{path.parent}: the run was started with other settings: {listed}",
            hint="resume with --resume --output DIR alone, or start a new run in another folder",
        )


def _network(config: TrainConfig, classes: int) -> CompactNetwork:
    network = CompactNetwork(config.network, classes)
    if config.start:
        known = read_info(config.start)
        if known.charset != config.charset or known.ink != config.ink:
            raise ModelError(f"{config.start}: has another charset or preprocessing than this run asks for")
        state = {name: torch.from_numpy(value.copy()) for name, value in read_weights(config.start / ONNX_NAME).items()}
        own = network.state_dict()
        wrong = [n for n, v in own.items() if n in state and state[n].shape != v.shape]
        missing = [n for n in own if n not in state and not n.startswith("shortcut.") and "num_batches" not in n]
        if wrong or missing:
            raise ModelError(f"{config.start}: is a network of another shape (first: {(wrong + missing)[0]})")
        network.load_state_dict(state, strict=False)
    return network


def _best_metrics(trainer: LineTrainer) -> dict[str, float]:
    entries = [e for e in trainer.state.log_history if "eval_cer" in e]
    best: dict[str, float] = min(entries, key=lambda e: e["eval_cer"]) if entries else {}
    return {k: v for k, v in best.items() if k.startswith("eval_")}
