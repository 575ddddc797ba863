"""What the processes of one training agree on; the others are made up."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from quillread.errors import ConfigError, DataError, OutputError, QuillreadError, TrainingError
from quillread.train import arguments, ranks
from quillread.train.arguments import training_arguments
from quillread.train.config import TrainConfig

HERE = socket.gethostname()


def first_of_two(monkeypatch: pytest.MonkeyPatch, other: Any) -> None:
    """Be the first of two processes; the other one, on the machine `far`, always says the same."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks, "gather_object", lambda own: [*own, ("far", other)])


def fail() -> None:
    raise DataError("lines: no such folder", hint="check the path")


def test_a_process_alone_asks_nobody():
    assert ranks.together(lambda: 3) == 3
    assert ranks.decided_by_first("checkpoint-4") == "checkpoint-4"
    ranks.check_same({"epochs": 3})


def test_what_another_process_cannot_do_is_raised_here_with_its_machine(monkeypatch: pytest.MonkeyPatch):
    first_of_two(monkeypatch, DataError("lines: no such folder", hint="check the path"))
    with pytest.raises(DataError, match=r"^far: lines: no such folder\n  hint: check the path$"):
        ranks.together(lambda: 3)


def test_an_error_of_this_process_is_raised_as_it_is_and_told_to_the_others(monkeypatch: pytest.MonkeyPatch):
    told: list[tuple[str, QuillreadError | None]] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks, "gather_object", lambda own: told.extend(own) or [*own, ("far", None)])
    with pytest.raises(DataError, match=r"^lines: no such folder"):
        ranks.together(fail)
    assert [(machine, str(error)) for machine, error in told] == [
        (HERE, "lines: no such folder\n  hint: check the path")
    ]


@pytest.mark.parametrize("facts", [{"epochs": 3, "folder:lines": "ab"}, {}], ids=["another machine", "same machine"])
def test_processes_that_train_the_same_go_on(monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any]):
    first_of_two(monkeypatch, facts)
    ranks.check_same({"epochs": 3, "folder:lines": "ab"})


def test_a_machine_with_other_settings_or_data_is_refused_and_named(monkeypatch: pytest.MonkeyPatch):
    first_of_two(monkeypatch, {"epochs": 4})
    with pytest.raises(ConfigError, match=f"differ: epochs is 3 on {HERE} and 4 on far"):
        ranks.check_same({"epochs": 3})


def test_the_loss_of_another_process_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="lost the connection to another process"), ranks.naming_losses():
        raise RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:1234")


@pytest.mark.parametrize(("processes", "message"), [("1", "gloo"), ("2", "shapes cannot be multiplied")])
def test_other_errors_stay_as_they_are(monkeypatch: pytest.MonkeyPatch, processes: str, message: str):
    monkeypatch.setenv("WORLD_SIZE", processes)
    with pytest.raises(RuntimeError, match=message), ranks.naming_losses():
        raise RuntimeError(message)


def test_processes_share_the_cores_of_their_own_machine_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    sharing: list[int] = []
    monkeypatch.setattr(arguments, "choose_workers", lambda workers, processes: sharing.append(processes) or 0)
    monkeypatch.setattr(ranks, "count", lambda: 16)
    monkeypatch.setattr(ranks, "count_here", lambda: 8)
    args = training_arguments(TrainConfig(batch_size=32), tmp_path, 4, validates=False, progress=False)
    assert (sharing, args.per_device_train_batch_size) == ([8], 2)


def test_processes_that_no_launcher_connects_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks, "PartialState", lambda **_: SimpleNamespace(num_processes=1))
    with pytest.raises(ConfigError, match="2 processes train, but they are not connected"):
        ranks.join()


def test_a_run_whose_output_is_a_file_says_that_it_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks, "gather_object", lambda own: [*own, ("far", None)])
    monkeypatch.setattr(ranks, "broadcast_object_list", list)
    (tmp_path / "run").touch()
    with pytest.raises(OutputError, match="run: cannot be written"):
        ranks.check_shared(tmp_path / "run")
