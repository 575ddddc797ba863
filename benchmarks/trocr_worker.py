"""A TrOCR training in a process of its own that takes one step for each line of input.

    python benchmarks/trocr_worker.py ours base DIR/model --lines 8

The training is the unchanged loop of `LineTrainer`, with the settings of `quill train --config trocr-base`, or that of
transformers' Seq2SeqTrainer. The batches are made up and are there beforehand: steps are timed, not the making of
batches, which runs beside a training. The first line of output says what was loaded, as JSON; each further one what a
step took. `open_trainer` in `trocr_training.py` is the asking side.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging
from trocr_models import CANVAS, SHAPES, count_flops, make_batch
from trocr_peak import peak_bytes, reset_peak, wait_for_device
from trocr_trainers import open_ours, open_plain, preset


class StepOnCall(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Holds each step back until a line comes in, and tells what the step took; ends the process with the input."""

    def __init__(self, replies: IO[str]) -> None:
        self._replies = replies
        self._start = 0.0

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Wait, then start the clock."""
        if not sys.stdin.readline():
            raise SystemExit
        reset_peak()
        self._start = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Tell seconds and memory; by now the weights are changed and the gradients cleared."""
        wait_for_device()
        answer = {"seconds": time.perf_counter() - self._start, "peak_bytes": peak_bytes()}
        print(json.dumps(answer), file=self._replies, flush=True)


def main() -> None:
    """Make a trainer, then take steps until the questions end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trainer", choices=("ours", "plain"))
    parser.add_argument("shape", choices=sorted(SHAPES))
    parser.add_argument("model", type=Path, metavar="DIR")
    parser.add_argument("--lines", type=int, default=8, metavar="N", help="of a step (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=48, metavar="N", help="of a line (default: %(default)s)")
    parser.add_argument("--canvas", type=int, nargs=2, default=[CANVAS, CANVAS], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--precision", default="auto", help="auto is float32 of transformers' (default: %(default)s)")
    parser.add_argument("--gradient-checkpointing", action="store_true", help="in ours")
    parser.add_argument("--compile", action="store_true", help="the layers of ours")
    arguments = parser.parse_args()
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not run into the answers
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as output:
        trainer = open_trainer(arguments, Path(output), StepOnCall(replies))
        print(json.dumps(describe(trainer, arguments)), file=replies, flush=True)
        trainer.train()


def open_trainer(arguments: argparse.Namespace, output: Path, callback: StepOnCall) -> Trainer:
    """Make the trainer; the first batch of ours has one line only: it fills the optimiser before memory is measured."""
    height, width = arguments.canvas
    batch = make_batch(arguments.lines, arguments.tokens, height, width, as_bytes=arguments.trainer == "ours")
    if arguments.trainer == "plain":
        bf16 = arguments.precision == "bf16"
        return open_plain(arguments.model, arguments.lines, batch, output, callback, bf16=bf16)
    settings = [
        f"start={arguments.model}",
        f"batch_size={arguments.lines}",
        f"precision={arguments.precision}",
        f"tuning.gradient_checkpointing={arguments.gradient_checkpointing}",
        f"tuning.compile={arguments.compile}",
    ]
    if arguments.canvas != [CANVAS, CANVAS]:
        settings.append(f"canvas={{height: {height}, width: {width}}}")
    # Layers are compiled for the batch that they see first: for any other they would be compiled again, less well.
    first = batch if arguments.compile else {name: value[:1] for name, value in batch.items()}
    return open_ours(preset(f"trocr-{arguments.shape}", settings), [first, batch], output, callback)


def describe(trainer: Trainer, arguments: argparse.Namespace) -> dict[str, Any]:
    """What was loaded; the operations of a line are those of the published canvas, without computing anything twice."""
    precision = "bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "fp32"
    return {
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "precision": precision,
        "flops_per_line": count_flops(SHAPES[arguments.shape], arguments.tokens),
    }


if __name__ == "__main__":
    main()
