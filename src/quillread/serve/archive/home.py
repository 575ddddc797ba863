"""The archive as a whole: its folder, database and files, opened together."""

import fcntl
import os
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Self

from quillread.errors import UsageError
from quillread.serve.archive.views import ViewCache
from quillread.serve.config import ServeConfig
from quillread.serve.database.engine import Database, away, sqlite_address
from quillread.serve.database.migrate import has_schema, is_current, migrate
from quillread.serve.storage import Storage

DATABASE_NAME = "archive.db"


class Archive:
    """Database, files and folder of a server; a context manager.

    `data` holds `archive.db` (SQLite), `files/` (content-addressed), `models/` (unpacked, by content), `uploads/` (not
    yet whole), `work/` (of trainings) and `lock`.

    Args:
        config: Of the server.
        schema: Of an archive that is made; later it is brought up to date by `migrate`.
        serves: Whether this is the server of the folder, of which there is one; else a command beside it, which brings
            the schema up to date only while none runs.

    Raises:
        UsageError: If another server uses the folder, or the database has the schema of another version.
        InputError: If the database cannot be reached.
    """

    def __init__(self, config: ServeConfig, *, schema: str = "head", serves: bool = True) -> None:
        # Absolute, as worker processes go into other folders.
        self.config = config = replace(config, data=config.data.absolute())
        if config.data.exists() and not config.data.is_dir():
            raise UsageError(f"{config.data}: not a folder", hint="choose another: --data")
        config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _lock(config.data)
        if lock is None and serves:
            hint = "stop it first, or choose another folder: --data"
            raise UsageError(f"{config.data}: another server uses this folder", hint=hint)
        self._lock = lock
        self.database = Database(config.database or sqlite_address(config.data / DATABASE_NAME), config.limits)
        try:
            self._bring_up_to_date(schema)
        except BaseException:
            self.close()
            raise
        if not serves:
            self._unlock()
        self.storage = Storage(config.storage or str(config.data / "files"), config.data / "fetched")
        self.views = ViewCache()
        for name in ("models", "uploads", "work"):
            (config.data / name).mkdir(exist_ok=True)

    def _bring_up_to_date(self, schema: str) -> None:
        with away(self.database):
            if self._lock is not None:
                migrate(self.database, schema)
            elif not is_current(self.database):
                raise UsageError(
                    "the server that runs is of another version than this command",
                    hint="stop it, or use the command of its version",
                )

    def __enter__(self) -> Self:
        """Return the archive."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of database and folder."""
        self.database.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def is_archive(config: ServeConfig) -> bool:
    """Whether there is an archive already."""
    if config.database is None:
        return (config.data / DATABASE_NAME).is_file()
    database = Database(config.database)
    try:
        with away(database):
            return has_schema(database)
    finally:
        database.close()


def _lock(data: Path) -> BinaryIO | None:
    """Keep other servers from the folder: two would take each other's unfinished jobs for those of a dead one.

    Returns:
        The file that is locked; None if another has it.
    """
    file = (data / "lock").open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    file.truncate(0)
    file.write(f"{os.getpid()}\n".encode())
    file.flush()
    return file
