"""The crew of a server: it takes tasks from the queue, lets them be done, and puts the results into the archive.

Worker processes never touch the database: what they read comes back to the thread that gave them the page, which
commits it with the end of the task. A database that is away is waited for, with the result in hand.
"""

import logging
import threading
import time
from collections.abc import Mapping
from typing import Self

from quillread.reader import Reader
from quillread.serve.archive.home import Archive
from quillread.serve.database.engine import is_away
from quillread.serve.jobs.claims import end_stranded, recover, renew, waiting_kinds
from quillread.serve.jobs.events import prune_events
from quillread.serve.jobs.exporting import prune_exports
from quillread.serve.jobs.metrics import Metrics
from quillread.serve.jobs.reading import ReaderMaker
from quillread.serve.jobs.single_files import SingleFileReader, worker_count
from quillread.serve.jobs.threads import RUNS, PageThread, RunThread, TaskThread
from quillread.serve.jobs.work_state import WorkState

log = logging.getLogger(__name__)

_TICK = 0.25
_HELD_SECONDS = 1.0
_RENEW_SECONDS = 8.0
_PRUNE_SECONDS = 3600.0
_REST_SECONDS = 60.0


class Crew:
    """Works on the queue of an archive; a context manager.

    Args:
        archive: With the queue.
        readers: Makes readers in worker processes.
        runs: Kind of job -> what does its tasks, of those that are not pages.
        is_apart: Whether pages are read in worker processes, rather than in this one.
    """

    def __init__(
        self,
        archive: Archive,
        *,
        readers: ReaderMaker = Reader,
        runs: Mapping[str, str] = RUNS,
        is_apart: bool = True,
    ) -> None:
        self.metrics = Metrics()
        self._archive = archive
        self._state = WorkState(archive, self.metrics)
        self.single_files = SingleFileReader(archive.config, readers)
        count = worker_count(archive.config)
        self._threads: list[TaskThread] = [PageThread(self._state, readers, is_apart=is_apart) for _ in range(count)]
        self._threads += [RunThread(self._state, kind, place) for kind, place in runs.items()]
        self._maintenance = threading.Thread(target=self._maintain, name="quillread-maintenance", daemon=True)

    @property
    def is_at_work(self) -> bool:
        """Whether all its threads run."""
        return all(thread.is_alive() for thread in (self._maintenance, *self._threads))

    def start(self) -> None:
        """Begin, with the tasks that a server has had that is dead."""
        if self._archive.database.is_sqlite:  # the lock on its folder says that there is no other server
            with self._archive.database.write() as session:
                recover(session, self._state.server, [], is_alone=True)
        for thread in (self._maintenance, *self._threads):
            thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Stop: tasks that are not done within some seconds are given back to the queue.

        Args:
            seconds: What each task in hand has to end.
        """
        self._state.stopping.set()
        self._state.wake(())
        self.single_files.close()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        late = time.monotonic() + seconds
        while any(thread.is_alive() for thread in self._threads) and time.monotonic() < late:
            self._state.end_all()
            time.sleep(0.05)
        self._maintenance.join(seconds)
        for thread in self._threads:
            if thread.is_alive():
                log.warning("a task of the kind %s does not stop; the next start gives it back", thread.kind)

    def work_off(self) -> int:
        """Do all tasks that wait, in this thread; tell how many there were. Not while it runs."""
        count = 0
        while any(thread.step() for thread in self._threads):
            count += 1
        return count

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _maintain(self) -> None:
        """Wake threads that wait, renew leases, and find tasks whose server is dead."""
        due = {self._wake: _TICK, self._state.find_lost: _HELD_SECONDS, self._recover: _RENEW_SECONDS}
        due |= {self._prune: _PRUNE_SECONDS, self.single_files.rest: _REST_SECONDS}
        last = dict.fromkeys(due, float("-inf"))
        while not self._state.stopping.wait(_TICK):
            for duty, seconds in due.items():
                if time.monotonic() - last[duty] < seconds:
                    continue
                last[duty] = time.monotonic()
                try:
                    duty()
                except Exception as error:  # whatever it is, the others have to go on
                    if not is_away(error):
                        log.exception("the queue cannot be kept")

    def _wake(self) -> None:
        kinds = self._state.idle_kinds()
        if kinds:
            with self._archive.database.read() as session:
                waiting = waiting_kinds(session, kinds)
            if waiting:
                self._state.wake(waiting)

    def _recover(self) -> None:
        with self._state.claiming:
            in_hand = self._state.in_hand()
            if in_hand:
                with self._archive.database.write() as session:
                    renew(session, self._state.server, in_hand)
            with self._archive.database.write() as session:
                recover(session, self._state.server, in_hand)
                end_stranded(session)

    def _prune(self) -> None:
        prune_events(self._archive.database)
        prune_exports(self._archive)
        self._archive.storage.drop_fetched()
