import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Trainer

from quillread.errors import TrainingError
from quillread.train.callbacks import CountSkips
from quillread.train.trainer import MOST_SCALED, MOST_SKIPPED, LineTrainer, StopOnSignal


def trainer(monkeypatch: pytest.MonkeyPatch, norm: float, fp16: bool) -> Any:
    """A trainer at the point where the gradient is clipped, whose norm is given."""
    monkeypatch.setattr(Trainer, "_clip_grad_norm", lambda self, model: torch.tensor(norm))
    made: Any = LineTrainer.__new__(LineTrainer)
    made.args, made.state, made.skips = SimpleNamespace(fp16=fp16), SimpleNamespace(global_step=4), CountSkips()
    made.optimizer = torch.optim.SGD([weight()], lr=1.0)
    return made


def weight() -> torch.nn.Parameter:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    return parameter


@pytest.mark.parametrize("fp16", [False, True])
def test_a_gradient_that_is_not_finite_is_counted(monkeypatch: pytest.MonkeyPatch, fp16: bool):
    made = trainer(monkeypatch, float("nan"), fp16)
    made._clip_grad_norm(torch.nn.Identity())
    assert made.skips.skipped == 1
    # In fp16 the scaler must see the gradient, to lower its scale.
    assert (made.optimizer.param_groups[0]["params"][0].grad is None) == (not fp16)


def test_a_finite_gradient_stays(monkeypatch: pytest.MonkeyPatch):
    made = trainer(monkeypatch, 1.0, fp16=False)
    made._clip_grad_norm(torch.nn.Identity())
    assert made.skips.skipped == 0
    assert made.optimizer.param_groups[0]["params"][0].grad is not None


@pytest.mark.parametrize(("fp16", "most"), [(False, MOST_SKIPPED), (True, MOST_SCALED)])
def test_gradients_that_stay_not_finite_end_the_run(monkeypatch: pytest.MonkeyPatch, fp16: bool, most: int):
    made = trainer(monkeypatch, float("inf"), fp16)
    for _ in range(most - 1):
        made._clip_grad_norm(torch.nn.Identity())
    with pytest.raises(TrainingError, match="diverged"):
        made._clip_grad_norm(torch.nn.Identity())


@pytest.mark.parametrize("first", [True, False])
def test_the_first_process_alone_writes_a_checkpoint_and_the_others_wait(tmp_path: Path, first: bool):
    made: Any = LineTrainer.__new__(LineTrainer)
    events: list[str] = []
    made.args = SimpleNamespace(should_save=first, push_to_hub=False, output_dir=str(tmp_path))
    made.family = SimpleNamespace(save_weights=lambda folder: events.append(f"wrote {folder.name}"))
    made.accelerator = SimpleNamespace(wait_for_everyone=lambda: events.append("waited"))
    made.is_fsdp_xla_v1_enabled = made.is_fsdp_enabled = made.is_deepspeed_enabled = False
    made.save_model(str(tmp_path / "checkpoint-1"), _internal_call=True)
    assert events == (["wrote checkpoint-1", "waited"] if first else ["waited"])
    assert (tmp_path / "checkpoint-1").is_dir() == first


@pytest.fixture
def hang_up() -> Iterator[signal.Signals]:
    """SIGHUP, which ends nothing here; the handler of before is there again afterwards."""
    number = signal.Signals["SIGHUP"]
    before = signal.signal(number, lambda *_: None)
    yield number
    signal.signal(number, before)


def raised(stop: StopOnSignal, number: int, times: int) -> bool:
    """Raise a signal while a run listens; return whether the run stops with a checkpoint."""
    stop.on_train_begin(None, None, None)
    for _ in range(times):
        signal.raise_signal(number)
    control: Any = SimpleNamespace(should_save=False, should_training_stop=False)
    stop.on_step_end(SimpleNamespace(world_size=1), None, control)
    stop.release()
    return bool(control.should_save and control.should_training_stop)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="has no terminals that hang up")
def test_a_terminal_that_is_closed_stops_a_run_once_however_often_it_is_told(hang_up: signal.Signals):
    before = signal.getsignal(hang_up)
    stop = StopOnSignal()
    assert raised(stop, hang_up, times=2)
    assert stop.signal == hang_up
    assert signal.getsignal(hang_up) == before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="has no terminals that hang up")
def test_a_run_that_goes_on_without_its_terminal_is_not_stopped(hang_up: signal.Signals):
    signal.signal(hang_up, signal.SIG_IGN)
    assert not raised(StopOnSignal(), hang_up, times=1)
    assert signal.getsignal(hang_up) == signal.SIG_IGN
