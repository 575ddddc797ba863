"""The ledger of a target: what is read with what, which tasks there are, which are done, and who works on it.

In `TARGET/_ledger` lie

- `settings.json`: what is read with what. Another run must have the same.
- `plan/000012.jsonl`: tasks with their inputs, written before one of them starts. `plan/end.json` when all are listed.
- `done/....jsonl`: a record for each task whose part is written; a part without a record counts for nothing. Several
  tasks share a file, as a store takes a few requests a second, not one a page. A resumed run makes one file of them.
- `begun/....json`: of a task with which a worker was lost, how often each of its pages was begun.
- `run.json`: who works on it, and how far it is; for `status`, and so that no two runs write at a time.
"""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from quillread.batch.cluster.store import Store
from quillread.batch.cluster.tasks import Item, Spread, Task
from quillread.errors import DataError, UsageError

LEDGER = "_ledger"
_SETTINGS, _RUN, _END = f"{LEDGER}/settings.json", f"{LEDGER}/run.json", f"{LEDGER}/plan/end.json"
_FORM = 1
"""Of the ledger."""
STALE = 60.0
"""Seconds without a sign of life after which a run on another machine is taken for dead."""
_MERGED = 64
"""Files of records beyond which a resumed run makes one of them."""


class Ledger:
    """The ledger of a target.

    Args:
        store: The target.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._next = 0
        self._files: list[str] = []

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
        found = self.settings()
        if found is None:
            self._store.write(_SETTINGS, _encode({"form": _FORM, **settings}))
            return False
        ours = json.loads(_encode({"form": _FORM, **settings}))
        if differences := list(_differences(found, ours)):
            hint = "write into another folder, or run it as before"
            where = self._store.address
            raise UsageError(f"{where}: was written by a run with other settings: " + "; ".join(differences), hint=hint)
        return True

    def settings(self) -> dict[str, Any] | None:
        """The settings of the target; None if there is no ledger."""
        content = self._store.read(_SETTINGS)
        return None if content is None else _decode(content, self._store.address)

    def add_block(self, number: int, tasks: Sequence[Task]) -> None:
        """Write tasks into the plan."""
        lines = ({"task": task.name, "items": [item.plain() for item in task.items]} for task in tasks)
        self._store.write(_block(number), b"\n".join(map(_encode, lines)))

    def block(self, number: int) -> list[Task] | None:
        """The tasks of a block of the plan; None if there is none of this number."""
        content = self._store.read(_block(number))
        if content is None:
            return None
        lines = (_decode(line, self._store.address) for line in content.splitlines())
        return [Task(line["task"], number, tuple(map(Item.of_plain, line["items"]))) for line in lines]

    def end_plan(self, facts: Mapping[str, Any]) -> None:
        """Note that the plan is whole."""
        self._store.write(_END, _encode(facts))

    def plan_end(self) -> dict[str, Any] | None:
        """The facts of `end_plan`, once the plan is whole."""
        content = self._store.read(_END)
        return None if content is None else _decode(content, self._store.address)

    def records(self) -> Iterator[dict[str, Any]]:
        """What became of the tasks that are done; of one that was done anew the last one counts."""
        self._files = list(self._store.names(f"{LEDGER}/done"))
        self._next = 1 + max((int(name.rsplit("/", 1)[-1].split(".")[0]) for name in self._files), default=-1)
        for name in self._files:
            for line in (self._store.read(name) or b"").splitlines():
                yield _decode(line, self._store.address)

    def merge(self) -> None:
        """Keep the records in one file in place of many; to be called after `records`."""
        if len(self._files) <= _MERGED:
            return
        contents = filter(None, map(self._store.read, self._files))
        # In the place of the last one, so that a run that ends just now leaves the others, which say the same.
        self._store.write(self._files[-1], b"\n".join(contents))
        for name in self._files[:-1]:
            self._store.delete(name)

    def commit(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Note that tasks are done: after this, they are not done again."""
        self._store.write(f"{LEDGER}/done/{self._next:09}.jsonl", b"\n".join(map(_encode, records)))
        self._next += 1

    def claim(self, facts: Mapping[str, Any]) -> None:
        """Say that a run works on the target.

        Raises:
            UsageError: If another one does.
        """
        other = self.run()
        if other is not None and not other.get("ended") and is_alive(other):
            where = f"process {other['process']} of {other['host']}"
            hint = f"wait for its end; a run that was killed counts as ended after {STALE:.0f} seconds"
            raise UsageError(f"{self._store.address}: another run works on it, {where}", hint=hint)
        self.tell(facts)

    def tell(self, facts: Mapping[str, Any]) -> None:
        """Say how far this run is."""
        own = {"host": socket.gethostname(), "process": os.getpid(), "time": time.time()}
        self._store.write(_RUN, _encode({**facts, **own}))

    def run(self) -> dict[str, Any] | None:
        """What the last run said of itself."""
        content = self._store.read(_RUN)
        return None if content is None else _decode(content, self._store.address)


def begun_name(task: str) -> str:
    """Where it is noted how often the pages of a task were begun."""
    return f"{LEDGER}/begun/{task}.json"


def spreads_of(record: Mapping[str, Any]) -> list[Spread]:
    """The long documents that a task found."""
    return [
        Spread(record["task"], s["place"], record["block"], Item.of_plain(s["item"]), s["count"], s["joins"])
        for s in record.get("spread", ())
    ]


def _block(number: int) -> str:
    return f"{LEDGER}/plan/{number:06}.jsonl"


def is_alive(run: Mapping[str, Any]) -> bool:
    """Tell whether a run still works: of one on this machine that is known, others give signs of life."""
    if run["host"] == socket.gethostname():
        try:
            os.kill(run["process"], 0)
        except OSError:
            return False
        return bool(run["process"] != os.getpid())
    return bool(time.time() - run["time"] < STALE)


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
