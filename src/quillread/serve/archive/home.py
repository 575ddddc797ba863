"""The archive as a whole: its folder, database and files, opened together."""

import fcntl
import os
from pathlib import Path
from typing import BinaryIO, Self

from quillread.errors import UsageError
from quillread.serve.archive.views import ViewCache
from quillread.serve.config import ServeConfig
from quillread.serve.database.engine import Database, away, sqlite_address
from quillread.serve.database.migrate import migrate
from quillread.serve.storage import Storage

DATABASE_NAME = "archive.db"


class Archive:
    """Database, files and folder of a server; a context manager.

    `data` holds `archive.db` (SQLite), `files/` (content-addressed), `models/` (unpacked, by content), `uploads/` (not
    yet whole), `work/` (of trainings) and `lock`.

    Args:
        config: Of the server.

    Raises:
        UsageError: If another server uses the folder, or a later version has made the database.
        InputError: If the database cannot be reached.
    """

    def __init__(self, config: ServeConfig) -> None:
        self.config = config
        config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock(config.data)
        self.database = Database(config.database or sqlite_address(config.data / DATABASE_NAME))
        with away(self.database):
            migrate(self.database)
        self.storage = Storage(config.storage or str(config.data / "files"), config.data / "fetched")
        self.views = ViewCache()
        for name in ("models", "uploads", "work"):
            (config.data / name).mkdir(exist_ok=True)

    def __enter__(self) -> Self:
        """Return the archive."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Let go of database and folder."""
        self.database.close()
        self._lock.close()


def _lock(data: Path) -> BinaryIO:
    """Keep other servers from the folder: two would take each other's unfinished jobs for those of a dead one."""
    file = (data / "lock").open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        hint = "stop it first, or choose another folder: --data"
        raise UsageError(f"{data}: another server uses this folder", hint=hint) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n".encode())
    file.flush()
    return file
