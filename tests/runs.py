"""What tests of whole training runs share."""

import itertools
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from quillread.config import build, dump
from quillread.models.trocr.settings import TrocrShape
from quillread.train import finetune as finetune_module
from quillread.train import trainer as trainer_module
from quillread.train.config import TrainConfig
from quillread.train.trainer import StopOnSignal

TINY_TROCR = TrocrShape(
    encoder_width=32,
    encoder_layers=2,
    encoder_heads=2,
    decoder_width=32,
    decoder_layers=2,
    decoder_heads=2,
    max_positions=24,
)
"""Learns a few words within seconds."""


def train_config(**values: Any) -> TrainConfig:
    """Settings of a run, by their names in files."""
    return build(TrainConfig, values)


def changed(config: TrainConfig, **values: Any) -> TrainConfig:
    """The same settings, but for some, by their names in files."""
    return build(TrainConfig, dump(config) | values)


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


def optimizer_tensors(folder: Path) -> dict[str, Any]:
    state = torch.load(folder / "optimizer.pt", weights_only=True)["state"]
    return {f"{i}/{name}": torch.as_tensor(value) for i, part in state.items() for name, value in part.items()}


def gradient_gap(one: Path, other: Path) -> float:
    """How far the running averages of the gradients of two runs are apart, as a share of their size.

    Weights would not tell: AdamW makes whole steps of gradients that are nothing but rounding, such as those of the
    biases of attention's keys.
    """
    averages = [
        torch.cat([value.flatten() for name, value in optimizer_tensors(folder).items() if name.endswith("exp_avg")])
        for folder in (one, other)
    ]
    return float((averages[0] - averages[1]).norm() / averages[0].norm())
