import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from runs import changed, train_config
from safetensors.torch import save_file

from quillread.errors import ConfigError, DataError
from quillread.train.config import assemble, read_settings
from quillread.train.run_folder import (
    CONFIG_NAME,
    check_free,
    check_same_data,
    check_same_settings,
    delete_run,
    record_run,
)

DATA = Path(__file__).parents[2] / "data"
CONFIG = train_config(data=["folder:lines"])


class Texts:
    """A source of grey images with a text each."""

    def __init__(self, *texts: str, grey: int = 200) -> None:
        self._texts = texts
        self._grey = grey

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, index: int) -> str:
        return self._texts[index]

    def aspect(self, index: int) -> float:
        return 4.0

    def sample(self, index: int, rng: Any) -> SimpleNamespace:
        image = np.full((4, 16, 3), self._grey, np.uint8)
        return SimpleNamespace(text=self._texts[index], image=image)


def lines(*texts: str, grey: int = 200, validation: str = "v") -> Any:
    part = SimpleNamespace(name="held", samples=[Texts(validation).sample(0, None)])
    return SimpleNamespace(sources=[Texts(*texts, grey=grey)], validation=[part])


def write_run(output: Path, *steps: int) -> Path:
    output.mkdir(parents=True, exist_ok=True)
    record_run(CONFIG, lines("a", "b"), output)
    for step in steps:
        folder = output / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text("{}", encoding="utf-8")
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            torch.save({"a": torch.ones(3)}, folder / name)
        save_file({"a": torch.ones(3)}, folder / "model.safetensors")
    return output


def test_a_new_folder_is_free(tmp_path: Path):
    check_free(tmp_path / "new", CONFIG, overwrite=False)


def test_a_folder_with_a_run_is_not_written_into(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds a run already") as caught:
        check_free(write_run(tmp_path), CONFIG, overwrite=False)
    assert "overwrite it" in str(caught.value)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_files_is_never_free(tmp_path: Path, overwrite: bool):
    (tmp_path / "letter.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="other files"):
        check_free(tmp_path, CONFIG, overwrite=overwrite)
    assert (tmp_path / "letter.txt").is_file()


def test_checking_deletes_nothing(tmp_path: Path):
    check_free(write_run(tmp_path, 3), CONFIG, overwrite=True)
    assert (tmp_path / "checkpoint-3").is_dir()


@pytest.mark.parametrize("needed", ["start", "data", "validation", "tokenizer"])
def test_what_the_new_run_needs_is_not_overwritten(tmp_path: Path, needed: str):
    write_run(tmp_path)
    place = tmp_path / "model"
    place.mkdir()
    value: Any = {"start": str(place), "tokenizer": place}.get(needed, (f"folder:{place}",))
    with pytest.raises(ConfigError, match="would be overwritten"):
        check_free(tmp_path, train_config(family="trocr", **{needed: value}), overwrite=True)


def test_deleting_a_run_takes_nothing_else(tmp_path: Path):
    write_run(tmp_path, 3)
    (tmp_path / ".checkpoint-4.123.part").mkdir()
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    delete_run(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-best", "notes.txt"]


def test_the_same_settings_may_go_on_with_more_epochs(tmp_path: Path):
    more = changed(CONFIG, epochs=99)
    assert check_same_settings(more, write_run(tmp_path)) == more


def test_what_was_fitted_to_the_memory_stays(tmp_path: Path):
    record_run(changed(CONFIG, micro_batch=4), lines("a"), tmp_path)
    assert check_same_settings(CONFIG, tmp_path).micro_batch == 4


def test_other_settings_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="seed: 1 before, 5 now"):
        check_same_settings(changed(CONFIG, seed=5), write_run(tmp_path))


def test_a_run_of_version_0_1_0_goes_on(tmp_path: Path):
    """Its record holds the settings of both families, and weights as they were typed."""
    record = json.loads((DATA / "compact-run-0.1.0.json").read_text(encoding="utf-8"))
    (tmp_path / CONFIG_NAME).write_text(json.dumps(record | {"start": None}), encoding="utf-8")
    config = assemble(read_settings(tmp_path / CONFIG_NAME))
    assert "hub:{root}/hooker@0.1" in [str(spec) for spec in config.data]
    record_run(
        config, many := SimpleNamespace(sources=[Texts("a")] * len(config.data), validation=[]), tmp_path / "new"
    )
    digests = json.loads((tmp_path / "new" / "data.json").read_text(encoding="utf-8"))
    typed = {name.replace("hooker@0.1", "hooker@0.10"): digest for name, digest in digests.items()}
    (tmp_path / "data.json").write_text(json.dumps(typed), encoding="utf-8")
    assert check_same_settings(config, tmp_path) == config
    check_same_data(config, many, tmp_path)


def test_the_same_data_may_go_on(tmp_path: Path):
    check_same_data(CONFIG, lines("a", "b"), write_run(tmp_path))


@pytest.mark.parametrize(
    ("now", "named"),
    [
        (lines("a"), "folder:lines"),
        (lines("a", "c"), "folder:lines"),
        (lines("b", "a"), "folder:lines"),
        (lines("a", "b", grey=55), "folder:lines"),
        (lines("a", "b", validation="w"), "validation: held"),
    ],
    ids=["fewer", "other text", "other order", "other images", "other validation"],
)
def test_other_data_is_refused(tmp_path: Path, now: Any, named: str):
    with pytest.raises(DataError, match=f"the data changed since the run was started: {named}\n"):
        check_same_data(CONFIG, now, write_run(tmp_path))


def test_another_start_is_refused(tmp_path: Path):
    start = tmp_path / "start"
    start.mkdir()
    (start / "quillread.json").write_text("{}", encoding="utf-8")
    (start / "model.onnx").write_bytes(b"weights")
    config = changed(CONFIG, start=str(start))
    (tmp_path / "run").mkdir()
    record_run(config, lines("a"), tmp_path / "run")
    (start / "model.onnx").write_bytes(b"others!")
    with pytest.raises(DataError, match="start: "):
        check_same_data(config, lines("a"), tmp_path / "run")


def test_the_recorded_settings_are_those_of_the_run(tmp_path: Path):
    assert json.loads((write_run(tmp_path) / CONFIG_NAME).read_text(encoding="utf-8"))["seed"] == 1
