import errno
import itertools
import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from quillread.errors import ConfigError
from quillread.train.checkpoint import (
    SEAL_NAME,
    all_checkpoints,
    checkpoint_folder,
    clear_unfinished,
    drop_old,
    find_best,
    find_checkpoint,
    seal_checkpoint,
    whole_checkpoints,
)


def write_checkpoints(output: Path, *steps: int, sealed: bool = True) -> Path:
    for step in steps:
        folder = checkpoint_folder(output, step)
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text("{}", encoding="utf-8")
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            torch.save({"a": torch.ones(3)}, folder / name)
        save_file({"a": torch.ones(3)}, folder / "model.safetensors")
        if sealed:
            seal_checkpoint(folder)
    return output


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def lose(path: Path) -> None:
    path.unlink()


def test_resuming_takes_the_last_checkpoint_by_number(tmp_path: Path):
    write_checkpoints(tmp_path, 9, 10, 2)
    (tmp_path / "checkpoint-best").mkdir()
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint-10"


@pytest.mark.parametrize("harm", [cut, flip, zero, lose])
@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]
)
def test_a_damaged_checkpoint_is_skipped_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: Callable[[Path], None], name: str
):
    write_checkpoints(tmp_path, 4, 8)
    harm(tmp_path / "checkpoint-8" / name)
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    assert "checkpoint-8: " in caplog.text
    assert name in caplog.text
    assert whole_checkpoints(tmp_path) == [tmp_path / "checkpoint-4"]


def test_a_checkpoint_with_a_file_of_others_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_checkpoints(tmp_path, 4, 8)
    (tmp_path / "checkpoint-8" / "scaler.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    assert "scaler.pt, which is not of its run" in caplog.text


def test_notes_beside_a_checkpoint_do_not_matter(tmp_path: Path):
    write_checkpoints(tmp_path, 8)
    (tmp_path / "checkpoint-8" / "notes.txt").write_text("mine", encoding="utf-8")
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint-8"


def test_a_damaged_seal_is_a_damaged_checkpoint(tmp_path: Path):
    write_checkpoints(tmp_path, 4, 8)
    cut(tmp_path / "checkpoint-8" / SEAL_NAME)
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint-4"


def test_a_run_whose_checkpoints_are_all_damaged_cannot_be_resumed(tmp_path: Path):
    write_checkpoints(tmp_path, 4)
    flip(tmp_path / "checkpoint-4" / "optimizer.pt")
    with pytest.raises(ConfigError, match="all its checkpoints are damaged"):
        find_checkpoint(tmp_path)


def test_damaged_checkpoints_without_checksums_are_not_a_run_without_any(tmp_path: Path):
    write_checkpoints(tmp_path, 4, sealed=False)
    cut(tmp_path / "checkpoint-4" / "optimizer.pt")
    with pytest.raises(ConfigError, match="all its checkpoints are damaged"):
        find_checkpoint(tmp_path)


def test_a_run_that_was_killed_in_its_first_checkpoint_has_none(tmp_path: Path):
    (tmp_path / "checkpoint-4").mkdir()
    (tmp_path / "checkpoint-4" / "model.safetensors").write_bytes(b"half")
    assert find_checkpoint(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "harm"),
    [
        *itertools.product(("trainer_state.json", "optimizer.pt", "scheduler.pt"), (cut, lose)),
        ("rng_state.pth", cut),
        ("model.safetensors", cut),
    ],
)
def test_a_checkpoint_without_checksums_is_told_by_its_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, harm: Callable[[Path], None]
):
    write_checkpoints(tmp_path, 4, 8, sealed=False)
    harm(tmp_path / "checkpoint-8" / name)
    assert find_checkpoint(tmp_path) == tmp_path / "checkpoint-4"
    assert "checkpoint-8: was not written to its end" in caplog.text


def test_the_seal_names_every_file(tmp_path: Path):
    write_checkpoints(tmp_path, 4)
    folder = tmp_path / "checkpoint-4"
    names = {path.name for path in folder.iterdir()}
    assert json.loads((folder / SEAL_NAME).read_text(encoding="utf-8")).keys() == names - {SEAL_NAME}


