"""A learning rate that follows the clock: for runs that must end at a given time."""

import math
import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from quillread.train.config import ScheduleConfig


def rate_at(progress: float, schedule: ScheduleConfig) -> float:
    """Share of the peak learning rate after a share of the run, from 0 to 1; the shapes are those of transformers."""
    if progress < schedule.warmup:
        return progress / schedule.warmup
    if schedule.shape == "warmup_stable_decay":
        return min(1.0, max(0.0, 1 - progress) / schedule.decay)
    rest = max(0.0, 1 - progress) / (1 - schedule.warmup)
    return rest if schedule.shape == "linear" else 0.5 - 0.5 * math.cos(math.pi * rest)


class TimedRate:
    """The factor of a `LambdaLR`: what it was last asked for, and the time trained, are part of a checkpoint.

    Args:
        schedule: Its `minutes` is set.
    """

    # What is not in __dict__ stays out of checkpoints: this clock means nothing to another process.
    __slots__ = ("__dict__", "_last", "_schedule")

    def __init__(self, schedule: ScheduleConfig) -> None:
        self._schedule = schedule
        self._last: float | None = None
        self.seconds = 0.0

    def __call__(self, step: int) -> float:
        """The share of the peak rate now, whatever the step."""
        now = time.monotonic()
        self.seconds += now - (self._last or now)
        self._last = now
        return rate_at(self.progress, self._schedule)

    @property
    def progress(self) -> float:
        """Share of the time that is gone."""
        return self.seconds / (60 * (self._schedule.minutes or math.inf))


class StopInTime(TrainerCallback):  # type: ignore[misc]
    """Ends the training when the time is up; the last validation and checkpoint come after it."""

    def __init__(self, rate: TimedRate) -> None:
        self._rate = rate

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Look at the clock."""
        if self._rate.progress >= 1:
            control.should_training_stop = True
