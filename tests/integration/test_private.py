"""Nothing leaves the machine, and no file is made beside those asked for.

Watched by strace, from outside: what sends is often a library in C++, which Python's audit hooks do not see.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pytest
from fakes import write_folder, write_hub, write_trocr

ROOT = Path(__file__).parents[2]
PAGE = str(ROOT / "tests" / "data" / "page.jpg")
LINE = str(ROOT / "tests" / "data" / "line.jpg")
QUILL = ("-m", "quillread.cli.main")
REPORTS_ON = {"ORT_DISABLE_TELEMETRY": "", "HF_HUB_DISABLE_TELEMETRY": "0", "HF_UPDATE_DOWNLOAD_COUNTS": "1"}
WORKER = f"""
import multiprocessing, quillread
worker = multiprocessing.get_context("spawn").Process(target=quillread.read, args=({PAGE!r},))
worker.start()
worker.join()
raise SystemExit(worker.exitcode)
"""
MISDEED = """
import pathlib, socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
(pathlib.Path.home() / "identity").write_bytes(b"of this machine")
"""

# A question mark: not every machine has this call.
CALLS = "socket,openat,mkdirat,renameat2,linkat,symlinkat,?renameat,?openat2,?open,?creat,?mkdir,?rename,?link,?symlink"
MADE = re.compile(r"""(?x)
    ^(?: open\w* \( .* O_(?:CREAT|WRONLY|RDWR) | (?:creat|mkdir|rename|link|symlink)\w* \( )
    .* \) \s+ = \s [0-9]""")
NAMED = re.compile(r'(?:<([^<>]*)>, )?"((?:[^"\\]|\\.)*)"')


@dataclass(slots=True)
class Seen:
    """What a process and its children did."""

    left: list[str]
    """Files in the user's folders afterwards."""
    sockets: list[str] = field(default_factory=list)
    """System calls that made one; pairs of a process with itself are none of these."""
    strays: list[str] = field(default_factory=list)
    """System calls that made or wrote a file outside the folder `asked`."""


def can_trace() -> bool:
    """Whether strace is there and may be used."""
    command = ["strace", "--quiet=all", "-e", "trace=none", sys.executable, "-c", ""]
    return shutil.which("strace") is not None and subprocess.run(command, capture_output=True).returncode == 0


CAN_TRACE = can_trace()
traced = pytest.mark.skipif(not CAN_TRACE, reason="needs strace and leave to use it: apt-get install strace")


def watch(folder: Path, *arguments: str, **environment: str) -> Seen:
    """Run Python in `folder`, for a user with no files of their own and with reports left on."""
    home = folder / "home"
    (folder / "asked").mkdir()
    (folder / "trace").mkdir()
    (home / "tmp").mkdir(parents=True)
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home / "tmp")}
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    strace = ["strace", "-ff", "-y", "--seccomp-bpf", "-e", f"trace={CALLS}", "-s", "4096", "-o", "trace/of"]
    done = subprocess.run(
        [*(strace if CAN_TRACE else ()), sys.executable, *arguments],
        cwd=folder,
        env={**kept, **places, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    calls = [call for file in (folder / "trace").iterdir() for call in file.read_text(encoding="utf-8").splitlines()]
    return Seen(
        [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()],
        [call for call in calls if call.startswith("socket(")],
        [call for call in calls if MADE.match(call) and not is_asked_for(call, folder)],
    )


def is_asked_for(call: str, folder: Path) -> bool:
    """Whether all paths that a system call names lie in the folder `asked`."""
    paths = [folder / base / path for base, path in NAMED.findall(call.rpartition(" = ")[0])]
    return all(path == Path(os.devnull) or path.is_relative_to(folder / "asked") for path in paths)


@pytest.fixture(scope="module", params=["read", "evaluate", "worker"])
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folder = tmp_path_factory.mktemp(request.param)
    lines = write_folder(folder / "lines", ["abc", "de a"])
    arguments = {
        "read": (*QUILL, "read", "--output", "asked", "--format", "txt,json", PAGE),
        "evaluate": (*QUILL, "evaluate", "--data", str(lines), "--predictions", "asked/lines.jsonl"),
        "worker": ("-c", WORKER),
    }
    return watch(folder, *arguments[request.param], **REPORTS_ON)


def test_no_file_is_left_in_the_folders_of_the_user(seen: Seen):
    assert seen.left == []


@traced
def test_no_socket_is_opened(seen: Seen):
    assert seen.sockets == []


@traced
def test_no_file_is_made_beside_those_asked_for(seen: Seen):
    assert seen.strays == []


@pytest.fixture(scope="module", params=["train", "train TrOCR", "read TrOCR", "datasets"])
def heavy(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """With libraries that keep temporary files, and ask the system for the name of the user."""
    folder = tmp_path_factory.mktemp("heavy")
    data = write_hub(folder / "lines", {"train": ["abc", "de a"] * 4, "validation": ["abc", "de a"]})
    trocr = str(write_trocr(folder / "trocr")) if "TrOCR" in request.param else ""
    train = (*QUILL, "train", "--data", f"hub:{data}", "--output", "asked/run", "--set", "epochs=1", "--set")
    arguments = {
        "train": (*train, "workers=1"),
        "train TrOCR": (*train, "workers=0", "--model", trocr),
        "read TrOCR": (*QUILL, "read", "--lines", "--output", "asked", "--model", trocr, LINE),
        "datasets": ("-c", "import quillread, datasets"),
    }
    return watch(folder, *arguments[request.param], **REPORTS_ON)


@pytest.mark.slow
def test_libraries_leave_no_file_in_the_folders_of_the_user(heavy: Seen):
    assert heavy.left == []


@pytest.mark.slow
@traced
def test_libraries_open_no_socket_to_the_network(heavy: Seen):
    assert [call for call in heavy.sockets if "AF_UNIX" not in call] == []


@pytest.mark.slow
@traced
def test_libraries_make_temporary_files_only(heavy: Seen):
    # Semaphores and pages that processes share are files, too.
    assert [call for call in heavy.strays if "/home/tmp/" not in call and "/dev/shm/" not in call] == []


@traced
def test_the_watch_sees_a_socket_and_a_file(tmp_path: Path):
    seen = watch(tmp_path, "-c", MISDEED)
    assert len(seen.sockets) == 1
    assert len(seen.strays) == 1
    assert seen.left == ["identity"]


REPORTING = tuple(map(int, version("onnxruntime").split(".")[:2])) >= (1, 32)


@pytest.mark.skipif(not REPORTING, reason="onnxruntime reports since 1.32")
def test_the_watch_sees_what_onnxruntime_does_by_itself(tmp_path: Path):
    assert any("onnxruntime" in name for name in watch(tmp_path, "-c", "import onnxruntime").left)


def test_onnxruntime_is_imported_by_quillread_alone():
    scripts = [path for folder in ("tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    direct = re.compile(r"^\s*(?:import|from) onnxruntime\b", re.MULTILINE)
    assert len(scripts) > 100
    assert [path for path in scripts if direct.search(path.read_text(encoding="utf-8"))] == []
