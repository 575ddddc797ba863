"""One run of `finetune` with a TrOCR checkpoint, in a process of its own: seconds and peak memory of each part.

    python benchmarks/trocr_finetuner.py large DIR

`DIR` is what `trocr_models.py` wrote. The run is that of `quill train --config trocr-large` over the lines in `DIR`,
one epoch of one step. It ends with a model in `DIR/run/model`, and one line of JSON on stdout.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from unittest.mock import patch

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging
from trocr_peak import peak_bytes, reset_peak, wait_for_device
from trocr_trainers import preset

from quillread.models.trocr.adapters import open_trocr
from quillread.train import finetune
from quillread.train.memory import fit_micro_batch
from quillread.train.trainer import LineTrainer
from quillread.train.trocr import family

TOKENS = 24
"""Most tokens of a line. Random weights write no end: this many are written when the model is read with."""

P = ParamSpec("P")
T = TypeVar("T")


class PartClock:
    """Times the parts of a run, and measures the memory that each takes at most."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}
        self._start = 0.0

    def start(self) -> None:
        """A part begins; parts do not overlap."""
        reset_peak()
        self._start = time.perf_counter()

    def stop(self, part: str) -> None:
        """The part has ended."""
        wait_for_device()
        seconds = time.perf_counter() - self._start
        self.parts[part] = {"seconds": round(seconds, 2), "peak_gigabytes": round(peak_bytes() / 1e9, 2)}

    def timed(self, part: str, function: Callable[P, T]) -> Callable[P, T]:
        """Return a function that does the same and is timed."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            self.start()
            result = function(*args, **kwargs)
            self.stop(part)
            return result

        return call


class TimedSteps(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Times the steps of a training."""

    def __init__(self, clock: PartClock) -> None:
        self._clock = clock

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A step begins."""
        self._clock.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """A step has ended."""
        self._clock.stop("step")


def main() -> None:
    """Run, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape")
    parser.add_argument("folder", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    replies, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not run into the answer
    logging.set_verbosity_error()
    folder = arguments.folder
    lines = len(list((folder / "lines").glob("*.txt")))
    settings = [
        f"start={folder / 'model'}",
        f"data=['{folder / 'lines'}']",
        "validation_share=0",
        f"labels={{max_length: {TOKENS}}}",
        f"batch_size={lines}",
        "epochs=1",
    ]
    clock = PartClock()
    with timed_parts(clock):
        finetune.finetune(preset(f"trocr-{arguments.shape}", settings), folder / "run", progress=False)
    print(json.dumps({"lines": lines, "tokens": TOKENS, "parts": clock.parts}), file=replies)


def timed_parts(clock: PartClock) -> ExitStack:
    """Time the parts of every run that is made meanwhile, where `finetune` calls them."""

    def make_trainer(*args: Any) -> LineTrainer:
        trainer = LineTrainer(*args)
        trainer.add_callback(TimedSteps(clock))
        return trainer

    stack = ExitStack()
    for place, name, replacement in (
        (family, "open_trocr", clock.timed("load", open_trocr)),
        (finetune, "fit_micro_batch", clock.timed("fit the batch to the memory", fit_micro_batch)),
        (finetune, "LineTrainer", make_trainer),
        (LineTrainer, "_save_checkpoint", clock.timed("save a checkpoint", LineTrainer._save_checkpoint)),
        (family.TrocrFamily, "save", clock.timed("save the model", family.TrocrFamily.save)),
    ):
        stack.enter_context(patch.object(place, name, replacement))
    return stack


if __name__ == "__main__":
    main()
