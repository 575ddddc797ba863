"""What runs beside a training: its record, and what makes a resumed run the same as an unbroken one."""

import json
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import reduce
from transformers import (
    EarlyStoppingCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import IntervalStrategy

from quillread.errors import TrainingError
from quillread.extras import require_figures
from quillread.files import write_atomic
from quillread.train.checkpoint import checkpoint_folder
from quillread.train.dataset import PlanSampler

log = logging.getLogger(__name__)
told = logging.getLogger("quillread.train.progress")
"""What people want to see of a run without asking for it."""

_TOO_FEW = 4
"""Validation lines that may well read the same."""

METRICS_NAME = "metrics.jsonl"
CURVE_NAME = "curve.png"


class RecordMetrics(TrainerCallback):  # type: ignore[misc]
    """Writes the log of the run with each checkpoint.

    The trainer's own history is written whole each time, so that a resumed run continues the file of the first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.before: dict[str, float] = {}
        """Metrics of the model that the run started from; none if they were not measured."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Let the history, and so the curve, begin with the model that the run started from."""
        if self.before and state.global_step == 0:
            state.log_history.append({"epoch": 0.0, **self.before, "step": 0})

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Tell how the run goes, to whom asked for it."""
        if state.is_world_process_zero and logs:
            shown = ("loss", "learning_rate", "eval_cer_spacing", "eval_cer", "eval_wer", "eval_seconds")
            facts = [f"{name.removeprefix('eval_')} {logs[name]:.4g}" for name in shown if name in logs]
            if facts:
                log.info("step %d: %s", state.global_step, ", ".join(facts))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Write metrics and curve."""
        if state.is_world_process_zero:
            lines = (json.dumps(_finite(entry)) + "\n" for entry in state.log_history)
            write_atomic(self._folder / METRICS_NAME, "".join(lines).encode())
            draw_curve(state.log_history, self._folder / CURVE_NAME)


class ShowProgress(ProgressCallback):  # type: ignore[misc]
    """A progress bar, without the log above it: `TellProgress` says that for people."""

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing."""


class CountSkips(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Counts the steps that were skipped because their gradient was not finite; the count survives an interruption."""

    def __init__(self) -> None:
        self.skipped = 0
        self._in_a_row = 0

    def count(self, finite: bool, step: int, most: int) -> None:
        """Count a step.

        Raises:
            TrainingError: If it is the `most`th one after the other.
        """
        self._in_a_row = 0 if finite else self._in_a_row + 1
        if finite:
            return
        self.skipped += 1
        log.warning("step %d skipped: its gradient is not finite (%d so far)", step, self.skipped)
        if self._in_a_row == most:
            raise TrainingError(
                f"the training diverged: {most} gradients in a row are not finite",
                hint="start again with a lower schedule.learning_rate, such as a tenth",
            )

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"skipped": self.skipped}}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take the count from the checkpoint."""
        self.skipped = _kept(state, self).get("skipped", 0)


class StopSpeechless(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Ends a run that reads the same in all validation lines, several times in a row: it learns nothing from images.

    Args:
        most: Validations in a row.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.in_a_row = 0

    @property
    def has_stopped(self) -> bool:
        """Whether it ended the run."""
        return self.in_a_row >= self._most

    def look(self, texts: Sequence[str]) -> None:
        """Look at what was read in all validation lines."""
        is_same = len(texts) > _TOO_FEW and len(set(texts)) == 1
        self.in_a_row = self.in_a_row + 1 if is_same else 0
        if is_same:
            log.warning("the model says the same for all %d validation lines: %r", len(texts), texts[0][:60])

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"in_a_row": self.in_a_row}}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take the count from the checkpoint."""
        self.in_a_row = _kept(state, self).get("in_a_row", 0)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """End the run."""
        if self.has_stopped:
            control.should_training_stop = True


