"""Folders for temporary files: those of processes that were killed go, those of others stay."""

import subprocess
import sys
from pathlib import Path

import fsspec
import pytest
from batches import FrailBars, read_bars, write_bars

from quillread import files
from quillread.batch.cluster import fetching, scratch
from quillread.batch.cluster.fetching import Sources
from quillread.batch.cluster.scratch import Scratch
from quillread.batch.cluster.tasks import Item
from quillread.batch.executors import PageJob, PageResult

CODE = """
import time
from quillread.batch.cluster.scratch import Scratch
scratch = Scratch()
(scratch.path / "page.png").write_bytes(b"x")
print(scratch.path, flush=True)
time.sleep(600)
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(scratch.tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_a_killed_process_has_left_goes_with_the_next_one(machine: Path):
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        left = Path(other.stdout.readline().strip())
        with Scratch():
            assert (left / "page.png").is_file()
        other.kill()
    with Scratch() as found:
        assert list(machine.iterdir()) == [found.path]
    assert list(machine.iterdir()) == []


def test_folders_of_one_process_stay_until_they_are_closed(machine: Path):
    one, other = Scratch(), Scratch()
    assert set(machine.iterdir()) == {one.path, other.path}
    one.close()
    assert list(machine.iterdir()) == [other.path]
    other.close()


def test_a_folder_that_is_taken_away_before_it_is_locked_is_made_anew(machine: Path, monkeypatch: pytest.MonkeyPatch):
    made, make = list[str](), scratch.tempfile.mkdtemp

    def lose_the_first(**further: str) -> str:
        made.append(make(**further))
        if len(made) == 1:
            Path(made[0]).rmdir()
        return made[-1]

    monkeypatch.setattr(scratch.tempfile, "mkdtemp", lose_the_first)
    with Scratch() as found:
        assert found.path == Path(made[1])


def test_without_locks_nothing_is_taken_for_a_remainder(machine: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "fcntl", None)
    with Scratch() as one, Scratch() as other:
        assert set(machine.iterdir()) == {one.path, other.path}


def test_whatever_a_run_keeps_for_a_while_is_in_such_folders(machine: Path, here: Path):
    seen = set[str]()

    class Looking(FrailBars):
        def __call__(self, job: PageJob) -> PageResult:
            seen.update(path.name for path in machine.iterdir())
            return super().__call__(job)

    list(write_bars(here / "scans", 3))
    read_bars("scans", target="out", pages=Looking(), formats=("txt",))
    assert {name for name in seen if not name.startswith("quillread-scratch-")} <= {"scans", "out"}
    assert len([name for name in seen if name.startswith("quillread-scratch-")]) == 2
    assert {path.name for path in machine.iterdir()} == {"scans", "out"}


def test_large_files_of_a_store_are_fetched_into_the_folder_that_is_given(
    machine: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(fetching, "_IN_MEMORY", 1)
    fsspec.filesystem("memory").pipe_file("/large.png", b"large")
    (machine / "folder").mkdir()
    sources = Sources(machine / "folder")
    found = sources.open(Item("large.png", "memory://large.png", "large"))
    assert isinstance(found, Path)
    assert (found.read_bytes(), found.parent.parent) == (b"large", machine / "folder")
    sources.close()
    assert list((machine / "folder").iterdir()) == []
    fsspec.filesystem("memory").rm_file("/large.png")
