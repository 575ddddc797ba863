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
from quillread.serve.jobs.desk import Desk, worker_count
from quillread.serve.jobs.events import prune_events
from quillread.serve.jobs.exporting import prune_exports
from quillread.serve.jobs.lanes import RUNS, Lane, PageLane, RunLane
from quillread.serve.jobs.meter import Meter
from quillread.serve.jobs.reading import ReaderMaker
from quillread.serve.jobs.shift import Shift

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
        self.meter = Meter()
        self._archive = archive
        self._shift = Shift(archive, self.meter)
        self.desk = Desk(archive.config, readers)
        count = worker_count(archive.config)
        self._lanes: list[Lane] = [PageLane(self._shift, readers, is_apart=is_apart) for _ in range(count)]
        self._lanes += [RunLane(self._shift, kind, place) for kind, place in runs.items()]
        self._clerk = threading.Thread(target=self._keep_books, name="quillread-clerk", daemon=True)

    @property
    def is_at_work(self) -> bool:
        """Whether all its threads run."""
        return all(thread.is_alive() for thread in (self._clerk, *self._lanes))

    def start(self) -> None:
        """Begin, with the tasks that a server has had that is dead."""
        if self._archive.database.is_sqlite:  # the lock on its folder says that there is no other server
            with self._archive.database.write() as session:
                recover(session, self._shift.server, [], is_alone=True)
        for thread in (self._clerk, *self._lanes):
            thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Stop: tasks that are not done within some seconds are given back to the queue.

        Args:
            seconds: What each task in hand has to end.
        """
        self._shift.stopping.set()
        self._shift.wake(())
        self.desk.close()
        end = time.monotonic() + seconds
        for lane in self._lanes:
            lane.join(max(0.0, end - time.monotonic()))
        late = time.monotonic() + seconds
        while any(lane.is_alive() for lane in self._lanes) and time.monotonic() < late:
            self._shift.end_all()
            time.sleep(0.05)
        self._clerk.join(seconds)
        for lane in self._lanes:
            if lane.is_alive():
                log.warning("a task of the kind %s does not stop; the next start gives it back", lane.kind)

    def work_off(self) -> int:
        """Do all tasks that wait, in this thread; tell how many there were. Not while it runs."""
        count = 0
        while any(lane.step() for lane in self._lanes):
            count += 1
        return count

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.stop()

    def _keep_books(self) -> None:
        """Wake threads that wait, renew leases, and find tasks whose server is dead."""
        due = {self._wake: _TICK, self._shift.find_lost: _HELD_SECONDS, self._recover: _RENEW_SECONDS}
        due |= {self._prune: _PRUNE_SECONDS, self.desk.rest: _REST_SECONDS}
        last = dict.fromkeys(due, float("-inf"))
        while not self._shift.stopping.wait(_TICK):
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
        kinds = self._shift.idle_kinds()
        if kinds:
            with self._archive.database.read() as session:
                waiting = waiting_kinds(session, kinds)
            if waiting:
                self._shift.wake(waiting)

    def _recover(self) -> None:
        with self._shift.claiming:
            in_hand = self._shift.in_hand()
            if in_hand:
                with self._archive.database.write() as session:
                    renew(session, self._shift.server, in_hand)
            with self._archive.database.write() as session:
                recover(session, self._shift.server, in_hand)
                end_stranded(session)

    def _prune(self) -> None:
        prune_events(self._archive.database)
        prune_exports(self._archive)
