"""Folders for temporary files of a process, which go although it is killed: with the next one on the machine."""

import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Self

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX = "quillread-scratch-"


class Scratch:
    """A folder in that for temporary files. It is locked, so that one of a process that was killed can be told.

    Such folders are removed when another one is made. Without locks, as on Windows, they stay.

    Attributes:
        path: Of the folder.
    """

    def __init__(self) -> None:
        _clear(Path(tempfile.gettempdir()))
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            lock = _lock(self.path)
            self._remains = weakref.finalize(self, _remove, self.path, lock)
            if self.path.is_dir():
                break
            self._remains()  # it was taken for one that is left before it was locked

    def close(self) -> None:
        """Remove the folder."""
        self._remains()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _clear(root: Path) -> None:
    """Remove the folders of processes that were killed."""
    for folder in root.glob(f"{_PREFIX}*"):
        lock = _lock(folder, wait=False)
        if lock is not None:
            _remove(folder, lock)


def _lock(folder: Path, *, wait: bool = True) -> int | None:
    """Lock a folder; None if another process has locked it, it is gone or another user's, or there are no locks."""
    if fcntl is None:
        return None
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor
    return None


def _remove(folder: Path, lock: int | None) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if lock is not None:
        os.close(lock)
