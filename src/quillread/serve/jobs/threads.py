"""The threads of a crew: each takes a task at a time, lets it be done, and commits what comes of it."""

import importlib
import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol, cast

from sqlalchemy.orm import Session

from quillread.errors import Fault, WorkerError
from quillread.pages.deliver import explain
from quillread.processes import Limits, Worker
from quillread.serve.archive.home import Archive
from quillread.serve.database.engine import is_away
from quillread.serve.jobs import claims
from quillread.serve.jobs.claims import Claim
from quillread.serve.jobs.pages import find_task, store_result
from quillread.serve.jobs.queue import settle_pages
from quillread.serve.jobs.reading import PageReaders, PageResult, PageTask, ReaderMaker, read_page, start_readers
from quillread.serve.jobs.work_state import Change, Hold, WorkState

log = logging.getLogger(__name__)

RUNS = {
    "import": "quillread.serve.jobs.importing:run_import",
    "export": "quillread.serve.jobs.exporting:run_export",
    "train": "quillread.serve.jobs.training:train",
}
"""Kind of job -> `Run`, resolved late, of those whose tasks are not pages."""

_LASTING = frozenset({"usage", "config", "model", "extra", "input", "image", "data"})
"""Kinds of faults that a second try would meet again."""
_PAGE_SECONDS = 3600.0
_KEPT_SECONDS = 600.0
_MOST_BEGUN = 20
"""Attempts after which a task is parked that finds the database away each time."""


class StoppedError(Exception):
    """The server ends, or the task was cancelled: whoever works on it stops."""


class Run(Protocol):
    """Does a task that is not about a page. It may be begun again after it was cut off anywhere."""

    def __call__(
        self,
        archive: Archive,
        claim: Claim,
        told: Callable[[Mapping[str, Any]], None],
        cancelled: Callable[[], bool],
    ) -> Mapping[str, Any] | None:
        """Do it.

        Args:
            archive: What it is about.
            claim: Of the task: its payload and the options of its job.
            told: Called with how far it is, plain data, now and then.
            cancelled: Asked now and then whether to stop: the job was cancelled, or the server ends.

        Returns:
            The result of the job, plain data; whatever it is if it was stopped.
        """


class TaskThread(threading.Thread):
    """Works on tasks of one kind, one at a time.

    Args:
        state: Of the crew.
        kind: Of job.
    """

    def __init__(self, state: WorkState, kind: str) -> None:
        super().__init__(name=f"quillread-{kind}", daemon=True)
        self.kind = kind
        self._state = state

    def run(self) -> None:
        """Work until the crew stops."""
        while not self._state.stopping.is_set():
            try:
                if not self.step():
                    self._state.idle(self.kind)
                    self._rest()
            except Exception:
                log.exception("a task could neither be done nor be given back; it is tried again later")
                self._state.stopping.wait(1.0)
        self.close()

    def step(self) -> bool:
        """Do the next task; tell whether there was one."""
        hold = self._state.take(self.kind)
        if hold is None:
            return False
        claim = hold.claim
        try:
            self._state.commit(self._work(hold))
        except StoppedError:
            self._state.commit(lambda session: claims.release(session, claim))
        except Exception as error:
            self._state.commit(self._ending_of(error, claim))
        finally:
            self._state.drop(hold)
        return True

    @abstractmethod
    def _work(self, hold: Hold) -> Change:
        """Do a task outside any transaction, and return what is to be committed."""

    def _rest(self) -> None:
        """There was nothing to do for a while."""

    def close(self) -> None:
        """Let go of processes."""

    def _ending_of(self, error: Exception, claim: Claim) -> Change:
        if is_away(error) and claim.attempt < _MOST_BEGUN:
            return lambda session: claims.release(session, claim, at_once=False)
        where = f"page {claim.page_id}" if claim.page_id else f"{claim.kind} {claim.job_id}"
        fault = explain(error, where)
        if fault.kind == "internal":
            log.error("%s: internal error", where, exc_info=error)
        return _failing(claim, fault)


