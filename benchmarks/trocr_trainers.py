"""The trainers that the benchmarks of TrOCR take steps with: ours, and transformers' own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import (
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    Trainer,
    TrainerCallback,
    VisionEncoderDecoderModel,
)

from quillread.train.arguments import training_arguments
from quillread.train.checkpoint import most_speechless
from quillread.train.config import TrainConfig, assemble, read_settings
from quillread.train.families import open_family
from quillread.train.lines import ValidationSet
from quillread.train.trainer import LineTrainer

Batch = dict[str, Tensor]

MANY_STEPS = 10_000
"""More than are taken."""


def preset(name: str, settings: Sequence[str]) -> TrainConfig:
    """Read a shipped preset with `a.b=c` settings on top, as `quill train --config NAME --set ...` does."""
    return assemble(read_settings(name), overrides=settings, where=name)


def open_ours(
    config: TrainConfig,
    batches: Sequence[Batch],
    output: Path,
    callback: TrainerCallback,
    validation: Sequence[ValidationSet] = (),
    tokens: int | None = None,
) -> LineTrainer:
    """Make the trainer of `quill train`, but for checkpoints and the making of batches.

    Args:
        config: Its settings.
        batches: Given one after the other, the last one again and again.
        output: Folder of the run.
        callback: Watches the steps.
        validation: Lines that `evaluate` reads.
        tokens: Length of every text that is generated, as random weights write no end; None for the model's own.
    """
    family: Any = open_family(config, None)
    if tokens:
        family.model.network.generation_config.update(max_length=tokens + 1, min_length=tokens + 1)
    args = training_arguments(config, output, MANY_STEPS, validates=False, progress=False)
    weighted = [batch | {"weights": (batch["labels"] >= 0).sum(1).float()} for batch in batches]
    repeated = [weighted[min(step, len(weighted) - 1)] for step in range(MANY_STEPS)]
    on_gpu = torch.cuda.is_available()
    loader: DataLoader[Any] = DataLoader(repeated, batch_size=None, pin_memory=on_gpu)  # type: ignore[arg-type]  # a list will do
    bounds = config.micro_batch, most_speechless(config)
    return LineTrainer(family, args, config.schedule, loader, validation, None, *bounds, [callback])


def open_plain(
    model: Path, lines: int, batch: Batch, output: Path, callback: TrainerCallback, *, bf16: bool = False
) -> Trainer:
    """Make transformers' Seq2SeqTrainer with its defaults, in float32 if not in mixed precision.

    Args:
        model: Folder of the checkpoint.
        lines: Lines of a batch.
        batch: The lines, given again and again.
        output: Folder of the run.
        callback: Watches the steps.
        bf16: Mixed precision.
    """
    network = VisionEncoderDecoderModel.from_pretrained(model)
    network.config.decoder_start_token_id, network.config.pad_token_id = 2, 1
    arguments = Seq2SeqTrainingArguments(
        output_dir=str(output),
        per_device_train_batch_size=lines,
        max_steps=MANY_STEPS,
        learning_rate=2e-5,
        use_cpu=not torch.cuda.is_available(),
        bf16=bf16,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    items = [{name: value[row] for name, value in batch.items()} for row in range(lines)]
    return Seq2SeqTrainer(network, arguments, train_dataset=items, callbacks=[callback])