class EndInTime(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Ends a run after some minutes; the time before an interruption counts.

    Args:
        minutes: From the first step to the end of the last; the last validation comes after it.
    """

    def __init__(self, minutes: float) -> None:
        self._seconds = 60 * minutes
        self._start = 0.0
        self._elapsed = 0.0

    @property
    def share(self) -> float:
        """Share of the time that has passed, 0 to 1, the same in all processes."""
        return min(self._elapsed / self._seconds, 1.0)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return max(self._seconds - self._elapsed, 0.0)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"elapsed": self._elapsed}}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock, where the checkpoint stopped it."""
        self._elapsed = _kept(state, self).get("elapsed", 0.0)
        self._start = time.perf_counter() - self._elapsed

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Look at the clock; at the end leave the epoch, which validates and saves."""
        self._elapsed = time.perf_counter() - self._start
        if args.world_size > 1:  # no two clocks show the same, but all processes must take the same steps
            self._elapsed = float(reduce(torch.tensor(self._elapsed, device=args.device), "mean"))
        if self.share >= 1:
            control.should_log = control.should_training_stop = True


class ValidateAfterLast(TrainerCallback):  # type: ignore[misc]
    """Lets a run that validates by steps validate and save after its last step too, as at the end of an epoch.

    Args:
        clock: Of a run that ends by the clock, which is looked at before; None for one that ends after its steps.
    """

    def __init__(self, clock: EndInTime | None) -> None:
        self._clock = clock

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Ask for both after the last step."""
        if state.global_step >= state.max_steps or (self._clock and self._clock.share >= 1):
            control.should_evaluate = args.eval_strategy != IntervalStrategy.NO
            control.should_save = True


class TellProgress(TrainerCallback):  # type: ignore[misc]
    """Tells people after each validation how far the run is and what it brought.

    Args:
        metric: The CER that decides what is best, `eval_cer` or `eval_cer_spacing`.
        clock: Of a run that ends by the clock; None for one that ends after its steps.
    """

    def __init__(self, metric: str, clock: EndInTime | None = None) -> None:
        self._metric = metric
        self._clock = clock
        self._start = 0.0
        self._first = 0

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Start the clock."""
        self._start, self._first = time.perf_counter(), state.global_step

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Tell it, beside the CER before the training where the history begins with that."""
        if not state.is_world_process_zero or not metrics or self._metric not in metrics:
            return
        steps = f"{state.global_step}" if self._clock else f"{state.global_step} of {state.max_steps}"
        facts = f"step {steps}: {100 * metrics[self._metric]:.1f} % of characters wrong"
        start = state.log_history[0] if state.log_history else {}
        if start.get("step") == 0 and self._metric in start:
            facts += f" ({100 * start[self._metric]:.1f} % before the training)"
        per_step = (time.perf_counter() - self._start) / max(state.global_step - self._first, 1)
        left = per_step * (state.max_steps - state.global_step)
        if self._clock:  # the steps are then the most that are taken
            left = min(left, self._clock.left)
        told.info("%s", facts + (f", about {_duration(left)} left" if left else ""))


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


class ResumeExactly(TrainerCallback, ExportableState):  # type: ignore[misc]
    """Gives back what the trainer forgets when it resumes, and tells what cannot be given back."""

    def __init__(self, sampler: PlanSampler) -> None:
        self._sampler = sampler

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {}, "attributes": {"processes": self._sampler.processes}}

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Find the best checkpoint again if the folder of the run was moved; warn of another number of processes."""
        before, now = _kept(state, self).get("processes"), self._sampler.processes
        if before is not None and before != now and state.is_world_process_zero:
            log.warning(
                "the run goes on with %d process%s, its checkpoint is of %d: its random numbers (dropout) and the "
                "statistics of its batches are others than those of an unbroken run",
                *(now, "es" if now > 1 else "", before),
            )
        if state.best_model_checkpoint is None:
            best = checkpoint_folder(Path(args.output_dir), state.best_global_step)
            state.best_model_checkpoint = str(best) if best.is_dir() else None

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Tell the sampler its epoch: the trainer does not reach it within an epoch of several processes."""
        self._sampler.set_epoch(int((state.epoch or 0) + 1e-6))


class StopEarly(EarlyStoppingCallback):  # type: ignore[misc]
    """Early stopping whose count of validations without a gain survives an interruption."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take the count from the checkpoint."""
        super().on_train_begin(args, state, control, **_)
        self.early_stopping_patience_counter = _kept(state, self).get("early_stopping_patience_counter", 0)


def _kept(state: TrainerState, callback: TrainerCallback) -> dict[str, Any]:
    """What the checkpoint that a run goes on from kept of a callback; nothing in a new run."""
    kept = state.stateful_callbacks.get(type(callback).__name__, {})
    return kept.get("attributes", {}) if isinstance(kept, dict) else {}


def _finite(entry: dict[str, Any]) -> dict[str, Any]:
    """JSON has no word for what is not a number."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}


def draw_curve(history: list[dict[str, Any]], path: Path) -> None:
    """Draw training loss and validation CER and WER over the steps as a PNG."""
    # A loss of 0 is that of steps that were skipped.
    losses = [(e["step"], e["loss"]) for e in history if e.get("loss", 0) > 0]
    rates = [e for e in history if "eval_cer_spacing" in e]
    figure = require_figures().Figure(figsize=(8, 4.5), layout="constrained")
    left = figure.subplots()
    if losses:
        left.plot(*zip(*losses, strict=True), color="0.7", label="training loss")
    left.set(xlabel="step", ylabel="loss", yscale="log" if losses else "linear")
    right = left.twinx()
    names = sorted({k for e in rates for k in e if k.endswith("_spacing")})
    for name in names:
        points = [(e["step"], 100 * e[name]) for e in rates if name in e]
        bold = name in ("eval_cer_spacing", "eval_wer_spacing")
        right.plot(
            *zip(*points, strict=True),
            label=name.removeprefix("eval_").removesuffix("_spacing"),
            lw=2 if bold else 1,
            marker="." if bold else None,
        )
    right.set(ylabel="validation, spacing ignored, %", ylim=(0, 100))
    if names:
        right.legend(loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
