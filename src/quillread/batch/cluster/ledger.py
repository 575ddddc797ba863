"""The ledger of a target: what is read with what, which tasks there are, which are done, and who works on it.

In `TARGET/_ledger` lie

- `settings.json`: what is read with what. Another run must have the same.
- `plan/000012.jsonl`: tasks with their inputs, written before one of them starts. `plan/end.json` when all are listed.
- `done/....jsonl`: a record for each task whose part is written; a part without a record counts for nothing. Several
  tasks share a file, as a store takes a few requests a second, not one a page. Many files become one now and then.
- `begun/....json`: of a task with which a worker was lost, how often each of its pages was begun.
- `run.json`: who works on it, and how far it is; for `status`, and to tell whether that run is still alive.
- `runs/000003.json`: of each run, made by it alone. A run that finds a later one stops, so that no two write at a time.
"""

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from quillread.batch.cluster.store import Store
from quillread.batch.cluster.tasks import Item, Spread, Task
from quillread.errors import DataError, QuillreadError, UsageError

log = logging.getLogger(__name__)

LEDGER = "_ledger"
SETTINGS, _RUN, _END = f"{LEDGER}/settings.json", f"{LEDGER}/run.json", f"{LEDGER}/plan/end.json"
_FORM = 1
"""Of the ledger."""
STALE = 60.0
"""Seconds without a sign of life after which a run is taken for dead."""
_SIGN_SECONDS = 5.0
"""Between two signs of life."""
_MERGED = 64
"""Files of records beyond which a resumed run makes one of them."""
_TRIES = 5
"""Times that records are listed which another run puts together meanwhile."""
_TOGETHER = 500
"""Files of records of a run of which it makes one."""


