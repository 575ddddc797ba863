from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quillread.train import finetune as finetune_module
from quillread.train.config import TrainConfig
from quillread.train.finetune import finetune_folds


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """The runs that were asked for; none is made."""
    asked: list[SimpleNamespace] = []

    def finetune(config: TrainConfig, output: Path, **how: Any) -> SimpleNamespace:
        asked.append(SimpleNamespace(config=config, output=output, **how))
        return SimpleNamespace(finished=config.epochs > 1)

    monkeypatch.setattr(finetune_module, "finetune", finetune)
    return asked


def test_folds_are_runs_that_each_leave_others_out(runs: list[SimpleNamespace], tmp_path: Path):
    assert len(list(finetune_folds(TrainConfig(), 3, tmp_path))) == 3
    assert [run.config.fold for run in runs] == [(1, 3), (2, 3), (3, 3)]
    assert [run.output for run in runs] == [tmp_path / f"fold-{i}" for i in (1, 2, 3)]
    assert len({run.config.name for run in runs}) == 3
    assert not any(run.resume or run.overwrite for run in runs)


def test_folds_that_are_done_are_skipped_and_begun_ones_resumed(runs: list[SimpleNamespace], tmp_path: Path):
    (tmp_path / "fold-1" / "model").mkdir(parents=True)
    (tmp_path / "fold-2").mkdir()
    (tmp_path / "fold-2" / "train.json").write_text("{}", encoding="utf-8")
    list(finetune_folds(TrainConfig(), 3, tmp_path, resume=True))
    assert [(run.output.name, run.resume, run.overwrite) for run in runs] == [
        ("fold-2", True, False),
        ("fold-3", False, False),
    ]


def test_no_fold_follows_an_interrupted_one(runs: list[SimpleNamespace], tmp_path: Path):
    assert [result.finished for result in finetune_folds(TrainConfig(epochs=1), 3, tmp_path)] == [False]
    assert len(runs) == 1
