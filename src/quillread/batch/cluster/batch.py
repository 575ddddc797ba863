"""A batch: tasks go from the plan to the workers, and what became of them into the ledger."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from quillread.batch.cluster.ledger import Ledger, spreads_of
from quillread.batch.cluster.plan import Plan
from quillread.batch.cluster.pool import Done, Pool
from quillread.batch.cluster.progress import Progress
from quillread.batch.cluster.tasks import Spread, Task
from quillread.errors import WorkerError

_COMMIT_SECONDS = 1.0
_TELL_SECONDS = 5.0
_WAIT_SECONDS = 0.5
_PAUSE_SECONDS = 0.02
_MOST_LOSSES = 100
"""Workers that may be lost with one task, which parks pages that kill them long before."""


class Batch:
    """Has the tasks of a plan done.

    Args:
        ledger: Of the target.
        plan: Of the inputs; it has not been started.
        retry_failed: Whether pages that failed in earlier runs are read again.

    Attributes:
        listeners: Told now and then how far it is.
    """

    def __init__(self, ledger: Ledger, plan: Plan, *, retry_failed: bool = False) -> None:
        self._ledger = ledger
        self._plan = plan
        self._retry = retry_failed
        self.listeners: list[Callable[[Progress], None]] = []
        self._done: set[str] = set()
        """Names of tasks that are done."""
        self._failed: dict[str, Mapping[str, Any]] = {}
        """Records of those with pages that failed, where such are read again."""
        self._lost: Counter[str] = Counter()
        self._tasks = self._planned()
        self._waiting: deque[Task] = deque()
        """Tasks that come before those of the plan."""
        self._scheduled: set[str] = set()
        """Names of those of long documents that this run has begun or will begin."""
        self._upcoming: Task | None = None
        self._ended = False
        """Whether the plan has no more."""
        self._error: Exception | None = None
        """Why the inputs could not be listed to their end."""
        self._flying = 0
        self._records: list[Mapping[str, Any]] = []
        """Of tasks that are done, and not yet in the ledger."""
        self._joins: dict[str, tuple[Task, set[str]]] = {}
        """By their names, the tasks that write the files of long documents, and which tasks come before them."""
        self._start = self._committed = self._told = self._ticked = time.monotonic()
        self.progress = Progress()

    def load(self) -> None:
        """Take up what earlier runs have done."""
        spreads: dict[str, list[Spread]] = {}
        for record in self._ledger.records():
            if self._count(record) and (record.get("faults") or record.get("unwritten")):
                self._failed[record["task"]] = record
            if record.get("spread"):
                spreads[record["task"]] = spreads_of(record)
        self._ledger.merge()
        self.progress.earlier = self.progress.pages
        if not self._retry:
            self._failed.clear()  # of a source of dead addresses these are all
        for found in spreads.values():
            self._schedule(found)

    def run(self, pool: Pool) -> None:
        """Do all tasks; what is done when this ends by an error is in the ledger.

        Raises:
            QuillreadError: If the inputs cannot be listed to their end, or workers cannot work.
        """
        self._start = self._ticked = time.monotonic()
        try:
            while self._flying or self._next() is not None or not self._ended:
                while (task := self._next()) is not None and pool.has_room():
                    pool.give(task)
                    self._upcoming = None
                    self._flying += 1
                if self._ended and self._next() is None:
                    pool.rest()
                for done in pool.take(_WAIT_SECONDS):
                    self._settle(done)
                self._tick(pool)
                if not self._flying:
                    self._commit()  # what follows from it may be all that there is left to do
                    if self._next() is None:
                        time.sleep(_PAUSE_SECONDS)
        except BaseException:  # Ctrl-C above all: what is ready by now need not be read again
            with suppress(Exception):
                self._records += [done.record for done in pool.take(0) if done.record is not None]
            raise
        finally:
            self._commit()
            self._tick(pool, ended=True)
        if self._error is not None:
            raise self._error

    def _next(self) -> Task | None:
        """The next task, which stays that until it is given; None if there is none for now."""
        if self._upcoming is None:
            self._upcoming = self._waiting.popleft() if self._waiting else self._next_planned()
        return self._upcoming

    def _next_planned(self) -> Task | None:
        try:
            return next(self._tasks)
        except StopIteration:
            self._ended = True
        except Exception as error:  # raised when all that was listed is read
            self._error, self._ended = error, True
        return None

    def _planned(self) -> Iterator[Task | None]:
        """Tasks of the plan that are not done; None where the next one is not planned yet."""
        for task in self._plan.tasks():
            if task is None or task.name not in self._done:
                yield task
            elif self._retry and task.name in self._failed:
                yield self._again(task)
            else:
                self._done.discard(task.name)

    def _again(self, task: Task) -> Task:
        return replace(task, again=True, rewrites=tuple(self._failed[task.name].get("rewrites", ())))

    def _settle(self, done: Done) -> None:
        self._flying -= 1
        self._plan.go_on()
        if done.record is not None:
            self._records.append(done.record)
            if time.monotonic() - self._committed > _COMMIT_SECONDS:
                self._commit()
            return
        task = done.task
        if done.why:
            self._lost[task.name] += 1
            if self._lost[task.name] > _MOST_LOSSES:
                where = f"the task {task.name} ({task.items[0].name})"
                raise WorkerError(f"{where}: {_MOST_LOSSES} workers were lost with it: {done.why}")
            task = replace(task, careful=True)
        self._waiting.appendleft(task)

    def _commit(self) -> None:
        """Enter what is done in the ledger; only then may what follows from it begin."""
        self._committed = time.monotonic()
        records, self._records = self._records, []
        if not records:
            return
        self._ledger.commit(records)
        for record in records:
            self._count(record)
            self._schedule(spreads_of(record))
            self._finish(record)

    def _count(self, record: Mapping[str, Any]) -> bool:
        """Count a record, in place of that of an earlier run; tell whether it counts."""
        name = record["task"]
        before = self._failed.pop(name, None)
        if before is not None:
            self.progress.take(before, -1)
        # Files may have been joined twice, of which the first time counts for nothing.
        elif name in self._done and (record["rows"] or record["inputs"]):
            return False  # the same record once more, of a ledger whose files were being merged
        self._done.add(name)
        self.progress.take(record)
        return True

    def _schedule(self, spreads: list[Spread]) -> None:
        """Have the pages of long documents read that are not read yet."""
        for spread in spreads:
            tasks = [task for task in spread.tasks() if task.name not in self._scheduled]
            missing = [task for task in tasks if task.name not in self._done]
            chosen = missing + [self._again(task) for task in tasks if self._retry and task.name in self._failed]
            self._scheduled |= {task.name for task in chosen}
            self.progress.spread_left += sum(stop - first for first, stop in (task.pages or (0, 0) for task in chosen))
            self._waiting += chosen
            joining = spread.joining()
            if not spread.joins or joining.name in self._scheduled:
                continue
            if chosen:
                self._scheduled.add(joining.name)
                self._joins[joining.name] = (joining, {task.name for task in chosen})
            elif joining.name not in self._done or joining.name in self._failed:
                self._scheduled.add(joining.name)
                self._waiting.append(joining)

    def _finish(self, record: Mapping[str, Any]) -> None:
        """Have the files of a long document written when the last of its pages is read."""
        name = record["task"]
        parent, _, last = name.rpartition("-")
        if name.count("-") > 1 and last != "files":
            self.progress.spread_left = max(self.progress.spread_left - record["rows"], 0)
        found = self._joins.get(f"{parent}-files")
        if found is not None:
            found[1].discard(name)
            if not found[1]:
                self._waiting.append(self._joins.pop(f"{parent}-files")[0])

    def _tick(self, pool: Pool, *, ended: bool = False) -> None:
        now, progress = time.monotonic(), self.progress
        progress.workers = pool.workers()
        progress.worker_seconds += progress.workers * (now - self._ticked)
        progress.seconds, self._ticked = now - self._start, now
        progress.planned, progress.doubles = self._plan.inputs, self._plan.doubles
        progress.is_whole = self._plan.is_whole
        if now - self._committed > _COMMIT_SECONDS:
            self._commit()
        for tell in self.listeners:
            tell(progress)
        if ended or now - self._told > _TELL_SECONDS:
            self._told = now
            self._ledger.tell({**progress.plain(), "ended": ended})
