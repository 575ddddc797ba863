"""What the threads of a crew share while it works: the queue, the tasks in hand, and how results are committed."""

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from quillread.serve.archive.home import Archive
from quillread.serve.database.engine import is_away
from quillread.serve.jobs.claims import Claim, claim, held_by
from quillread.serve.jobs.metrics import Metrics

log = logging.getLogger(__name__)

_AWAY_SECONDS = 1.0
_TOLD_SECONDS = 0.5
_IDLE_SECONDS = 2.0
_PATIENCE = 10.0

Change = Callable[[Session], object]
"""What is to be committed."""


@dataclass(eq=False)
class Hold:
    """A task in hand."""

    claim: Claim
    end: Callable[[], None] = lambda: None
    """Ends the work on it at once, from any thread."""
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when it no longer counts: it was cancelled, or given to another server."""
    lost_at: float = 0.0


class WorkState:
    """Shared by the threads of a crew.

    Args:
        archive: What they work for.
        metrics: Counts what they do.
    """

    def __init__(self, archive: Archive, metrics: Metrics) -> None:
        self.archive = archive
        self.metrics = metrics
        self.server = f"{socket.gethostname()[:30]}-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        self.stopping = threading.Event()
        self.claiming = threading.Lock()
        """Held while a task is claimed and until it is in hand."""
        self._holds: dict[tuple[int, int], Hold] = {}
        self._lock = threading.Condition()
        self._idle: dict[str, int] = {}
        self._due: set[str] = set()
        self._told: dict[int, float] = {}

    def take(self, kind: str) -> Hold | None:
        """Take a task of a kind; None if there is none, or the database is away."""
        try:
            with self.claiming:
                with self.archive.database.write() as session:
                    found = claim(session, kind, self.server)
                if found is None:
                    return None
                hold = Hold(found)
                with self._lock:
                    self._holds[found.id, found.attempt] = hold
                return hold
        except Exception as error:
            if not is_away(error):
                raise
            log.warning("the database cannot be reached: %s", error)
        self.stopping.wait(_AWAY_SECONDS)
        return None

    def drop(self, hold: Hold) -> None:
        """Let go of a task that has ended here."""
        with self._lock:
            self._holds.pop((hold.claim.id, hold.claim.attempt), None)

    def commit(self, change: Change) -> bool:
        """Commit a change, however long the database is away; it is made again as a whole if it failed.

        Returns:
            Whether it was committed; not if the server ends while the database is away.

        Raises:
            Exception: What the change raises.
        """
        is_told = False
        while True:
            try:
                with self.archive.database.write() as session:
                    change(session)
                return True
            except Exception as error:
                if not is_away(error):
                    raise
                if not is_told:
                    log.warning("the database cannot be reached, and a result waits for it: %s", error)
                is_told = True
            if self.stopping.wait(_AWAY_SECONDS):
                return False

    def in_hand(self) -> list[int]:
        """Ids of the tasks in hand."""
        with self._lock:
            return [id for id, _ in self._holds]

    def find_lost(self) -> None:
        """Look which tasks in hand no longer count, and end the work on those that goes on for long."""
        with self._lock:
            before = dict(self._holds)
        if not before:
            return
        with self.archive.database.read() as session:
            held = held_by(session, self.server)
        for key, hold in before.items():
            if key not in held and not hold.lost.is_set():
                hold.lost_at = time.monotonic()
                hold.lost.set()
            if hold.lost.is_set() and time.monotonic() - hold.lost_at > _PATIENCE:
                hold.end()

    def end_all(self) -> None:
        """End the work on all tasks in hand at once."""
        with self._lock:
            holds = list(self._holds.values())
        for hold in holds:
            hold.end()

    def idle(self, kind: str) -> None:
        """Wait until there is a task of a kind, or a while."""
        with self._lock:
            self._idle[kind] = self._idle.get(kind, 0) + 1
            self._lock.wait_for(lambda: kind in self._due or self.stopping.is_set(), _IDLE_SECONDS)
            self._due.discard(kind)
            self._idle[kind] -= 1

    def idle_kinds(self) -> set[str]:
        """Kinds that a thread waits for."""
        with self._lock:
            return {kind for kind, count in self._idle.items() if count}

    def wake(self, kinds: Collection[str]) -> None:
        """Wake a thread for each of some kinds, or all if the server ends."""
        with self._lock:
            self._due |= set(kinds)
            self._lock.notify_all()

    def may_tell(self, job_id: int) -> bool:
        """Whether watchers may be told of the progress of a job again."""
        with self._lock:
            time_now = time.monotonic()
            if time_now - self._told.get(job_id, -_TOLD_SECONDS) < _TOLD_SECONDS:
                return False
            if len(self._told) > 1000:
                self._told.clear()
            self._told[job_id] = time_now
            return True
