"""Runs that are ended at random moments and taken up again, and disks that are full: the results are the same.

`make fault ROUNDS=100` does more of each than `make test`.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quillread.batch.journal import JOURNAL_SUFFIX
from quillread.batch.records import LOG_NAME
from quillread.formats.export import FORMATS

ROUNDS = int(os.environ.get("FAULT_ROUNDS", "2"))
_MOMENTS = 280
"""About how often a run touches files of its results."""
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
_READ = ("read", "in", "--format", ",".join(FORMATS), "--output", "out", "--overlay", "seen")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="signals, limits and locks are those of Linux")


def quill(*arguments: str, frail: str = "", before: str = "pass", shell: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run it; returns its exit code and what it said."""
    command = [*shell, sys.executable, "-c", f"{before}; import frail_runs; frail_runs.main()", *arguments]
    done = subprocess.run(command, capture_output=True, env={**_ENVIRONMENT, "FRAIL": frail}, timeout=300)
    assert done.stdout == b""
    return done.returncode, done.stderr.decode()


def written(*folders: str) -> dict[str, bytes]:
    """All files, hidden ones too, without the log and the times at which they were made."""
    files = (path for folder in folders for path in Path(folder).rglob("*") if path.is_file())
    return {str(path): _STAMP.sub(b"", path.read_bytes()) for path in files if path.name != LOG_NAME}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with inputs, and what an unbroken run makes of them."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "in" / "deep").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (8, 60, 80, 3), np.uint8)
    first, *others = map(Image.fromarray, noise)
    first.save(folder / "in" / "a.png")
    others[0].save(folder / "in" / "book.tif", save_all=True, append_images=others[1:5])
    others[5].save(folder / "in" / "deep" / "c.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert quill(*_READ)[0] == 0
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the inputs alone."""
    shutil.copytree(whole / "in", tmp_path / "in")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results_of(whole: Path) -> dict[str, bytes]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(whole)
        return written("out", "seen")


def check_resumed(whole: Path) -> None:
    """Take up the run in the current folder: all is as if it had never been ended."""
    code, said = quill(*_READ, "--resume")
    assert code == 0, said
    assert written("out", "seen") == results_of(whole)
    assert quill(*_READ, "--resume") == (0, "quill: all 3 inputs were read by an earlier run: there is nothing to do\n")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize("round_", range(ROUNDS))
def test_what_is_ended_and_resumed_is_equal_to_what_is_not(name: str, round_: int, whole: Path, folder: Path):
    dice = random.Random(f"{name} {round_}")
    for _ in range(dice.randint(1, 2)):  # the run that resumes may be ended, too
        delay = dice.choice([0.0, dice.uniform(0, 0.03)])
        code, said = quill(*_READ, "--resume", frail=f"{name} {dice.randint(1, _MOMENTS)} {delay}")
        number = signal.Signals[name]
        assert code in (0, -number if name == "SIGKILL" else 128 + number), said
        if name != "SIGKILL":
            assert not list(folder.rglob("*.part"))
            assert "Traceback" not in said
    check_resumed(whole)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_what_is_killed_is_cleared_by_a_run_that_does_not_resume(round_: int, whole: Path, folder: Path):
    moment = random.Random(round_).randint(1, _MOMENTS)
    quill(*_READ, frail=f"SIGKILL {moment} 0")
    assert quill(*_READ)[0] == 0
    assert written("out", "seen") == results_of(whole)


def check_full(code: int, said: str, whole: Path) -> None:
    """What is there is whole, what is not is named, and nothing is half written."""
    assert code == 3
    assert "internal error" not in said
    expected, found = results_of(whole), written("out", "seen")
    journal = f".book{JOURNAL_SUFFIX}"
    found = {name: content for name, content in found.items() if Path(name).name != journal}
    assert {name: expected[name] for name in found} == found
    if re.search(rf"^quill: error: \S+{re.escape(LOG_NAME)}: cannot be written: ", said, re.MULTILINE):
        return  # without its log a run does not go on
    missing = {Path(name).stem.split("-")[0].split(".")[0] for name in expected.keys() - found.keys()}
    assert all(f"in/{'deep/' if stem == 'c' else ''}{stem}." in said for stem in missing), said


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_file_that_becomes_too_large_is_lost_alone(round_: int, whole: Path, folder: Path):
    sizes = sorted(path.stat().st_size for path in (whole / "out").rglob("*") if path.is_file())
    size = random.Random(round_).randint(sizes[len(sizes) // 2], sizes[-1])
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size},) * 2)"
    check_full(*quill(*_READ, before=limit), whole)
    check_resumed(whole)


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_full_disk_loses_what_has_no_room(round_: int, whole: Path, folder: Path):
    kilobytes = random.Random(round_).randint(20, 150)
    (folder / "out").mkdir()
    mount = f'mount -t tmpfs -o size={kilobytes}k tmpfs out && "$@"; code=$?; cp -a out/. kept; exit $code'
    shell = ("unshare", "-Urm", "sh", "-c", mount, "sh")
    if subprocess.run([*shell, "true"], capture_output=True).returncode:
        pytest.skip("disks cannot be mounted here")
    shutil.rmtree(folder / "kept", ignore_errors=True)
    (folder / "kept").mkdir()
    code, said = quill(*_READ, shell=shell)
    (folder / "out").rmdir()
    (folder / "kept").rename(folder / "out")
    check_full(code, said, whole)
    check_resumed(whole)
