import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from unit.train.finder.made_pages import make_pages

from quillread.config import build
from quillread.errors import ConfigError, DataError
from quillread.models.page import PageBackend, PageNetConfig, read_page_weights
from quillread.models.page_net import PageNetwork
from quillread.train.finder.learner import CHECKPOINT_NAME, SegmenterConfig, TorchPageBackend
from quillread.train.finder.page_looks import PageDataConfig
from quillread.train.finder.training import train_segmenter

TINY = PageNetConfig((6, 8, 12), (1, 1, 1))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pages(tmp_path_factory.mktemp("made") / "letters")


def config(folder: Path, **changes: Any) -> SegmenterConfig:
    values: dict[str, Any] = {
        "pages": (folder,),
        "validation": (folder,),
        "network": TINY,
        "look": PageDataConfig(side=256, turned=0.0),
        "batch_size": 2,
        "steps": 4,
        "every": 2,
        "precision": "fp32",
        "workers": 0,
    }
    return SegmenterConfig(**(values | changes))


def clock(step: float = 0.0) -> Any:
    """A clock that goes on by `step` seconds whenever it is looked at."""
    return itertools.count(0.0, step).__next__


def rows(output: Path) -> list[dict[str, float]]:
    return [json.loads(row) for row in (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def test_a_training_lowers_the_loss_and_writes_a_line_finder(pages: Path, tmp_path: Path):
    model = train_segmenter(config(pages, steps=24, every=8, learning_rate=1e-2), tmp_path / "run", clock())
    measured = rows(tmp_path / "run")
    assert [row["step"] for row in measured] == [8, 16, 24]
    assert measured[-1]["loss"] < 0.8 * measured[0]["loss"]
    assert 0 <= measured[-1]["letters_f1"] <= 1
    maps, turn = PageBackend(model, threads=1)(np.zeros((64, 64), np.float32))
    assert maps.shape == (4, 32, 32) and turn.sum() == pytest.approx(1, abs=1e-4)


def test_what_is_written_are_the_averaged_weights_of_the_checkpoint(pages: Path, tmp_path: Path):
    model = train_segmenter(config(pages), tmp_path / "run", clock())
    state = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    network = PageNetwork(TINY)
    network.load_state_dict(state["average"])
    pixels = np.random.default_rng(0).random((64, 64), np.float32)
    for written, expected in zip(PageBackend(model)(pixels), TorchPageBackend(network)(pixels), strict=True):
        assert np.abs(written - expected).max() < 1e-4


def test_a_run_ends_when_its_minutes_are_over(pages: Path, tmp_path: Path):
    train_segmenter(config(pages, steps=1000, every=1000, minutes=1.0), tmp_path / "run", clock(step=6.0))
    assert 3 < rows(tmp_path / "run")[-1]["step"] < 12


def test_a_resumed_run_goes_on_from_its_checkpoint(pages: Path, tmp_path: Path):
    train_segmenter(config(pages, steps=2), tmp_path / "run", clock())
    train_segmenter(config(pages, steps=4), tmp_path / "run", clock(), resume=True)
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4]


def test_a_training_starts_from_the_weights_of_a_line_finder(pages: Path, tmp_path: Path):
    first = train_segmenter(config(pages, steps=2), tmp_path / "first", clock())
    second = train_segmenter(config(pages, start=first, steps=1, learning_rate=0.0), tmp_path / "second", clock())
    before, after = (read_page_weights(path) for path in (first, second))
    learnt = [name for name in before if "running" not in name]
    assert [name for name in learnt if not np.allclose(before[name], after[name], atol=1e-6)] == []


def test_weights_of_another_shape_are_refused(pages: Path, tmp_path: Path):
    first = train_segmenter(config(pages, steps=1), tmp_path / "first", clock())
    other = config(pages, start=first, network=PageNetConfig((4, 8, 12), (1, 1, 1)))
    with pytest.raises(ConfigError, match="another shape"):
        train_segmenter(other, tmp_path / "second", clock())


def test_a_folder_with_files_is_not_overwritten(pages: Path, tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not empty"):
        train_segmenter(config(pages), tmp_path / "run", clock())


def test_nothing_to_resume_is_said(pages: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="no checkpoint"):
        train_segmenter(config(pages), tmp_path / "run", clock(), resume=True)


def test_a_checkpoint_of_another_network_is_refused(pages: Path, tmp_path: Path):
    train_segmenter(config(pages, steps=2), tmp_path / "run", clock())
    other = config(pages, network=PageNetConfig((4, 8, 12), (1, 1, 1)))
    train_segmenter(other, tmp_path / "other", clock())
    shutil.copy(tmp_path / "run" / CHECKPOINT_NAME, tmp_path / "other")
    with pytest.raises(DataError, match="not a checkpoint of this network"):
        train_segmenter(other, tmp_path / "other", clock(), resume=True)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"learning_rate": 1.0}, r"learning_rate: 0\.002 before, 1\.0 now"),
        ({"seed": 2}, "seed: 1 before, 2 now"),
        ({"network": PageNetConfig((4, 8, 12), (1, 1, 1))}, "network: "),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(pages: Path, tmp_path: Path, changes: dict[str, Any], told: str):
    train_segmenter(config(pages, steps=2), tmp_path / "run", clock())
    before = (tmp_path / "run" / "train.json").read_bytes()
    with pytest.raises(ConfigError, match=f"was started with other settings: {told}"):
        train_segmenter(config(pages, steps=4, **changes), tmp_path / "run", clock(), resume=True)
    assert (tmp_path / "run" / "train.json").read_bytes() == before


def test_a_run_without_its_settings_is_not_resumed(pages: Path, tmp_path: Path):
    train_segmenter(config(pages, steps=2), tmp_path / "run", clock())
    (tmp_path / "run" / "train.json").unlink()
    with pytest.raises(ConfigError, match="the settings of the run to resume are missing"):
        train_segmenter(config(pages, steps=4), tmp_path / "run", clock(), resume=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"pages": ()},
        {"steps": 0},
        {"minutes": 0.0},
        {"warmup": 1.0},
        {"look": PageDataConfig(side=100)},
    ],
)
def test_impossible_settings_are_refused(pages: Path, changes: dict[str, Any]):
    with pytest.raises(ConfigError):
        config(pages, **changes)


@pytest.mark.parametrize("setting", [{"precision": "fp8"}, {"lines": ["foldr:x"]}, {"steps": "many"}])
def test_impossible_settings_of_a_file_are_refused(setting: dict[str, Any]):
    with pytest.raises(ConfigError):
        build(SegmenterConfig, {"pages": ["letters"]} | setting)
