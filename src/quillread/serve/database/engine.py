"""Opening the database: SQLite in WAL mode, or PostgreSQL."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session, sessionmaker

from quillread.errors import ConfigError, InputError
from quillread.serve.config import ServeLimits
from quillread.serve.faults import FullError, NotReadyError, RequestError

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql, sqlite

_BUSY_SECONDS = 30


class Database:
    """Gives sessions. Threads share it; each session belongs to one thread.

    Args:
        address: `sqlite:///PATH` or `postgresql://...`.
        limits: How much the server takes on; sessions have them as `info["limits"]`.

    Raises:
        ConfigError: If the address is of another kind.
    """

    def __init__(self, address: str | URL, limits: ServeLimits | None = None) -> None:
        self.engine = _make_engine(address)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        self._turn = threading.Lock() if self.is_sqlite else nullcontext()
        self._sessions = sessionmaker(self.engine, expire_on_commit=False, info={"limits": limits or ServeLimits()})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that changes nothing."""
        with self._sessions() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose changes are committed in the end, or undone if there is an error.

        SQLite takes the lock of the one writer at the start: a transaction that has read and then wants to write would
        be refused if another has written meanwhile. Threads queue for it here: SQLite itself lets those that wait look
        again at intervals, and whoever comes by at the right moment goes first.
        """
        with self._turn, self._sessions() as session, session.begin():
            if self.is_sqlite:
                session.connection(execution_options={"quillread_writes": True})
            yield session

    def close(self) -> None:
        """Close all connections; one that a thread still uses, as soon as it lets go of it."""
        event.listen(self.engine.pool, "checkin", lambda _, record: record.invalidate())
        self.engine.dispose()


def sqlite_address(path: Path) -> URL:
    """The address of a SQLite file."""
    return URL.create("sqlite", database=str(path))


def upsert(session: Session, kind: type[Any]) -> "postgresql.Insert | sqlite.Insert":
    """An insert that can say what happens where the row is there already."""
    # Late: to import the one that is not used takes a good part of a server's start.
    if session.get_bind().dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(kind)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(kind)


@contextmanager
def away(database: Database) -> Iterator[None]:
    """Turn a database that cannot be reached, or a damaged file of one, into an InputError that says where it is."""
    try:
        yield
    except DatabaseError as error:
        where = database.engine.url.render_as_string(hide_password=True)
        told = " ".join(str(error.orig).split())  # PostgreSQL answers in several lines
        if isinstance(error, OperationalError):
            raise InputError(f"{where}: {told}", hint="check that the database runs and may be used") from error
        if type(error) is DatabaseError:  # what SQLite says of a file, and of nothing else
            hint = "put a backup into a new archive: quill serve restore FILE --data DIR"
            raise InputError(f"{where}: is damaged: {told}", hint=hint) from error
        raise


def is_away(error: BaseException) -> bool:
    """Whether an error says that the database cannot be used now, rather than that a change cannot be made."""
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def fault_of(error: BaseException) -> RequestError:
    """What a request is answered with that met a database that cannot be used."""
    told = str(getattr(error, "orig", error))
    if "disk is full" in told or "No space left" in told:
        hint = "free some space, and try again"
        return FullError("nothing was changed: the disk of the server is full", hint=hint, code="disk-full")
    return NotReadyError("the database cannot be reached", hint="try again in a moment", code="database-away")


def _make_engine(address: str | URL) -> Engine:
    try:
        url = make_url(address)
    except ArgumentError as error:
        raise ConfigError(f"database: {address!r} is not an address", hint="postgresql://USER@HOST/NAME") from error
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    # Words of lines are JSON: the standard library would take as long to read them as the database to find them.
    # Errors go into the log, where no text of pages is to be.
    common: dict[str, Any] = {"json_deserializer": from_json, "max_overflow": 20, "hide_parameters": True}
    if url.drivername == "sqlite":
        # Waits for the one writer, rather than to fail; threads take a connection each.
        engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, pool_size=20, **common)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    if url.drivername == "postgresql+psycopg":
        # Connections that broke while the database was away are made anew; a failing one is told soon.
        return create_engine(url, pool_pre_ping=True, pool_size=10, connect_args={"connect_timeout": 10}, **common)
    raise ConfigError(f"database: {url.drivername} is not supported", hint="SQLite is built in; else PostgreSQL")


def _prepare_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    connection.isolation_level = None  # transactions are begun by `_begin_sqlite`, not by the driver
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # an acknowledged edit survives a power failure, too
        "foreign_keys=ON",
        "cache_size=-16000",
        "temp_store=MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("quillread_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
