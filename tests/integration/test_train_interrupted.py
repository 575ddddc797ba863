"""What the model says of itself that an interrupted run leaves."""

from pathlib import Path
from typing import Any

import pytest
from fakes import write_folder
from runs import TINY_TROCR, changed, interrupt, train_config

from quillread.config import dump
from quillread.models.compact.onnx_file import CompactConfig
from quillread.models.model_folder import CARD_NAME, read_info
from quillread.train import outcome
from quillread.train.config import TrainConfig
from quillread.train.finetune import finetune
from quillread.types import Calibration

TOLD = "The run was interrupted, and measured as its validations are"
COMPACT = CompactConfig(
    channels=(8, 8, 8, 8), blocks=(1, 1, 1, 1), sequence_width=16, sequence_blocks=1, sequence_kernel=3
)
FAMILIES: dict[str, dict[str, Any]] = {
    "trocr": {"shape": dump(TINY_TROCR), "canvas": {"height": 32, "width": 128, "fit": "pad"}},
    "compact": {"charset": "abcdefi ", "network": dump(COMPACT)},
}


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows each time that confidences are fitted."""
    told, fit = [], outcome.fit_calibrations

    def note(*given: Any) -> tuple[Calibration, Calibration]:
        told.append(1)
        return fit(*given)

    monkeypatch.setattr(outcome, "fit_calibrations", note)
    return told


def make_config(family: str, tmp_path: Path) -> TrainConfig:
    lines = write_folder(tmp_path / "lines", ["a bad cab", "dead bee", "a bead", "faded"])
    data = (f"folder:{lines}",)
    settings = {"data": data, "validation": data, "batch_size": 2, "micro_batch": 2, "epochs": 2, "workers": 0}
    return train_config(family=family, precision="fp32", **settings, **FAMILIES[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_tells_how_it_was_measured(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: list[int]
):
    config, model = make_config(family, tmp_path), tmp_path / "run" / "model"
    with monkeypatch.context() as patch:
        interrupt(patch, step=1)
        assert not finetune(config, tmp_path / "run", progress=False).finished
    # A compact network reads in no time: it is measured in full.
    limited = family == "trocr"
    assert (TOLD in (model / CARD_NAME).read_text(encoding="utf-8")) == limited
    assert len(fits) == (not limited)
    if limited:
        info = read_info(model)
        assert info.line_calibration == info.word_calibration == Calibration()
    assert finetune(changed(config, epochs=1), tmp_path / "run", resume=True, progress=False).finished
    assert TOLD not in (model / CARD_NAME).read_text(encoding="utf-8")
    assert len(fits) == 1 + (not limited)