class PageThread(TaskThread):
    """Reads pages, in a worker process of its own.

    Args:
        state: Of the crew.
        readers: Makes readers in the process.
        is_apart: Whether there is a process, rather than to read in this one.
    """

    def __init__(self, state: WorkState, readers: ReaderMaker, *, is_apart: bool = True) -> None:
        super().__init__(state, "read")
        limits = state.archive.config.limits
        self._here = None if is_apart else PageReaders(readers)
        self._worker: Worker[PageTask, PageResult] = Worker(
            partial(start_readers, readers),
            read_page,
            limits=Limits(limits.worker_memory, _PAGE_SECONDS, limits.recycle_pages),
            threads=1,
        )
        self._pid: int | None = None
        self._used = time.monotonic()

    def _work(self, hold: Hold) -> Change:
        archive, claim = self._state.archive, hold.claim
        with archive.database.read() as session:
            task = find_task(archive, session, claim)
        if task is None:
            return partial(_end_without, claim=claim)
        begun = time.monotonic()
        result = self._read(task, hold)
        self._state.metrics.page_seconds.observe(time.monotonic() - begun)
        fault = result.page.fault
        self._state.metrics.pages.labels("read" if fault is None else "failed").inc()
        if fault is not None:
            return _failing(claim, fault)
        return partial(_end_read, claim=claim, task=task, result=result, tells=self._state.may_tell(claim.job_id))

    def _read(self, task: PageTask, hold: Hold) -> PageResult:
        if self._here is not None:
            return read_page(self._here, task)
        self._used = time.monotonic()
        if self._state.stopping.is_set():
            raise StoppedError
        hold.end = self._worker.kill
        try:
            self._worker.submit(task)
            self._note_process()  # it may not live to the end of its first page
            outcome = self._worker.result()
        finally:
            hold.end = lambda: None
            self._note_process()
        if isinstance(outcome.error, WorkerError) and (self._state.stopping.is_set() or hold.lost.is_set()):
            raise StoppedError
        outcome.log()
        return outcome.result()

    def _note_process(self) -> None:
        pid = self._worker.pid
        if pid is not None and pid != self._pid:
            self._state.metrics.worker_starts.inc()
            self._pid = pid

    def _rest(self) -> None:
        if time.monotonic() - self._used > _KEPT_SECONDS and self._worker.pid is not None:
            self._worker.close()  # its models need memory

    def close(self) -> None:
        """End the process."""
        self._worker.close()
        if self._here is not None:
            self._here.close()


class RunThread(TaskThread):
    """Does tasks that are not pages, in this process.

    Args:
        state: Of the crew.
        kind: Of job.
        place: Of its `Run`, "module:attribute".
    """

    def __init__(self, state: WorkState, kind: str, place: str) -> None:
        super().__init__(state, kind)
        self._place = place

    def _work(self, hold: Hold) -> Change:
        module, _, name = self._place.partition(":")
        run = cast(Run, getattr(importlib.import_module(module), name))
        state = self._state

        def cancelled() -> bool:
            return hold.lost.is_set() or state.stopping.is_set()

        result = run(state.archive, hold.claim, _Progress(state, hold.claim), cancelled)
        if cancelled() and result is None:
            raise StoppedError
        return lambda session: claims.finish(session, hold.claim, result)


class _Progress:
    """Notes how far a long task is; what comes too fast is skipped, unless it comes but once."""

    def __init__(self, state: WorkState, claim: Claim) -> None:
        self._state = state
        self._claim = claim

    def __call__(self, facts: Mapping[str, Any]) -> None:
        """Note it."""
        if facts.get("measuring") or self._state.may_tell(self._claim.job_id):
            try:
                with self._state.archive.database.write() as session:
                    claims.note_progress(session, self._claim, facts)
            except Exception as error:
                if not is_away(error):
                    raise


def _failing(claim: Claim, fault: Fault) -> Change:
    return lambda session: claims.fail(session, claim, fault, may_retry=fault.kind not in _LASTING)


def _end_read(session: Session, claim: Claim, task: PageTask, result: PageResult, *, tells: bool) -> None:
    if claims.holds(session, claim):
        store_result(session, claim, task, result)
        claims.finish(session, claim, tells=tells)


def _end_without(session: Session, claim: Claim) -> None:
    if claims.finish(session, claim) and claim.page_id is not None:
        settle_pages(session, [claim.page_id])
