"""`quill train` in a process of its own, at low priority and with one thread, so that editing stays fluid.

It holds a lock on its folder: a server that was killed finds its training at work when it starts again, and follows it.
A training that was stopped goes on where it was.
"""

import fcntl
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from quillread.errors import TrainingError
from quillread.files import write_json
from quillread.serve.jobs.training_lines import clear

log = logging.getLogger(__name__)

EPOCH_LINES = 240
"""Lines between two validations, each of which is a point of the curve and a checkpoint to go on from."""
_MOST_EPOCHS = 100_000
"""The clock ends a training, not the number of epochs."""
_AROUND = 30.0
"""Seconds that start, measuring and saving take, roughly."""
_TICK = 0.5
_STOPPED = (130, 143)
"""Exit codes of a training that was interrupted and has left a checkpoint."""
_PATIENCE = 120.0
"""Seconds that a training has for its checkpoint when it is stopped."""

Told = Callable[[Mapping[str, Any]], None]
"""Takes how far a training is."""


@dataclass(frozen=True, slots=True)
class Run:
    """A training: in which folder, from which model."""

    folder: Path
    """With the lines of both splits in `lines`; the run is `run` in it."""
    base: str
    """The model that it starts from: a name, or the path of a folder."""
    name: str
    """Of the new model."""
    minutes: float


def run_training(run: Run, told: Told, cancelled: Callable[[], bool]) -> bool:
    """Run a training, or go on with it.

    Args:
        run: What is trained.
        told: Told how far it is, now and then.
        cancelled: Asked now and then whether to stop.

    Returns:
        Whether it is done; False if it was stopped.

    Raises:
        TrainingError: If it fails, with its last words.
    """
    if (run.folder / "done").is_file():
        return True
    watch = _Watch(run, told)
    with _lock(run.folder) as lock:
        is_at_work = not _try_lock(lock)
        process = None if is_at_work else _start(run, lock)
    # The training has inherited the lock, and holds it until it ends.
    while (code := _ended(run.folder, process)) is None:
        watch.look()
        if cancelled():
            _stop(run.folder, process)
            watch.look()
            return False
        time.sleep(_TICK)
    watch.look()
    if is_at_work:  # whether it was done only it knows: going on with it tells, at once if it was
        return run_training(run, told, cancelled)
    if code in _STOPPED:
        return False
    if code != 0:
        raise TrainingError(_last_words(run.folder), hint="the log of the server has more")
    (run.folder / "done").touch()
    return True


def tell_measuring(run: Run, told: Told) -> None:
    """Tell that a training is done, and that its model is being measured."""
    _Watch(run, told, measuring=True).look()


def _start(task: Run, lock: BinaryIO) -> "subprocess.Popen[bytes]":
    run = task.folder / "run"
    command = [sys.executable, "-m", "quillread.cli.main", "train", "--output", "run"]
    if (run / "train.json").is_file():
        command += ["--resume"]
    else:
        clear(run)
        settings = {"minutes": task.minutes, "epochs": _MOST_EPOCHS, "epoch_lines": EPOCH_LINES,
                    "name": task.name, "validation_lines": 0}  # fmt: skip
        command += ["--model", task.base, "--data", "hub:lines", "--validation", "hub:lines"]
        for name, value in settings.items():
            command += ["--set", f"{name}={json.dumps(value)}"]
    with (task.folder / "log.txt").open("ab") as log_file:
        process = subprocess.Popen(
            command,
            cwd=task.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log_file,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # Ctrl-C in the terminal of the server is for the server, which stops it in order
        )
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, 10)
    (task.folder / "pid").write_text(str(process.pid), encoding="utf-8")
    return process


def _lock(folder: Path) -> BinaryIO:
    return (folder / "lock").open("a+b")


