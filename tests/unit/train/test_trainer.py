from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Trainer

from quillread.errors import TrainingError
from quillread.train.callbacks import CountSkips
from quillread.train.trainer import MOST_SCALED, MOST_SKIPPED, LineTrainer


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
