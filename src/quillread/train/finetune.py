"""One training run, from sources to a model folder."""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
import transformers
from transformers import EarlyStoppingCallback, TrainerCallback, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from quillread import config as configs
from quillread.data.sources import Source, open_source
from quillread.data.spec import parse_spec
from quillread.errors import ConfigError, DataError, ModelError
from quillread.files import write_atomic
from quillread.models.checkpoint import ONNX_NAME, ModelInfo, read_info, write_info
from quillread.models.compact import CompactNetwork, count_parameters
from quillread.models.compact_config import COLUMN_WIDTH
from quillread.models.compact_onnx import read_weights, write_onnx
from quillread.text.charset import Charset
from quillread.train.callbacks import RecordMetrics
from quillread.train.compact_model import CompactForTraining
from quillread.train.config import TrainConfig
from quillread.train.dataset import LineDataset, make_loader
from quillread.train.plan import Plan, find_usable
from quillread.train.trainer import LineTrainer, StopOnSignal, ValidationSet, validation_set
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
        ConfigError: If `output` holds a run and `resume` is not set, or there is nothing to resume.
        DataError: If a source is missing, malformed or has no usable line.
    """
    checkpoint = _find_checkpoint(output, resume)
    # OpenCV's pool of threads does not survive the fork of the loader's workers: one of them would hang.
    cv2.setNumThreads(1)
    transformers.set_seed(config.seed)
    info = ModelInfo("compact", config.name, config.charset, config.ink, COLUMN_WIDTH)
    charset = Charset(config.charset)
    sources, plan, report = _plan(config, charset)
    validation = _validation(config)
    network = _network(config, len(charset))
    dataset = LineDataset(sources, charset, config.ink, config.augment)
    args = _arguments(config, output, plan, progress)
    loader = make_loader(dataset, plan, config.batch_size, config.workers, pin=torch.cuda.is_available())
    stop = StopOnSignal()
    callbacks: list[TrainerCallback] = [RecordMetrics(output), stop]
    if config.patience and validation:
        callbacks.append(EarlyStoppingCallback(config.patience))
    trainer = LineTrainer(CompactForTraining(network), args, loader, validation, info, callbacks)
    if trainer.is_world_process_zero():
        write_atomic(output / CONFIG_NAME, json.dumps(configs.dump(config), ensure_ascii=False, indent=2).encode())
        log.info(
            "%d parameters; %d steps of %d lines",
            count_parameters(network),
            args.max_steps,
            config.batch_size,
        )
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        stop.release()
    metrics = _best_metrics(trainer)
    folder = output / "model"
    if trainer.is_world_process_zero():
        lines_seen = trainer.state.global_step * config.batch_size * config.gradient_accumulation * args.world_size
        provenance = {
            "version": __version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "training": configs.dump(config),
            "sources": report,
            "steps": trainer.state.global_step,
            "lines_seen": lines_seen,
            "validation": metrics,
        }
        save_model(network, ModelInfo(**{**_fields(info), "provenance": provenance}), folder)
    return TrainResult(folder, not stop.stopped, metrics)


def save_model(network: CompactNetwork, info: ModelInfo, folder: Path) -> None:
    """Write a network as a model folder."""
    weights = {name: value.detach().float().cpu().numpy() for name, value in network.state_dict().items()}
    write_onnx(weights, network.config, folder / ONNX_NAME)
    write_info(info, folder)


def _fields(info: ModelInfo) -> dict[str, Any]:
    return {name: getattr(info, name) for name in info.__dataclass_fields__}


def _find_checkpoint(output: Path, resume: bool) -> Path | None:
    found = get_last_checkpoint(str(output)) if output.is_dir() else None
    if resume and not found:
        raise ConfigError(f"{output}: holds no checkpoint to resume from")
    if found and not resume:
        raise ConfigError(f"{output}: holds a run already", hint="add --resume to go on, or name another --output")
    return Path(found) if found else None


def _plan(config: TrainConfig, charset: Charset) -> tuple[list[Source], Plan, list[str]]:
    if not config.data:
        raise DataError("no training data is named", hint="add --data SPEC")
    specs = [parse_spec(text) for text in config.placed(config.data)]
    sources = [open_source(spec, "train") for spec in specs]
    usable = [find_usable(source, charset, config.network.height) for source in sources]
    report = [part.report(source.name) for part, source in zip(usable, sources, strict=True)]
    for line in report:
        log.info("%s", line)
    counts = [len(part.indices) for part in usable]
    weights = [c if s.weight is None else s.weight for s, c in zip(specs, counts, strict=True)]
    world = int(os.environ.get("WORLD_SIZE", "1"))  # set by `accelerate launch`
    # Whole steps of all processes: a step with fewer lines would weigh them more.
    per_step = config.batch_size * config.gradient_accumulation * world
    lines = max(1, (config.epoch_lines or sum(counts)) // per_step) * per_step
    plan = Plan(sources, [p.indices for p in usable], weights, lines, config.batch_size, config.seed)
    return sources, plan, report


def _validation(config: TrainConfig) -> list[ValidationSet]:
    sets = []
    for text in config.placed(config.validation):
        spec = parse_spec(text)
        name = Path(spec.where).stem.replace("-", "_")
        sets.append(validation_set(name, open_source(spec, "validation"), config.validation_lines))
    return sets


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


def _arguments(config: TrainConfig, output: Path, plan: Plan, progress: bool) -> TrainingArguments:
    world = int(os.environ.get("WORLD_SIZE", "1"))
    steps = config.epochs * (plan.batches_per_epoch // world // config.gradient_accumulation)
    schedule = config.schedule
    precision = _precision(config)
    kwargs: dict[str, Any] = {}
    if schedule.shape == "warmup_stable_decay":
        kwargs = {"num_decay_steps": round(steps * schedule.decay), "decay_type": "linear"}
    validates = bool(config.validation)
    return TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.gradient_accumulation,
        num_train_epochs=config.epochs,
        max_steps=steps,
        learning_rate=schedule.learning_rate,
        weight_decay=schedule.weight_decay,
        warmup_steps=round(steps * schedule.warmup),
        lr_scheduler_type=schedule.shape,
        lr_scheduler_kwargs=kwargs,
        max_grad_norm=schedule.clip_norm,
        use_cpu=not torch.cuda.is_available(),
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        eval_strategy="epoch" if validates else "no",
        save_strategy="epoch",
        save_total_limit=2,
        load_best_model_at_end=validates,
        metric_for_best_model="cer" if validates else None,
        greater_is_better=False if validates else None,
        logging_steps=max(1, min(50, plan.batches_per_epoch // 4)),
        report_to=["tensorboard"],
        disable_tqdm=not progress,
        seed=config.seed,
        dataloader_num_workers=config.workers,
        remove_unused_columns=False,
    )


def _precision(config: TrainConfig) -> str:
    if config.precision != "auto":
        return config.precision
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    # On CPUs bf16 pays only with instructions for it; elsewhere it is emulated.
    fast = (
        getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        or getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    )
    return "bf16" if fast else "fp32"


def _best_metrics(trainer: LineTrainer) -> dict[str, float]:
    entries = [e for e in trainer.state.log_history if "eval_cer" in e]
    best: dict[str, float] = min(entries, key=lambda e: e["eval_cer"]) if entries else {}
    return {k: v for k, v in best.items() if k.startswith("eval_")}