def _try_lock(lock: BinaryIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _ended(folder: Path, process: "subprocess.Popen[bytes] | None") -> int | None:
    """The exit code of a training; 0 of one that another server has started, of which none is known."""
    if process is not None:
        return process.poll()
    with _lock(folder) as lock:
        return 0 if _try_lock(lock) else None


def _stop(folder: Path, process: "subprocess.Popen[bytes] | None") -> None:
    """Let a training save a checkpoint and end; it is killed if it does not."""
    begun = time.monotonic()
    _signal(folder, process, signal.SIGTERM)
    while _ended(folder, process) is None:
        if time.monotonic() - begun > _PATIENCE:
            _signal(folder, process, signal.SIGKILL)
            begun = time.monotonic()
        time.sleep(_TICK / 5)


def end_other(folder: Path) -> None:
    """End a training of other lines that a killed server has left at work."""
    if folder.is_dir() and _ended(folder, None) is None:
        _stop(folder, None)


def _signal(folder: Path, process: "subprocess.Popen[bytes] | None", number: int) -> None:
    """Send a signal to a training and the processes that make its batches.

    The number of one that another server has started is that of a living process: it still holds its lock.
    """
    with suppress(OSError, ValueError):
        pid = process.pid if process else int((folder / "pid").read_text(encoding="utf-8"))
        if number == signal.SIGKILL:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)


def _last_words(folder: Path) -> str:
    lines = (folder / "log.txt").read_text(encoding="utf-8", errors="replace").splitlines()
    log.error("the training failed; the end of what it said:\n%s", "\n".join(lines[-30:]))
    told = [match[1] for line in lines if (match := re.search(r"error: (.*)", line))]
    return f"the training failed: {told[-1] if told else 'it ended without a word'}"[:500]


def quantise(run: Run, target: Path) -> None:
    """Make the eight-bit model of a run that is done, a quarter of the size and faster; its confidences come with it.

    Raises:
        TrainingError: If it cannot be made.
    """
    clear(target)
    command = [sys.executable, "-m", "quillread.cli.main", "models", "quantise", "run/model", target.name]
    done = subprocess.run(
        ["nice", "-n", "10", *command, "--data", "hub:lines"],
        cwd=run.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode:
        log.error("the taught model cannot be quantised:\n%s", done.stderr)
        raise TrainingError("the taught model cannot be quantised", hint="see the log of the server")


class _Watch:
    """Follows a training by what it writes into its folder, and tells how far it is."""

    def __init__(self, run: Run, told: Told, *, measuring: bool = False) -> None:
        self._measuring = measuring
        self._metrics = run.folder / "run" / "metrics.jsonl"
        self._kept = run.folder / "progress.json"
        self._told = told
        self._whole = 60 * run.minutes + _AROUND
        known = json.loads(self._kept.read_text(encoding="utf-8")) if self._kept.is_file() else {}
        self._history: list[dict[str, float]] = known.get("history", [])
        self._before = known.get("seconds", 0.0)
        self._begun = time.monotonic()
        self._seen = (0, 0)
        self._next = 0.0

    def look(self) -> None:
        """Tell what is new, or every few seconds how much time is left."""
        seconds = self._before + time.monotonic() - self._begun
        try:
            stat = self._metrics.stat()
        except FileNotFoundError:
            stat = None
        if stat is not None and (stat.st_mtime_ns, stat.st_size) != self._seen:
            self._seen = (stat.st_mtime_ns, stat.st_size)
            self._take(seconds)
        elif time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 5
        self._tell(seconds)

    def _take(self, seconds: float) -> None:
        known = {entry["step"] for entry in self._history}
        for line in self._metrics.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            if "eval_cer_spacing" in entry and entry["step"] not in known:
                at = 0.0 if entry["step"] == 0 else round(seconds, 1)
                self._history.append({"step": entry["step"], "seconds": at, "cer": round(entry["eval_cer_spacing"], 4)})
        write_json(self._kept, {"history": self._history, "seconds": seconds})

    def _tell(self, seconds: float) -> None:
        last = self._history[-1] if self._history else None
        step = int(last["step"]) if last else 0
        pace = seconds / step if step else None
        left = 0.0 if self._measuring else max(self._whole - seconds, 0.0)
        self._told(
            {
                "step": step,
                "steps": round(step + left / pace) if pace else None,
                "cer_before": self._history[0]["cer"] if self._history else None,
                "cer": last["cer"] if last else None,
                "seconds_left": round(left),
                "history": [{"seconds": point["seconds"], "cer": point["cer"]} for point in self._history],
                **({"measuring": True} if self._measuring else {}),
            }
        )
