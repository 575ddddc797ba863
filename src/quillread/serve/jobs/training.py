"""The task of a job of kind `train`: teach the model of a collection its hand, measure it, and keep it if it is better.

`quill train` runs in a process of its own, at low priority and with one thread, so that editing stays fluid. It holds a
lock on its folder: a server that was killed finds its training at work when it starts again, and follows it. A training
that was stopped goes on where it was, unless its lines have changed meanwhile.
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
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import select

from quillread.errors import ModelError, TrainingError, UsageError
from quillread.files import write_json
from quillread.models.catalog import describe
from quillread.options import ReadOptions
from quillread.serve.access.actor import Actor
from quillread.serve.archive.home import Archive
from quillread.serve.archive.models import PREFIX, free_name, models_of, place_models, store_model
from quillread.serve.archive.settings import read_options
from quillread.serve.archive.teaching import FEWEST, Checked, checked_lines, hold_back, taught_before
from quillread.serve.database.schema import Collection, Model
from quillread.serve.jobs.claims import Claim
from quillread.serve.jobs.exam import Exam, examine
from quillread.serve.jobs.lesson import (
    TRAIN,
    VALIDATION,
    LessonLine,
    clear,
    digest_of,
    lesson_lines,
    write_lesson,
)

log = logging.getLogger(__name__)

MINUTES = 4.0
"""Length of a training, without start, measuring and saving: with 100 lines all takes less than five."""
_EPOCH_LINES = 240
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


def work_folder(archive: Archive, collection_id: int) -> Path:
    """The folder of the training of a collection; it goes when the training is done."""
    return archive.config.data / "work" / f"teach-{collection_id}"


def train(archive: Archive, claim: Claim, told: Told, cancelled: Callable[[], bool]) -> dict[str, Any] | None:
    """Teach the model of a collection.

    Args:
        archive: Where it is.
        claim: Of the task; `options` of the job may say `minutes`.
        told: Called with `step`, `steps`, `cer_before`, `cer`, `seconds_left` and `history`, now and then.
        cancelled: Asked now and then whether to stop; what was learnt so far stays for the next time.

    Returns:
        The result of the job: `model_id` and `name` of the new model, None if it is not better, and its `card`. None if
        it was stopped.

    Raises:
        QuillreadError: If there is nothing to learn from, the training fails, or there is no space.
    """
    if claim.collection_id is None:
        raise UsageError("a training belongs to a collection")
    if done := _earlier(archive, claim):
        return done
    course = _prepare(archive, claim)
    if not _teach(course, told, cancelled):
        return None
    taught = course.folder / "taught"
    _quantise(course, taught)
    exam = examine(course.options, course.base, taught, course.folder / "lines", cancelled)
    if exam is None:
        return None
    result = _keep(archive, claim, course, taught, exam)
    clear(course.folder)
    return result


@dataclass(frozen=True, slots=True)
class _Course:
    """A training: what is taught, from which model, and where."""

    folder: Path
    base: str
    """The model that it starts from, and that the collection is read with: a name, or the path of a folder."""
    base_name: str
    """As options name it."""
    name: str
    """Of the new model."""
    options: ReadOptions
    """That the collection is read with, but for the model."""
    minutes: float
    taught: Sequence[LessonLine]
    held: Sequence[LessonLine]
    by: str
    """What was held back whole: page or line."""


def _earlier(archive: Archive, claim: Claim) -> dict[str, Any] | None:
    """The result of this job if it is done but for the note of it, as when the server was killed just then."""
    with archive.database.read() as session:
        for model in session.scalars(select(Model).where(Model.collection_id == claim.collection_id)):
            if model.card.get("_job") == claim.job_id:
                return _result(model)
    return None


def _prepare(archive: Archive, claim: Claim) -> _Course:
    """Find out what is to be taught, and cut out its lines, unless that was done before."""
    collection_id = claim.collection_id or 0
    with archive.database.read() as session:
        collection = session.get_one(Collection, collection_id)
        options = collection.settings.get("options", {})
        names = models_of(collection)
        check_base(names)
        base = place_models(archive, session, {"models": names})["models"][0]
        lines = checked_lines(session, collection_id)
        check_enough(lines)
        parts = hold_back(lines, taught_before(session, collection_id))
        taught, held = (lesson_lines(session, [line.id for line in part]) for part in parts)
        name = free_name(session, collection.name)
    if describe(base).info.family != "compact":
        hint = "train TrOCR with quill train on a GPU, and upload the model"
        raise ModelError(f"{names[0]}: is a TrOCR model, and compact ones are taught here", hint=hint)
    course = _Course(
        folder=work_folder(archive, collection_id),
        base=base,
        base_name=names[0],
        name=name,
        options=read_options({key: value for key, value in options.items() if key != "models"}),
        minutes=float(claim.options.get("minutes") or MINUTES),
        taught=taught,
        held=held,
        by="page" if len({line.page_id for line in lines}) > 1 else "line",
    )
    return _cut_out(archive, course)


def _cut_out(archive: Archive, course: _Course) -> _Course:
    """Write the lines of a course, unless they are there from before; those that cannot be cut out are dropped."""
    crop, note = course.options.crop, course.folder / "lesson.json"
    digest = digest_of(course.taught, course.held, base=course.base, minutes=course.minutes, crop=repr(crop))
    known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if known.get("digest") != digest:
        _end_other(course.folder)
        clear(course.folder)
        written = {
            split: [line.id for line in write_lesson(archive, part, crop, course.folder / "lines", split)]
            for split, part in ((TRAIN, course.taught), (VALIDATION, course.held))
        }
        if not all(written.values()):
            raise TrainingError("the lines cannot be cut out of their pages", hint="see the log of the server")
        known = {"digest": digest, "name": course.name, **written}
        write_json(note, known)  # last: with it the lesson is whole
    there = {*known[TRAIN], *known[VALIDATION]}
    taught, held = ([line for line in part if line.id in there] for part in (course.taught, course.held))
    return replace(course, name=known["name"], taught=taught, held=held)


def check_base(names: Sequence[str]) -> None:
    """Refuse to teach a collection that is read with several models.

    Raises:
        UsageError: If it is.
    """
    if len(names) > 1:
        raise UsageError(f"the collection is read with {len(names)} models", hint="choose one of them to be taught")


def check_enough(lines: Sequence[Checked]) -> None:
    """Refuse to teach a few lines.

    Raises:
        UsageError: If there are too few.
    """
    if len(lines) < FEWEST:
        hint = "correct more lines, or take them as right"
        raise UsageError(f"{len(lines)} lines are checked, and teaching needs {FEWEST}", hint=hint)


def _teach(course: _Course, told: Told, cancelled: Callable[[], bool]) -> bool:
    """Run the training, or go on with it; False if it was stopped."""
    if (course.folder / "done").is_file():
        return True
    watch = _Watch(course, told)
    with _lock(course.folder) as lock:
        is_at_work = not _try_lock(lock)
        process = None if is_at_work else _start(course, lock)
    # The training has inherited the lock, and holds it until it ends.
    while (code := _ended(course.folder, process)) is None:
        watch.look()
        if cancelled():
            _stop(course.folder, process)
            watch.look()
            return False
        time.sleep(_TICK)
    watch.look()
    if is_at_work:  # whether it was done only it knows: going on with it tells, at once if it was
        return _teach(course, told, cancelled)
    if code in _STOPPED:
        return False
    if code != 0:
        raise TrainingError(_last_words(course.folder), hint="the log of the server has more")
    (course.folder / "done").touch()
    return True


def _start(course: _Course, lock: BinaryIO) -> "subprocess.Popen[bytes]":
    run = course.folder / "run"
    command = [sys.executable, "-m", "quillread.cli.main", "train", "--output", "run"]
    if (run / "train.json").is_file():
        command += ["--resume"]
    else:
        clear(run)
        settings = {"minutes": course.minutes, "epochs": _MOST_EPOCHS, "epoch_lines": _EPOCH_LINES,
                    "name": course.name, "validation_lines": 0}  # fmt: skip
        command += ["--model", course.base, "--data", "hub:lines", "--validation", "hub:lines"]
        for name, value in settings.items():
            command += ["--set", f"{name}={json.dumps(value)}"]
    with (course.folder / "log.txt").open("ab") as log_file:
        process = subprocess.Popen(
            command,
            cwd=course.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log_file,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            pass_fds=(lock.fileno(),),
            start_new_session=True,  # Ctrl-C in the terminal of the server is for the server, which stops it in order
        )
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, 10)
    (course.folder / "pid").write_text(str(process.pid), encoding="utf-8")
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


def _end_other(folder: Path) -> None:
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


class _Watch:
    """Follows a training by what it writes into its folder, and tells how far it is."""

    def __init__(self, course: _Course, told: Told) -> None:
        self._metrics = course.folder / "run" / "metrics.jsonl"
        self._kept = course.folder / "progress.json"
        self._told = told
        self._whole = 60 * course.minutes + _AROUND
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
        left = max(self._whole - seconds, 0.0)
        self._told(
            {
                "step": step,
                "steps": round(step + left / pace) if pace else None,
                "cer_before": self._history[0]["cer"] if self._history else None,
                "cer": last["cer"] if last else None,
                "seconds_left": round(left),
                "history": [{"seconds": point["seconds"], "cer": point["cer"]} for point in self._history],
            }
        )


def _quantise(course: _Course, target: Path) -> None:
    """Make the eight-bit model of a run, a quarter of the size and faster; its confidences come with it."""
    clear(target)
    command = [sys.executable, "-m", "quillread.cli.main", "models", "quantise", "run/model", target.name]
    done = subprocess.run(
        ["nice", "-n", "10", *command, "--data", "hub:lines"],
        cwd=course.folder,
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


def _keep(archive: Archive, claim: Claim, course: _Course, taught: Path, exam: Exam) -> dict[str, Any]:
    """Keep the model if it is better, with a card of what it learnt."""
    card = {
        "lines": len(course.taught),
        "held_back": len(course.held),
        "by": course.by,
        "start": course.base_name,
        "minutes": course.minutes,
        **exam.figures,
        "better": exam.is_better,
    }
    if not exam.is_better:
        return {"model_id": None, "name": None, "card": card}
    with archive.database.read() as session:
        name = free_name(session, course.name)
        # What its base was taught it has learnt, too, even when that is deleted.
        base = session.scalar(select(Model).where(Model.name == course.base_name.removeprefix(PREFIX)))
        known = base.card.get("_taught", []) if base is not None else []
    hidden = {"_job": claim.job_id, "_taught": sorted({*known, *(line.id for line in course.taught)})}
    model = Model(name=name, family="compact", collection_id=claim.collection_id, card=card | hidden)
    actor = Actor(claim.user_name, user_id=claim.user_id)
    return _result(store_model(archive, actor, taught, model))


def _result(model: Model) -> dict[str, Any]:
    shown = {key: value for key, value in model.card.items() if not key.startswith("_")}
    return {"model_id": model.id, "name": f"archive:{model.name}", "card": shown}