HISTORY = [{"loss": 1.0, "step": 3}, {"eval_cer": 0.3, "step": 4}, {"eval_cer": 0.2, "step": 8},
           {"eval_cer": 0.2, "step": 12}, {"eval_cer": 0.4, "step": 16}]  # fmt: skip


def test_the_best_checkpoint_is_the_first_with_the_lowest_rate(tmp_path: Path):
    write_checkpoints(tmp_path, 4, 8, 12, 16)
    assert find_best(tmp_path, HISTORY, "eval_cer") == tmp_path / "checkpoint-8"


def test_the_next_best_takes_the_place_of_a_damaged_one(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_checkpoints(tmp_path, 4, 8, 16)
    cut(tmp_path / "checkpoint-8" / "model.safetensors")
    assert find_best(tmp_path, HISTORY, "eval_cer") == tmp_path / "checkpoint-4"
    assert "checkpoint-8: its model.safetensors is damaged" in caplog.text


def test_without_whole_checkpoints_there_is_no_best(tmp_path: Path):
    assert find_best(tmp_path, HISTORY, "eval_cer") is None


@pytest.mark.parametrize(
    ("keep", "best", "left"), [(2, 4, [4, 16]), (2, 16, [12, 16]), (3, 8, [8, 12, 16]), (1, 8, [8, 16])]
)
def test_old_checkpoints_go_but_for_the_last_and_the_best(tmp_path: Path, keep: int, best: int, left: list[int]):
    write_checkpoints(tmp_path, 4, 8, 12, 16)
    drop_old(tmp_path, keep, checkpoint_folder(tmp_path, best), checkpoint_folder(tmp_path, 16))
    assert whole_checkpoints(tmp_path) == [checkpoint_folder(tmp_path, step) for step in left]


@pytest.mark.parametrize(("keep", "best", "left"), [(2, 400, [400, 500]), (1, None, [500]), (3, 300, [300, 400, 500])])
def test_a_resumed_run_drops_the_damaged_checkpoints_after_its_last_one_first(
    tmp_path: Path, keep: int, best: int | None, left: list[int]
):
    write_checkpoints(tmp_path, 300, 400, 500, 800, 900)
    for step in (800, 900):
        cut(checkpoint_folder(tmp_path, step) / "optimizer.pt")
    drop_old(tmp_path, keep, checkpoint_folder(tmp_path, best) if best else None, checkpoint_folder(tmp_path, 500))
    assert all_checkpoints(tmp_path) == [checkpoint_folder(tmp_path, step) for step in left]


def test_a_checkpoint_without_checksums_is_dropped_before_whole_ones(tmp_path: Path):
    write_checkpoints(tmp_path, 4, 12)
    write_checkpoints(tmp_path, 8, sealed=False)
    drop_old(tmp_path, 2, None, checkpoint_folder(tmp_path, 12))
    assert all_checkpoints(tmp_path) == [checkpoint_folder(tmp_path, step) for step in (4, 12)]


def fail_sync(monkeypatch: pytest.MonkeyPatch, number: int, *, folders: bool) -> None:
    """Let a file system refuse to bring folders, or files, to the disk."""

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == folders:
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="Windows does not open folders")
@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_takes_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
):
    fail_sync(monkeypatch, number, folders=True)
    write_checkpoints(tmp_path, 4)
    assert find_checkpoint(tmp_path) == checkpoint_folder(tmp_path, 4)


@pytest.mark.parametrize(("number", "folders"), [(errno.EINVAL, False), (errno.EIO, True)])
def test_other_failures_to_sync_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, folders: bool):
    if folders and not hasattr(os, "O_DIRECTORY"):
        pytest.skip("Windows does not open folders")
    write_checkpoints(tmp_path, 4, sealed=False)
    fail_sync(monkeypatch, number, folders=folders)
    with pytest.raises(OSError, match=re.escape(os.strerror(number))):
        seal_checkpoint(checkpoint_folder(tmp_path, 4))


def test_what_a_killed_process_was_writing_is_cleared(tmp_path: Path):
    kept = [tmp_path / name for name in ("checkpoint-8", "model", ".model.12.old", "notes.part")]
    for folder in (*kept, tmp_path / ".checkpoint-9.123.part", tmp_path / ".model.123.part"):
        folder.mkdir()
        (folder / "weights").write_bytes(b"x")
    clear_unfinished(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