class Ledger:
    """The ledger of a target.

    Args:
        store: The target.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._next = 0
        self._files: dict[str, bytes] = {}
        """Content of files of records that are to become one, by name."""
        self._number = -1
        """Of this run; below 0 until it has claimed the target."""
        self._facts: Mapping[str, Any] = {}
        self._telling = threading.Lock()

    def open(self, settings: Mapping[str, Any]) -> bool:
        """Begin a target, or go on with one.

        Args:
            settings: Of the run; plain data.

        Returns:
            Whether there was one.

        Raises:
            UsageError: If it is one of other settings; it names what differs.
            OutputError: If it cannot be written into.
        """
        content = _encode({"form": _FORM, **settings})
        found = self.settings()
        if found is None and self._store.create(SETTINGS, content):
            return False
        found = found or self.settings()  # another run was quicker
        if found is None:  # it was killed before it wrote them
            self._store.write(SETTINGS, content)
            return False
        if differences := list(_differences(found, json.loads(content))):
            hint = "write into another folder, or run it as before"
            where = self._store.address
            raise UsageError(f"{where}: was written by a run with other settings: " + "; ".join(differences), hint=hint)
        return True

    def settings(self) -> dict[str, Any] | None:
        """The settings of the target; None if there is no ledger."""
        return self._read(SETTINGS)

    def forget(self) -> None:
        """Leave a target in which nothing is planned to runs of other settings.

        Raises:
            UsageError: If another run works on the target by now.
        """
        self._check_own()
        self._store.delete(SETTINGS)

    def add_block(self, number: int, tasks: Sequence[Task]) -> None:
        """Write tasks into the plan.

        Raises:
            UsageError: If another run works on the target by now.
        """
        self._check_own()
        lines = ({"task": task.name, "items": [item.plain() for item in task.items]} for task in tasks)
        self._store.write(_block(number), b"\n".join(map(_encode, lines)))

    def block(self, number: int) -> list[Task] | None:
        """The tasks of a block of the plan; None if there is none of this number.

        Raises:
            DataError: If it is damaged. One that is empty is, too: its inputs may have been read already.
        """
        content = self._store.read(_block(number))
        if content is None:
            return None
        if not content:
            message = f"{self._store.address}: its ledger is damaged: {_block(number)} is empty"
            raise DataError(message, hint="put it back, or write into another folder")
        lines = (_decode(line, self._store.address) for line in content.splitlines())
        return [Task(line["task"], number, tuple(map(Item.of_plain, line["items"]))) for line in lines]

    def end_plan(self, facts: Mapping[str, Any]) -> None:
        """Note that the plan is whole."""
        self._store.write(_END, _encode(facts))

    def plan_end(self) -> dict[str, Any] | None:
        """The facts of `end_plan`, once the plan is whole."""
        return self._read(_END)

    def records(self) -> Iterator[dict[str, Any]]:
        """What became of the tasks that are done; of one that comes several times the last one counts.

        Raises:
            DataError: If they are damaged.
        """
        for _ in range(_TRIES):
            names = list(self._store.names(f"{LEDGER}/done"))
            self._next = 1 + max((int(name.rsplit("/", 1)[-1].split(".")[0]) for name in names), default=-1)
            self._files = {}
            for name, content in zip(names, self._store.read_all(names), strict=True):
                if content is None:
                    break  # a run that works on it has put it together with others: all are in a later one
                self._files[name] = content
                for line in content.splitlines():
                    yield _decode(line, self._store.address)
            else:
                return
        raise DataError(f"{self._store.address}: records go while they are read", hint="try again")

    def merge(self) -> None:
        """Keep the records in one file in place of many; to be called after `records`."""
        files, self._files = self._files, {}
        if len(files) <= _MERGED:
            return
        *others, last = files
        # In the place of the last one, so that a run that ends just now leaves the others, which say the same.
        self._store.write(last, b"\n".join(filter(None, files.values())))
        self._store.delete_all(others)

    def commit(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Note that tasks are done: after this, they are not done again.

        Raises:
            UsageError: If another run works on the target by now.
        """
        self._check_own()
        name, content = f"{LEDGER}/done/{self._next:09}.jsonl", b"\n".join(map(_encode, records))
        self._store.write(name, content)
        self._next += 1
        self._files[name] = content
        if len(self._files) >= _TOGETHER:
            self.merge()

    def claim(self, facts: Mapping[str, Any]) -> None:
        """Say that a run works on the target.

        Raises:
            UsageError: If another one does.
        """
        last = max(self._store.names(f"{LEDGER}/runs"), default=None)
        number = -1 if last is None else int(last.rsplit("/", 1)[-1].split(".")[0])
        other = self.run()
        if other is None or other.get("run", -1) < number:
            other = self._claimant(number)  # it has not told yet how far it is
        if other is not None and not other.get("ended") and is_alive(other):
            raise self._taken(other)
        own = _encode({**_own(), "token": secrets.token_hex(16)})
        if not self._store.create(_run_name(number + 1), own):
            raise self._taken(self._claimant(number + 1))
        self._number = number + 1
        self.tell(facts)

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Say how far this run is.

        Raises:
            UsageError: If another run works on the target by now.
        """
        with self._telling:
            self._check_own()
            self._facts = facts
            self._store.write(_RUN, _encode({**facts, **_own(), "run": self._number}))

    @contextmanager
    def signs_of_life(self) -> Iterator[None]:
        """Tell again and again what was told last, whatever else takes long."""
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(_SIGN_SECONDS):
                try:
                    self.tell(self._facts)
                except QuillreadError as error:  # the run itself meets it when it writes next
                    log.info("no sign of life: %s", error)

        thread = threading.Thread(target=work, name="quillread-signs", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _check_own(self) -> None:
        """Stop a run that was taken for dead, such as one on a machine that slept."""
        if self._number >= 0 and (other := self._claimant(self._number + 1)) is not None:
            raise self._taken(other)

    def _claimant(self, number: int) -> dict[str, Any] | None:
        """The run of a number; None if there is none, or it was killed while it began."""
        return self._read(_run_name(number))

    def _taken(self, other: Mapping[str, Any] | None) -> UsageError:
        where = f"process {other['process']} of {other['host']}" if other else "which has just begun"
        hint = f"wait for its end; a run that was killed counts as ended after {STALE:.0f} seconds"
        return UsageError(f"{self._store.address}: another run works on it, {where}", hint=hint)

    def run(self) -> dict[str, Any] | None:
        """What the last run said of itself."""
        return self._read(_RUN)

    def _read(self, name: str) -> dict[str, Any] | None:
        """A file of the ledger; None if there is none, or nothing in it: what wrote it was killed."""
        content = self._store.read(name)
        return _decode(content, self._store.address) if content else None


def begun_name(task: str) -> str:
    """Where it is noted how often the pages of a task were begun."""
    return f"{LEDGER}/begun/{task}.json"


def spreads_of(record: Mapping[str, Any]) -> list[Spread]:
    """The long documents that a task found."""
    return [
        Spread(
            record["task"], s["place"], record["block"], Item.of_plain(s["item"]), s["count"], s["joins"], s["pages"]
        )
        for s in record.get("spread", ())
    ]


def _run_name(number: int) -> str:
    return f"{LEDGER}/runs/{number:06}.json"


def _block(number: int) -> str:
    return f"{LEDGER}/plan/{number:06}.jsonl"


def is_alive(run: Mapping[str, Any]) -> bool:
    """Tell whether a run still works, by its signs of life; one on this machine also by its process."""
    if time.time() - run["time"] >= STALE:
        return False
    if run["host"] != socket.gethostname() or os.name == "nt":
        return True  # nor can a process be asked on Windows, where that would end it
    try:
        os.kill(run["process"], 0)
    except PermissionError:
        return True  # it is another user's
    except OSError:
        return False
    return bool(run["process"] != os.getpid())


def _own() -> dict[str, Any]:
    return {"host": socket.gethostname(), "process": os.getpid(), "time": time.time()}


def _differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """What two settings differ in, by name."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(key), now.get(key), f"{name}.{key}" if name else key)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for place, pair in enumerate(zip(before, now, strict=True)):
            yield from _differences(*pair, f"{name}[{place}]")
    elif before != now:
        yield f"{name}: {_shown(before)} before, {_shown(now)} now"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:79] + "…"


def _encode(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, default=str).encode()


def _decode(content: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        raise DataError(f"{where}: its ledger is damaged: {error}", hint="write into another folder") from error
    if not isinstance(found, dict):
        raise DataError(f"{where}: its ledger is damaged: {content[:80]!r}", hint="write into another folder")
    return found
