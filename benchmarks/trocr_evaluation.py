"""Measure what the evaluation during a TrOCR training takes, as a share of the training itself.

    python benchmarks/trocr_evaluation.py --json benchmarks/results/trocr_evaluation.json

The loop of `quill train --config trocr-base` takes steps, and after each reads lines as it does at the end of an epoch.
Both times are scaled up, to an epoch of 6,000 lines and to 300 lines that are read after it. The checkpoint has random
weights and the published shape; it writes no end, so every line gets as many tokens as lines of text usually have.
"""

import argparse
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from record import describe_machine, save
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging
from trocr_models import CANVAS, TEXT, draw_line, make_batch
from trocr_peak import wait_for_device
from trocr_trainers import open_ours, preset

from quillread.train.lines import ValidationSet
from quillread.types import Sample

EPOCH_LINES, READ_LINES = 6000, 300


class EvaluateEachStep(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Lets lines be read after each step, times both, and ends the training after some rounds."""

    def __init__(self, rounds: int) -> None:
        self._rounds = rounds
        self._start = 0.0
        self.step_seconds: list[float] = []
        self.read_seconds: list[float] = []

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A step begins."""
        self._start = time.perf_counter()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A step has ended; the trainer evaluates next."""
        wait_for_device()
        self.step_seconds.append(time.perf_counter() - self._start)
        control.should_evaluate = True

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Lines were read; the trainer has just logged how long that took."""
        self.read_seconds.append(state.log_history[-1]["eval_seconds"])
        control.should_training_stop = len(self.read_seconds) == self._rounds


def main() -> None:
    """Measure, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="lines of a step (default: %(default)s)")
    parser.add_argument("--lines", type=int, default=16, metavar="N", help="read after a step (default: %(default)s)")
    parser.add_argument("--tokens", type=int, default=18, metavar="N", help="of every line (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=4, metavar="N", help="after one to warm up (default: %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as folder:
        watch = measure(arguments, Path(folder))
    # The first round is there to warm up.
    figures = summarise(watch.step_seconds[1:], watch.read_seconds[1:], arguments.batch, arguments.lines)
    print_table(figures)
    if arguments.json:
        measured = {name: getattr(arguments, name) for name in ("batch", "lines", "tokens", "rounds")}
        command = shlex.join(["python", "benchmarks/trocr_evaluation.py", *sys.argv[1:]])
        save(arguments.json, "trocr_evaluation", machine, {"command": command, "measured": measured, **figures})


def measure(arguments: argparse.Namespace, folder: Path) -> EvaluateEachStep:
    """Train and read in turn."""
    script = Path(__file__).parent / "trocr_models.py"
    # A process of its own gives the memory back that making the weights took.
    subprocess.run([sys.executable, str(script), "base", str(folder)], check=True)
    sample = Sample("line", np.asarray(draw_line()), TEXT)
    batch = make_batch(arguments.batch, arguments.tokens, CANVAS, CANVAS)
    config = preset("trocr-base", [f"start={folder / 'model'}", f"batch_size={arguments.batch}"])
    watch = EvaluateEachStep(1 + arguments.rounds)
    validation = [ValidationSet("lines", [sample] * arguments.lines)]
    trainer = open_ours(config, [batch], folder / "run", watch, validation, arguments.tokens)
    trainer.train()
    return watch


def summarise(steps: Sequence[float], reads: Sequence[float], batch: int, lines: int) -> dict[str, Any]:
    """Seconds per line of both, what they come to, and the one as a share of the other, with its range over rounds."""
    step, read = statistics.median(steps) / batch, statistics.median(reads) / lines
    shares = [(b / lines * READ_LINES) / (a / batch * EPOCH_LINES) for a, b in zip(steps, reads, strict=True)]
    return {
        "training_seconds_per_line": round(step, 4),
        "reading_seconds_per_line": round(read, 4),
        "epoch_lines": EPOCH_LINES,
        "epoch_seconds": round(step * EPOCH_LINES),
        "read_lines": READ_LINES,
        "read_seconds": round(read * READ_LINES),
        "share": round(statistics.median(shares), 4),
        "share_range": [round(min(shares), 4), round(max(shares), 4)],
    }


def print_table(figures: dict[str, Any]) -> None:
    """Print both times and the share."""
    print(f"{'':12} {'s a line':>9} {'lines':>6} {'s, scaled':>10}")
    for name, per_line, lines, seconds in (
        ("training", "training_seconds_per_line", "epoch_lines", "epoch_seconds"),
        ("evaluation", "reading_seconds_per_line", "read_lines", "read_seconds"),
    ):
        print(f"{name:12} {figures[per_line]:9.3f} {figures[lines]:6} {figures[seconds]:10}")
    low, high = figures["share_range"]
    print(f"share of the evaluation: {figures['share']:.1%} of an epoch (range {low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
