"""One training run, from sources to a model folder."""

import logging
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import torch
import transformers
from accelerate.utils import gather_object
from torch import Tensor
from transformers import TrainerCallback

from quillread import config as configs
from quillread.errors import ConfigError, DataError, ModelError, TrainingError
from quillread.images.preprocess import StepCache
from quillread.models.compact.network import count_parameters
from quillread.train import ranks
from quillread.train.arguments import choose_precision, precision_name, training_arguments
from quillread.train.callbacks import (
    EndInTime,
    RecordMetrics,
    ResumeExactly,
    StopEarly,
    TellProgress,
    ValidateAfterLast,
)
from quillread.train.checkpoint import clear_unfinished, find_checkpoint, has_ended, most_speechless
from quillread.train.config import TrainConfig
from quillread.train.dataset import LineDataset, PlanSampler, make_loader
from quillread.train.families import LOSS_WEIGHTS, Family, open_family
from quillread.train.lines import RunLines, open_lines, open_sources
from quillread.train.memory import fit_micro_batch
from quillread.train.new_letters import grow_charset
from quillread.train.outcome import write_model
from quillread.train.plan import LineKey
from quillread.train.run_folder import (
    CONFIG_NAME,
    OF_A_MACHINE,
    check_free,
    check_same_data,
    check_same_settings,
    delete_run,
    fingerprints,
    holding,
    is_finished,
    record_run,
)
from quillread.train.trainer import LineTrainer, StopOnSignal, score_sets
from quillread.types import Transcript

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run ended with."""

    model: Path
    """Folder of the best weights so far."""
    finished: bool
    """False if it was interrupted; `resume` goes on."""
    metrics: dict[str, float]
    """Of the model, read as users will, but for a run of TrOCR that was interrupted: `eval_cer` and `eval_wer` as the
    text is, `eval_cer_spacing` and `eval_wer_spacing` with spacing around punctuation ignored,
    `eval_SOURCE_cer_spacing`."""
    signal: int | None = None
    """The signal that interrupted it; None if none did."""


def finetune(
    config: TrainConfig, output: Path, *, resume: bool = False, overwrite: bool = False, progress: bool = True
) -> TrainResult:
    """Train a model, as `quill train` does.

    Writes into `output`: `checkpoint-STEP` (the best and the last), `metrics.jsonl`, `curve.png`, `samples/`,
    TensorBoard files, `train.json`, `data.json`, and at the end `model`, the folder that `--model` takes.

    Teaching the built-in model one hand, from a folder of images of lines with a `.txt` each:

    >>> from pathlib import Path
    >>> import quillread
    >>> config = quillread.TrainConfig.starting_from("builtin", data=["folder:lines"])
    >>> result = quillread.finetune(config, Path("run"))
    >>> quillread.read("page.jpg", model=str(result.model))

    Args:
        config: Data, network and schedule.
        output: Folder of the run.
        resume: Go on from the last whole checkpoint in `output`; a run that was ended before its first starts anew.
        overwrite: Delete the run that `output` holds.
        progress: Show a progress bar on stderr.

    Raises:
        ConfigError: If `output` holds a run and neither `resume` nor `overwrite` is set, there is no run to resume, it
            had other settings, still runs, or all its checkpoints are damaged.
        DataError: If a source is missing, malformed or has no usable line, or changed since the run was started.
        ModelError: If the model to start from is missing, damaged, or does not fit the settings.
        OutputError: If a checkpoint or the model cannot be written.
        TrainingError: If the training diverges, learns nothing, or does not fit into the memory.
    """
    if config.batch_size < ranks.count():
        raise ConfigError(f"batch_size {config.batch_size} is less than the {ranks.count()} processes that share it")
    with ranks.naming_losses():
        ranks.join()
        with holding(output):
            return _run(config.settled().pinned(), output, resume=resume, overwrite=overwrite, progress=progress)


def _run(config: TrainConfig, output: Path, *, resume: bool, overwrite: bool, progress: bool) -> TrainResult:
    """Train; one of several processes does nothing before all of them can."""
    config, checkpoint = ranks.together(lambda: _enter(config, output, resume=resume, overwrite=overwrite))
    ranks.check_shared(output)
    # File systems of networks do not show all machines the same at the same time.
    name = ranks.decided_by_first(checkpoint and checkpoint.name)
    checkpoint = output / name if name else None
    config, family, lines = ranks.together(lambda: _open(config, output, resume=resume))
    ranks.check_same(_facts(config, lines))
    stop, record = StopOnSignal(), RecordMetrics(output)
    trainer = _make_trainer(config, output, family, lines, [record, stop], overwrite=overwrite, progress=progress)
    config = _fitted(config, output, lines, trainer)
    start = _measure_start(config, trainer)
    record.before = start.metrics if start else {}
    try:
        _train(config, trainer, checkpoint)
    finally:
        stop.release()
    finished = not stop.stopped or trainer.state.global_step >= trainer.args.max_steps
    # What is reported is read as users will; after Ctrl-C nobody wants to wait for TrOCR to do that.
    limited = not finished and config.family == "trocr"
    read, metrics = _judge(config, output, trainer, start, limited=limited)
    if trainer.is_world_process_zero():
        write_model(config, output / "model", lines, trainer, metrics, read, limited=limited, finished=finished)
    # `torchrun` ends all processes once one has failed: none may do so on its way out before the model is written.
    trainer.accelerator.wait_for_everyone()
    return TrainResult(output / "model", finished, metrics, None if finished else stop.signal)


def finetune_folds(
    config: TrainConfig,
    folds: int,
    output: Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> Iterator[TrainResult]:
    """Train a model for each fold of a cross-validation, one after the other, as `quill train --folds` does.

    Each leaves another part of the groups of real lines out of its training, and is validated on them; the models
    together can vote. An interrupted run is the last.

    Args:
        config: Data, network and schedule.
        folds: How many there are.
        output: Folder of the runs, `fold-1` and so on.
        resume: Skip the folds whose run has ended, and go on with one that was interrupted.
        overwrite: Delete the runs that the folders hold.
        progress: Show a progress bar on stderr.

    Raises:
        QuillreadError: As `finetune` does.
    """
    for number in range(1, folds + 1):
        folder = output / f"fold-{number}"
        part = replace(config, name=f"{config.name}-{number}", fold=(number, folds))
        if resume and is_finished(part.settled().pinned(), folder):
            continue
        begun = resume and (folder / CONFIG_NAME).is_file()
        result = finetune(part, folder, resume=begun, overwrite=overwrite, progress=progress)
        yield result
        if not result.finished:
            return


def _enter(config: TrainConfig, output: Path, *, resume: bool, overwrite: bool) -> tuple[TrainConfig, Path | None]:
    """Check that the run may be in its folder.

    Returns:
        Its settings, and the checkpoint that it goes on from; None if it starts anew.
    """
    if not resume:
        check_free(output, config, overwrite=overwrite)
        return config, None
    config = check_same_settings(config, output)
    if ranks.is_first():
        clear_unfinished(output)
    checkpoint = find_checkpoint(output)
    if checkpoint is None:
        log.warning("%s: the run was ended before its first checkpoint; it starts anew", output)
    return config, checkpoint


def _open(config: TrainConfig, output: Path, *, resume: bool) -> tuple[TrainConfig, Family, RunLines]:
    """Open the data and the network; the charset of a new run grows by the data."""
    sources = open_sources(config)
    if not resume:
        config = grow_charset(config, sources)
    # OpenCV's pool of threads does not survive the fork of the loader's workers: one of them would hang.
    cv2.setNumThreads(1)
    transformers.set_seed(config.seed)
    slow = "non_local_means" in config.preprocess.steps
    family = open_family(config, StepCache(config.cache or output / "cache") if slow else None)
    lines = open_lines(config, family.form, sources)
    if resume:
        check_same_data(config, lines, output)
    return config, family, lines


def _facts(config: TrainConfig, lines: RunLines) -> dict[str, Any]:
    """What all machines of a run must have in common; of one machine, each file is looked at once."""
    if not ranks.is_first_here():
        return {}
    own = {name: value for name, value in configs.dump(config).items() if name not in OF_A_MACHINE}
    return {**own, "precision": choose_precision(config.precision), **fingerprints(config, lines)}


def _make_trainer(
    config: TrainConfig,
    output: Path,
    family: Family,
    lines: RunLines,
    callbacks: Sequence[TrainerCallback],
    *,
    overwrite: bool,
    progress: bool,
) -> LineTrainer:
    """Make the trainer of a run and its loader; the run that the folder held is deleted."""
    validates = bool(lines.validation)
    steps = lines.plan.batches_per_epoch
    args = training_arguments(config, output, steps, validates=validates, progress=progress)
    if overwrite:  # now that everything the run needs is open
        with args.main_process_first(local=False):
            if args.process_index == 0:
                delete_run(output)
    sampler = PlanSampler(lines.plan, args.process_index, ranks.count())
    dataset, on_gpu = LineDataset(lines.sources, lines.usable, family.form), torch.cuda.is_available()
    loader = make_loader(dataset, sampler, args.dataloader_num_workers, pin=on_gpu)
    clock = EndInTime(config.minutes) if config.minutes else None
    beside = [*callbacks, ResumeExactly(sampler), TellProgress(f"eval_{config.metric}", clock)]
    if config.patience and validates:
        beside.append(StopEarly(config.patience))
    if clock:
        beside.append(clock)
    if config.validate_steps:
        beside.append(ValidateAfterLast(clock))
    trainer = LineTrainer(
        family,
        args,
        config.schedule,
        loader,
        lines.validation,
        output / "samples",
        config.micro_batch,
        most_speechless(config),
        beside,
    )
    trainer.clock = clock
    trainer.keep_checkpoints = config.keep_checkpoints
    if config.average_decay:
        trainer.keep_average(config.average_decay)
    return trainer


def _fitted(config: TrainConfig, output: Path, lines: RunLines, trainer: LineTrainer) -> TrainConfig:
    """The settings with as many lines at a time as fit into the memory; they are recorded."""
    if trainer.is_world_process_zero():
        record_run(config, lines, output)  # before anything else is written: a folder with it is that of a run
    if not config.micro_batch and trainer.family.can_split:
        config = replace(config, micro_batch=_fit(config, lines, trainer))
        trainer.micro_batch = config.micro_batch
    if trainer.is_world_process_zero():
        record_run(config, lines, output)
        args, size = trainer.args, count_parameters(trainer.family.network)
        log.info(
            "start: %s; %d trained parameters; %s of %d lines, %s at a time; %s; %d process%s",
            *(
                config.start or "random weights",
                size,
                f"{config.minutes:g} minutes in steps" if config.minutes else f"{args.max_steps} steps",
                config.batch_size,
                config.micro_batch or "all",
                precision_name(args),
            ),
            *(args.world_size, "es" if args.world_size > 1 else ""),
        )
    return config


def _train(config: TrainConfig, trainer: LineTrainer, checkpoint: Path | None) -> None:
    """Train to the end, from a checkpoint if there is one, and take the best weights."""
    try:
        if checkpoint and has_ended(checkpoint, config):
            trainer.take_best(checkpoint)
        else:
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        trainer.take_average()
    except DataError as error:
        # A worker process sends its error wrapped in a traceback; the last line is what it said.
        raise DataError(error.message.rpartition("DataError: ")[2].strip(), hint=error.hint) from error
    except pickle.UnpicklingError as error:
        hint = "delete the folder; the checkpoint before it is taken"
        raise ModelError(f"{checkpoint}: holds a pickle that is more than tensors", hint=hint) from error


@dataclass(frozen=True, slots=True)
class _Start:
    """The model that a run started from."""

    metrics: dict[str, float]
    weights: dict[str, Tensor]


def _measure_start(config: TrainConfig, trainer: LineTrainer) -> _Start | None:
    """Read the validation lines with the model that the run starts from; None if there is none that can be kept."""
    # Reading takes a compact model a second; TrOCR, on a CPU, minutes.
    if not config.start or config.family != "compact" or config.allow_partial or not trainer.validation:
        return None
    weights = {name: value.clone() for name, value in trainer.family.network.state_dict().items()}
    return _Start(score_sets(trainer.validation, trainer.read()), weights)


def _judge(
    config: TrainConfig, output: Path, trainer: LineTrainer, start: _Start | None, *, limited: bool
) -> tuple[list[list[Transcript]], dict[str, float]]:
    """Read the validation lines and score them; weights that are worse than those of the start give way to them."""
    read = trainer.read(limited=limited)
    if trainer.speechless.has_stopped and not start:
        _refuse_speechless(config, output, read)
    metrics = score_sets(trainer.validation, read)
    rate = f"eval_{config.metric}"
    if start and _is_worse(start.metrics[rate], metrics[rate], sum(map(len, read))):
        trainer.family.network.load_state_dict(start.weights)
        read = trainer.read(limited=limited)
        metrics = score_sets(trainer.validation, read)
    return read, metrics


def _refuse_speechless(config: TrainConfig, output: Path, read: Sequence[Sequence[Transcript]]) -> None:
    """Refuse weights that read the same in all lines; the best ones of a run that ended so may be from before."""
    if len({transcript.text for part in read for transcript in part}) == 1:
        raise TrainingError(
            f"{output}: the model says the same for all validation lines, and does not learn",
            hint="lower schedule.learning_rate, or give it more lines"
            if config.start
            else "start from a model, such as builtin, or give random weights thousands of lines",
        )


def _is_worse(before: float, after: float, lines: int) -> bool:
    """Tell what the training did to the model that it started from."""
    where = f"{lines} validation line{'s' if lines != 1 else ''}"
    log.info("CER on %s: %.1f %% before, %.1f %% after", where, 100 * before, 100 * after)
    if after > before:
        what = "the training made the model worse, so the weights that it started from are kept"
        log.warning("%s: it needs more lines, or more epochs", what)
    return after > before


def _fit(config: TrainConfig, lines: RunLines, trainer: LineTrainer) -> int:
    """Lines that are computed at a time, measured with the longest texts of the first epoch."""
    family, processes, device = trainer.family, trainer.args.world_size, trainer.args.device
    # On a fixed canvas it is the text that makes a line large.
    longest = max(lines.plan.batches(0), key=lambda batch: max(len(_text(lines, key)) for key in batch))
    dataset = LineDataset(lines.sources, lines.usable, family.form)
    keys = sorted(longest, key=lambda key: len(_text(lines, key)), reverse=True)
    items = [dataset[key] for key in keys[::processes]]
    batch = {name: value for name, value in family.form.collate(items).items() if name != LOSS_WEIGHTS}
    # Every process has a GPU of its own; a CPU's memory is shared by those of this machine.
    beside = 1 if device.type == "cuda" else ranks.count_here()
    kept = {"distributed": processes > 1, "averages": config.average_decay > 0}
    size = fit_micro_batch(family.network, batch, device, trainer.mixed, beside, **kept)
    return min(gather_object([size])) if processes > 1 else size


def _text(lines: RunLines, key: LineKey) -> str:
    return lines.sources[key.source].text(key.index)
