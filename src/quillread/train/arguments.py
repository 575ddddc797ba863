"""Our settings in the words of transformers' Trainer."""

import os
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from quillread.train import ranks
from quillread.train.batch_workers import usable_workers
from quillread.train.config import TrainConfig

_MOST_WORKERS = 12


def training_arguments(
    config: TrainConfig, output: Path, steps_per_epoch: int, *, validates: bool, progress: bool
) -> TrainingArguments:
    """Translate the settings of a run.

    Args:
        config: Settings.
        output: Folder of the run.
        steps_per_epoch: Steps of the optimiser in an epoch.
        validates: Whether there are validation lines: the best checkpoint is kept then.
        progress: Show a progress bar.
    """
    steps = config.epochs * steps_per_epoch
    schedule = config.schedule
    precision = choose_precision(config.precision)
    when = "steps" if config.validate_steps else "epoch"
    kwargs: dict[str, Any] = {}
    if schedule.shape == "warmup_stable_decay":
        kwargs = {"num_decay_steps": round(steps * schedule.decay), "decay_type": "linear"}
    arguments = TrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=-(-config.batch_size // ranks.count()),
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
        eval_strategy=when if validates else "no",
        save_strategy=when,
        eval_steps=config.validate_steps,
        save_steps=config.validate_steps or steps,
        save_total_limit=None,  # the trainer would drop an old checkpoint before the new one is on the disk
        load_best_model_at_end=validates,
        metric_for_best_model=config.metric if validates else None,
        greater_is_better=False if validates else None,
        logging_steps=max(1, min(50, steps_per_epoch // 4)),
        report_to=["tensorboard"],
        disable_tqdm=not progress,
        ddp_find_unused_parameters=False,
        seed=config.seed,
        dataloader_num_workers=choose_workers(config.workers, ranks.count_here()),
        remove_unused_columns=False,
    )
    # A process uses one GPU: `torchrun` starts one for each. torch's DataParallel, which transformers would
    # put to work here, cannot share out labels that lie one after the other.
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def choose_workers(workers: int | None, processes: int) -> int:
    """Processes that make batches beside each training process: as set, or fitted to the machine.

    Args:
        workers: As set.
        processes: Training processes on this machine, which share its cores.
    """
    if workers is None and torch.cuda.is_available():
        workers = max(1, min(_MOST_WORKERS, (os.cpu_count() or 1) // processes - 1))
    # On a CPU more than one would take the cores from the training.
    return usable_workers(1 if workers is None else workers)


def precision_name(args: TrainingArguments) -> str:
    """The precision that a run computes in: bf16, fp16 or fp32."""
    return "bf16" if args.bf16 else "fp16" if args.fp16 else "fp32"


def choose_precision(precision: str) -> str:
    """Turn `auto` into what the device computes fast: bf16, fp16 or fp32."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    # On CPUs bf16 pays only with instructions for it; elsewhere it is emulated.
    fast = (
        getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        or getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    )
    return "bf16" if fast else "fp32"
