"""What tests of whole training runs share."""

import itertools
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from quillread.train import finetune as finetune_module
from quillread.train import trainer as trainer_module
from quillread.train.trainer import StopOnSignal


def interrupt(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Let a termination signal arrive during a step of the next run."""

    class SignalDuring(StopOnSignal):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == step - 1:
                signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(finetune_module, "StopOnSignal", SignalDuring)


def script_rates(monkeypatch: pytest.MonkeyPatch, rates: list[float]) -> None:
    """Give each validation of the next run a rate, whatever it reads."""
    # One source: its own rate and that of all sources are asked for in turn.
    given = [rate for rate in rates for _ in range(2)]
    # The best is measured once more at the end.
    values: Iterator[float] = itertools.chain(given, itertools.repeat(min(rates)))

    def summarise(_: Any) -> dict[str, float]:
        return dict.fromkeys(("cer", "wer", "cer_spacing", "wer_spacing"), next(values))

    monkeypatch.setattr(trainer_module, "summarise", summarise)
