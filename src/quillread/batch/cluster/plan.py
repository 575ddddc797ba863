"""The plan of a batch: the inputs as they are listed, cut into tasks, on the store before one of them is read."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from quillread.batch.cluster.ledger import Ledger
from quillread.batch.cluster.scratch import Scratch
from quillread.batch.cluster.tasks import Item, Task
from quillread.errors import DataError

log = logging.getLogger(__name__)

_BLOCK = 1024
"""Inputs of a block of the plan; the first is smaller, so that reading starts at once."""
_FIRST_BLOCK = 64
_PATIENCE = 2.0
"""Seconds after which inputs that were found are planned although few were."""
_STOP_SECONDS = 2.0
_TOLD = 10
"""Inputs named twice that are told one by one."""


def task_size(place: int) -> int:
    """How many inputs a task has that begins with input number `place`, from 0.

    Tasks that are small at first give a few pages to each of several workers; later ones are larger, since each is a
    file of the data set.
    """
    if place < 64:
        return 2
    return 16 if place < 4096 else 64


class Seen:
    """Keys and stems of the inputs so far, on the disk: a set of ten million would take a gigabyte of memory."""

    def __init__(self) -> None:
        self._scratch = Scratch()
        self._base = sqlite3.connect(self._scratch.path / "seen.db", check_same_thread=False, isolation_level=None)
        for line in ("PRAGMA journal_mode=OFF", "PRAGMA synchronous=OFF", "PRAGMA cache_size=-16000"):
            self._base.execute(line)
        for name in ("keys", "stems"):
            self._base.execute(f"CREATE TABLE {name} (name BLOB PRIMARY KEY, count INTEGER) WITHOUT ROWID")

    def add(self, item: Item) -> bool:
        """Take an input; tell whether it is new."""
        self._base.execute("BEGIN") if not self._base.in_transaction else None
        return self._insert("keys", item.key)

    def own_stem(self, item: Item) -> Item:
        """The input with a stem that no other has, upper and lower case taken as equal."""
        stem, number = item.stem, 1
        while not self._insert("stems", stem.casefold().encode(errors="surrogateescape")):
            number = self._count(item.stem.casefold().encode(errors="surrogateescape"))
            stem = f"{item.stem}-{number}"
        return item if number == 1 else replace(item, stem=stem)

    def close(self) -> None:
        """Drop it."""
        self._base.close()
        self._scratch.close()

    def _insert(self, table: str, name: bytes) -> bool:
        done = self._base.execute(f"INSERT OR IGNORE INTO {table} VALUES (?, 1)", (name,))
        return done.rowcount == 1

    def _count(self, name: bytes) -> int:
        row = self._base.execute(
            "UPDATE stems SET count = count + 1 WHERE name = ? RETURNING count", (name,)
        ).fetchone()
        return int(row[0])


class Plan:
    """Lists inputs in a thread of its own, ahead of those who read, and gives the tasks of them.

    What an earlier run has planned comes first, as it was. The inputs are then listed once more, and those that are new
    are planned: an input that was added meanwhile is read, and none is read twice.

    Args:
        ledger: Of the target.
        items: Lists the inputs.

    Attributes:
        inputs: How many are planned so far.
        doubles: How many were named twice.
        is_whole: Whether all are planned.
    """

    def __init__(self, ledger: Ledger, items: Callable[[], Iterator[Item]]) -> None:
        self._ledger = ledger
        self._items = items
        self._seen = Seen()
        self._blocks = self.inputs = self.doubles = 0
        self.is_whole = False
        self._error: Exception | None = None
        self._news = threading.Condition()
        self._stopped = threading.Event()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to list; wait until there is something to read.

        Raises:
            QuillreadError: If nothing can be listed.
        """
        self._thread = threading.Thread(target=self._work, name="quillread-plan", daemon=True)
        self._thread.start()
        with self._news:
            self._news.wait_for(lambda: self._blocks or self.is_whole)
        if not self._blocks and self._error is not None:
            raise self._error

    def tasks(self) -> Iterator[Task | None]:
        """The tasks, in order, each with its name and block; None where the next one is not planned yet.

        Raises:
            QuillreadError: At the end, if the inputs could not be listed to their end.
            DataError: If a part of the plan is gone.
        """
        number = 0
        while True:
            with self._news:
                known, ended = self._blocks, self.is_whole
            if number < known:
                tasks = self._ledger.block(number)
                if tasks is None:
                    raise DataError(f"block {number} of the plan is gone", hint="put it back, or begin another target")
                yield from tasks
                number += 1
            elif ended:
                break
            else:
                self._wanted.set()
                yield None
        if self._error is not None:
            raise self._error

    def go_on(self) -> None:
        """List what comes after the first block, which waits for this or until those tasks are taken.

        Listing is busy in this process, and would slow down the start of the workers.
        """
        self._wanted.set()

    def close(self) -> None:
        """Stop to list."""
        self._stopped.set()
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)  # longer than that, it waits for a store, and writes nothing any more
        self._seen.close()

    def _work(self) -> None:
        try:
            self._take_planned()
            self._extend()
            if not self._stopped.is_set():
                self._ledger.end_plan({"inputs": self.inputs, "doubles": self.doubles})
        except Exception as error:  # raised where the tasks are taken
            self._error = error
        with self._news:
            self.is_whole = True
            self._news.notify_all()

    def _take_planned(self) -> None:
        while (tasks := self._ledger.block(self._blocks)) is not None:
            for item in (item for task in tasks for item in task.items):
                self._seen.add(item)
                self._seen.own_stem(item)
                self.inputs += 1
            self._tell_block()

    def _extend(self) -> None:
        """Plan the inputs that are not yet in the plan."""
        planned = self.inputs
        waiting: list[Item] = []
        last, again = time.monotonic(), 0
        try:
            for item in self._items():
                if self._stopped.is_set():
                    return
                if not self._seen.add(item):
                    again += 1
                    self._tell_double(item, again - planned)
                    continue
                waiting.append(self._seen.own_stem(item))
                enough = _BLOCK if self._blocks else _FIRST_BLOCK
                if len(waiting) >= enough or time.monotonic() - last > _PATIENCE:
                    self._write(waiting)
                    waiting, last = [], time.monotonic()
        finally:  # what was found before it failed is read
            if waiting and not self._stopped.is_set():
                self._write(waiting)
            self.doubles = max(again - planned, 0)

    def _write(self, items: list[Item]) -> None:
        tasks: list[Task] = []
        place = 0
        while place < len(items):
            size = task_size(self.inputs + place)
            name = f"{self._blocks:06}-{len(tasks):04}"
            tasks.append(Task(name, self._blocks, tuple(items[place : place + size])))
            place += size
        self._ledger.add_block(self._blocks, tasks)
        self.inputs += len(items)
        self._tell_block()
        self._wanted.wait()

    def _tell_block(self) -> None:
        with self._news:
            self._blocks += 1
            self._news.notify_all()

    def _tell_double(self, item: Item, number: int) -> None:
        # Of a run that goes on, inputs that were planned before are met once more: then it cannot be told which are.
        if self.inputs and 0 < number <= _TOLD:
            log.warning("%s: is named twice, and read once", item.name)
