"""Events for those who watch: one thread a server reads new ones from the database, and hands them out.

PostgreSQL gives out the ids of events in one order and commits them in another, so a smaller id may come after a
larger one. Ids that are missing are waited for, and watchers are told with each event up to which id they know all:
whoever resumes from there may hear of something twice, but misses nothing.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor
from quillread.serve.database.engine import Database, is_away
from quillread.serve.database.schema import Event, Job
from quillread.serve.faults import LoginNeededError

log = logging.getLogger(__name__)

_TICK = 0.3
_CHECK_SECONDS = 2.0
"""How often it is asked whether those who watch still may."""
_AT_ONCE = 2_000
_KEPT = 100_000
_QUEUED = 1_000
_LOOKED_BACK = 200
_MISSING_SECONDS = 60.0
"""After so long an id that is missing is one of a change that was undone."""


class Told(NamedTuple):
    """An event as watchers get it."""

    id: int
    """Up to which all events are known."""
    kind: str
    data: dict[str, Any]


class _Row(NamedTuple):
    id: int
    kind: str
    collection_id: int | None
    data: dict[str, Any]


FindActor = Callable[[Session, Actor], Actor]


class Watcher:
    """Someone who watches, in an event loop.

    Args:
        actor: Who watches.
        collection_id: The only collection that they want to hear of.
        find: Tells who they are by now, from who they were; without it they stay who they are.
    """

    def __init__(self, actor: Actor, collection_id: int | None, find: FindActor | None = None) -> None:
        self.actor = actor
        self.collection_id = collection_id
        self._find = find
        self.is_dropped = False
        """Whether more events came than they took, or they may watch no longer."""
        self.known: set[int] = set()
        """Ids of events that came before."""
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Told | None] = asyncio.Queue(_QUEUED)

    async def next(self, seconds: float) -> Told | None:
        """The next event; None if none comes within some seconds, or the watcher was dropped."""
        try:
            async with asyncio.timeout(seconds):
                return await self._queue.get()
        except TimeoutError:
            return None

    def push(self, told: Sequence[Told]) -> None:
        """Hand over events, from any thread."""
        try:
            self._loop.call_soon_threadsafe(self._put, told)
        except RuntimeError:  # the loop is closed
            self.is_dropped = True

    def check(self, session: Session) -> None:
        """Drop it if its login, token or link has ended; else it has the role of now."""
        try:
            self.actor = self._find(session, self.actor) if self._find else self.actor
        except LoginNeededError:
            self.is_dropped = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self._queue.full():
            self._queue.put_nowait(None)

    def _put(self, told: Sequence[Told]) -> None:
        for event in told:
            if self._queue.full():
                self.is_dropped = True
                return
            self._queue.put_nowait(event)


class Feed:
    """Reads new events from a database and hands them to watchers.

    Args:
        database: With the events.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._watchers: set[Watcher] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="quillread-events", daemon=True)
        self._top = 0
        """The largest id seen."""
        self._checked = time.monotonic()
        """When it was asked last whether those who watch still may."""
        self._missing: dict[int, float] = {}
        """Smaller ids that were not seen, and when they were missed."""

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; watchers hear nothing any more."""
        self._stopping.set()
        self._thread.join()

    def __len__(self) -> int:
        """Count the watchers."""
        return len(self._watchers)

    def watch(self, watcher: Watcher, after: int | None = None) -> list[Told]:
        """Begin to hand events to a watcher.

        Args:
            watcher: Who is new.
            after: Id up to which they know all events.

        Returns:
            What they get first: `ready`, and the events after that id; `reset` if those are no longer known.
        """
        with self._lock, self._database.read() as session:
            if not self._watchers:
                self._begin(session)
            rows = [] if after is None else self._after(session, after)
            told = [Told(self._floor, "reset" if rows is None else "ready", {})]
            if rows:
                told = [Told(min(after or 0, self._floor), "ready", {})]
                told += [Told(min(row.id, self._floor), row.kind, row.data) for row in _visible(session, watcher, rows)]
                watcher.known = {row.id for row in rows}
            self._watchers.add(watcher)
        return told

    def leave(self, watcher: Watcher) -> None:
        """Hand a watcher nothing any more.

        It is called in the event loop, and takes no lock: whoever has it may wait for a database that is away.
        """
        self._watchers.discard(watcher)

    def poll(self) -> None:
        """Hand out what is new."""
        with self._lock:
            if not self._watchers:
                return
            with self._database.read() as session:
                rows = self._read_new(session)
                self._check(session)
                for watcher in [*self._watchers] if rows else ():
                    fresh = [row for row in rows if row.id not in watcher.known]
                    watcher.push([Told(self._floor, row.kind, row.data) for row in _visible(session, watcher, fresh)])
            for watcher in [*self._watchers]:
                if watcher.is_dropped:
                    self._watchers.discard(watcher)

    def _check(self, session: Session) -> None:
        if time.monotonic() < self._checked + _CHECK_SECONDS:
            return
        for watcher in [*self._watchers]:
            watcher.check(session)
        self._checked = time.monotonic()

    def _run(self) -> None:
        while not self._stopping.wait(_TICK):
            try:
                self.poll()
            except Exception as error:  # whatever it is, later events have to come
                if not is_away(error):
                    log.exception("events cannot be handed out")

    @property
    def _floor(self) -> int:
        """Up to here all events were handed out."""
        return min(self._missing, default=self._top + 1) - 1

    def _begin(self, session: Session) -> None:
        self._top, self._missing = session.scalars(select(func.coalesce(func.max(Event.id), 0))).one(), {}
        if not self._database.is_sqlite:
            first = max(0, self._top - _LOOKED_BACK)
            there = set(session.scalars(select(Event.id).where(Event.id > first)))
            self._miss(set(range(first + 1, self._top + 1)) - there)

    def _read_new(self, session: Session) -> list[_Row]:
        """Events that were not seen, in the order of their ids."""
        wanted = Event.id > self._top
        if self._missing:
            wanted = or_(wanted, Event.id.in_(self._missing))
        rows = _read(session, wanted)
        if rows and rows[-1].id > self._top and not self._database.is_sqlite:
            first = max(self._top, rows[-1].id - _AT_ONCE)
            self._miss(set(range(first + 1, rows[-1].id)) - {row.id for row in rows})
        self._top = max(self._top, rows[-1].id) if rows else self._top
        seen, oldest = {row.id for row in rows}, time.monotonic() - _MISSING_SECONDS
        self._missing = {id: since for id, since in self._missing.items() if id not in seen and since > oldest}
        return rows

    def _miss(self, ids: set[int]) -> None:
        self._missing.update(dict.fromkeys(ids, time.monotonic()))

    def _after(self, session: Session, after: int) -> list[_Row] | None:
        """Events after an id, of those that were handed out; None if they are not all there any more."""
        first, last = session.execute(select(func.min(Event.id), func.max(Event.id))).one()
        if after > (last or 0) or (first is not None and after < first - 1 and first > 1):
            return None
        rows = _read(session, Event.id > after)
        return [row for row in rows if row.id <= self._top] if len(rows) < _AT_ONCE else None


def prune_events(database: Database) -> None:
    """Delete events that are old by their number, a part at a time; clocks jump."""
    while True:
        with database.write() as session:
            first, last = session.execute(select(func.min(Event.id), func.max(Event.id))).one()
            if first is None or last - first < _KEPT:
                return
            end = min(last - _KEPT, first + _AT_ONCE)
            session.execute(delete(Event).where(Event.id <= end))


def _read(session: Session, wanted: Any) -> list[_Row]:
    columns = select(Event.id, Event.kind, Event.collection_id, Event.data)
    return [_Row(*row) for row in session.execute(columns.where(wanted).order_by(Event.id).limit(_AT_ONCE))]


def _visible(session: Session, watcher: Watcher, rows: Sequence[_Row]) -> list[_Row]:
    """Those of some events that a watcher wants and may know of."""
    ids = {row.collection_id for row in rows if row.collection_id is not None}
    if watcher.collection_id is not None:
        ids &= {watcher.collection_id}
    mine: set[int | None] = {id for id in ids if watcher.actor.role_in(session, id) != "none"}
    if watcher.actor.collection_id is None:
        mine.add(None)  # what is of no collection is for all who are not bound to one
    hidden = _jobs_of_others(session, watcher.actor, rows) if watcher.actor.is_link else set()
    return [row for row in rows if row.collection_id in mine and row.data.get("job") not in hidden]


def _jobs_of_others(session: Session, link: Actor, rows: Sequence[_Row]) -> set[int]:
    """Jobs that some events are of, and that whoever has opened a link did not begin: they see no others."""
    told = {row.data["job"] for row in rows if "job" in row.data}
    chosen = select(Job.id).where(Job.id.in_(told), Job.token_id == link.token_id)
    return told - set(session.scalars(chosen))
