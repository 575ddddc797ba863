import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from quillread.errors import ConfigError, DataError
from quillread.train.config import TrainConfig
from quillread.train.run_folder import (
    CONFIG_NAME,
    check_same_data,
    check_same_settings,
    find_checkpoint,
    record_run,
)


class Texts:
    """A source that has nothing but texts."""

    name = "folder:lines"

    def __init__(self, *texts: str) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def text(self, index: int) -> str:
        return self._texts[index]


def lines(*texts: str) -> SimpleNamespace:
    return SimpleNamespace(sources=[Texts(*texts)])


def write_run(output: Path, *steps: int) -> Path:
    output.mkdir(parents=True, exist_ok=True)
    record_run(TrainConfig(), lines("a", "b"), output)
    for step in steps:
        (output / f"checkpoint-{step}").mkdir()
        (output / f"checkpoint-{step}" / "trainer_state.json").write_text("{}")
    return output


def test_a_new_folder_is_free(tmp_path: Path):
    assert find_checkpoint(tmp_path / "new", resume=False, overwrite=False) is None


def test_a_folder_with_a_run_is_not_written_into(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds a run already") as caught:
        find_checkpoint(write_run(tmp_path), resume=False, overwrite=False)
    assert "--overwrite" in str(caught.value)


def test_a_folder_with_other_files_is_not_written_into(tmp_path: Path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ConfigError, match="other files"):
        find_checkpoint(tmp_path, resume=False, overwrite=False)


def test_overwriting_deletes_the_run_and_nothing_else(tmp_path: Path):
    write_run(tmp_path, 3)
    (tmp_path / "notes.txt").write_text("mine")
    assert find_checkpoint(tmp_path, resume=False, overwrite=True) is None
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_folder_that_holds_no_run_is_not_overwritten(tmp_path: Path):
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds no run"):
        find_checkpoint(tmp_path, resume=False, overwrite=True)
    assert (tmp_path / "letter.txt").is_file()


def test_resuming_takes_the_last_checkpoint_by_number(tmp_path: Path):
    found = find_checkpoint(write_run(tmp_path, 9, 10, 2), resume=True, overwrite=False)
    assert found == tmp_path / "checkpoint-10"


def test_a_checkpoint_that_was_broken_off_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_run(tmp_path, 4, 8)
    (tmp_path / "checkpoint-8" / "trainer_state.json").unlink()
    assert find_checkpoint(tmp_path, resume=True, overwrite=False) == tmp_path / "checkpoint-4"
    assert "checkpoint-8: was not written to its end" in caplog.text


def test_the_same_settings_may_go_on_with_more_epochs(tmp_path: Path):
    check_same_settings(TrainConfig(epochs=99), write_run(tmp_path))


def test_other_settings_are_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="seed: 1 before, 5 now"):
        check_same_settings(TrainConfig(seed=5), write_run(tmp_path))


def test_the_same_data_may_go_on(tmp_path: Path):
    check_same_data(lines("a", "b"), write_run(tmp_path))


@pytest.mark.parametrize("texts", [("a",), ("a", "c"), ("b", "a")])
def test_other_data_is_refused(tmp_path: Path, texts: tuple[str, ...]):
    with pytest.raises(DataError, match=r"the data changed.*folder:lines: 2 lines before"):
        check_same_data(lines(*texts), write_run(tmp_path))


def test_the_recorded_settings_are_those_of_the_run(tmp_path: Path):
    assert json.loads((write_run(tmp_path) / CONFIG_NAME).read_text())["seed"] == 1
