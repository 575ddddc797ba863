"""Files: written whole or not at all, and listed."""

import hashlib
import json
import logging
import math
import os
import re
import shutil
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from quillread.errors import OutputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)


class AtomicFile:
    """A file that is written piece by piece and stands in its place only when it is committed.

    Devices and pipes, such as /dev/stdout, are written to as they are. What is neither committed nor discarded, because
    Ctrl-C came in between, goes with the object, at the latest when the program ends. What a killed program leaves is
    known by its name and by the lock that nobody holds any more: see `clear_parts`.

    Args:
        path: Its place; missing folders are made. A file that stands there stays as it is until the commit.
        told: Told the place and the SHA-256 of the content just before it stands there; not for devices and pipes.
        durable: Whether it must be there even if the machine loses its power just after the commit.

    Raises:
        OutputError: If it cannot be made.
    """

    def __init__(self, path: Path, told: Callable[[Path, str], None] | None = None, *, durable: bool = False) -> None:
        self._path = path
        self._told = told
        self._durable = durable
        self._held: list[int] = []
        with naming(path):
            self._is_device = path.exists() and not path.is_file()
            path.parent.mkdir(parents=True, exist_ok=True)
            self.file: BinaryIO = self._open()

    def commit(self) -> None:
        """Put the file in its place.

        Raises:
            OutputError: If what was written cannot be kept; then nothing is in place.
        """
        try:
            with naming(self._path):
                self.file.flush()
                if self._told and not self._is_device:
                    self.file.seek(0)
                    self._told(self._path, hashlib.file_digest(cast(BufferedRandom, self.file), "sha256").hexdigest())
                if self._durable and not self._is_device:
                    os.fsync(self.file.fileno())
                self.file.close()
                if not self._is_device:
                    self._part.replace(self._path)
                if self._durable:
                    sync_folder(self._path.parent)
        finally:  # Ctrl-C too
            self.discard()

    def discard(self) -> None:
        """Leave nothing of the file, if it was not committed."""
        try:
            self.file.close()
        except OSError:
            pass  # it goes anyway
        finally:
            self._remains()

    def _open(self) -> BinaryIO:
        if self._is_device:
            self._part, self._remains = self._path, weakref.finalize(self, _remove, None, self._held)
            return self._path.open("wb")
        while True:
            # In the same folder, because only within one file system is the move a single step.
            self._part = self._path.with_name(f".quillread-{os.urandom(8).hex()}.part")
            self._remains = weakref.finalize(self, _remove, self._part, self._held)
            file: BinaryIO = self._part.open("x+b")  # never through a link that stands there
            # The lock outlives the file, which is closed before it is moved.
            self._held.extend(_lock(file))
            if self._part.exists():
                return file
            file.close()  # taken for a remainder before it was locked


def sync_folder(folder: Path) -> None:
    """Have the names in a folder last through a loss of power, where the system lets folders be opened."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_PART = re.compile(r"\.quillread-[0-9a-f]{16}\.part")


def clear_parts(folder: Path) -> None:
    """Remove the unfinished files of programs that were killed from a folder; those still at work hold a lock."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _PART.fullmatch(entry.name):
                _clear(entry.path)


def _clear(path: str) -> None:
    if fcntl is None:
        return  # nothing tells whether it is still written
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)  # noqa: PTH108  names may hold what a Path would change
        finally:
            os.close(descriptor)


@contextmanager
def unfinished_folder(folder: Path) -> Iterator[Path]:
    """Make an empty folder beside a place, to be written and moved there; what is still there at the end is removed.

    Those of programs that were killed while they wrote to the same place go first.

    Raises:
        OSError: If it cannot be made.
    """
    left = re.compile(rf"\.{re.escape(folder.name)}\.\d+\.part")
    with suppress(OSError):
        clear_folders(path for path in folder.parent.iterdir() if left.fullmatch(path.name))
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    part.mkdir(parents=True)
    held = lock_folder(part)
    try:
        if not part.is_dir():  # taken for a remainder before it was locked
            part.mkdir()
        yield part
    finally:  # Ctrl-C too
        remove_folder(part, held)


def clear_folders(folders: Iterable[Path]) -> None:
    """Remove the unfinished folders of programs that were killed; those still at work hold a lock.

    Without locks, as on Windows, all stay.
    """
    for folder in folders:
        if held := lock_folder(folder, wait=False):
            remove_folder(folder, held)


def lock_folder(folder: Path, *, wait: bool = True) -> list[int]:
    """Lock a folder, as `_lock` does a file.

    There is no lock either if it is gone or another user's, or if another one has it and is not waited for.
    """
    with suppress(OSError):
        return _lock_folder(folder, wait=wait, follow=False)
    return []


def claim_folder(folder: Path) -> list[int]:
    """Lock a folder unless another process has it, until the descriptors that are returned are closed.

    Where the file system cannot lock folders there are none. Processes that are forked do not have the lock, too.

    Raises:
        BlockingIOError: If another process has it.
    """
    try:
        held = _lock_folder(folder, wait=False, follow=True)
    except BlockingIOError:
        raise
    except OSError:
        return []
    _claimed.update(held)
    return held


def release_folder(held: list[int]) -> None:
    """Let go of the lock of `claim_folder`."""
    while held:
        descriptor = held.pop()
        _claimed.discard(descriptor)
        os.close(descriptor)


_claimed: set[int] = set()


def _disown() -> None:
    """A lock lasts as long as any process has the descriptor: a worker that outlives its parent must not keep it."""
    while _claimed:
        os.close(_claimed.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown)


def _lock_folder(folder: Path, *, wait: bool, follow: bool) -> list[int]:
    if fcntl is None:
        return []
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | (0 if follow else os.O_NOFOLLOW))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return [descriptor]


def remove_folder(folder: Path, held: list[int]) -> None:
    """Remove a folder with all in it, if it is still there, and let go of its lock."""
    shutil.rmtree(folder, ignore_errors=True)
    while held:
        os.close(held.pop())


def _lock(file: BinaryIO) -> list[int]:
    """Lock a file; the lock lasts until the descriptors returned are closed, none where there are no locks."""
    if fcntl is None:
        return []
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)
        return [os.dup(file.fileno())]
    return []


def _remove(path: Path | None, held: list[int]) -> None:
    if path is not None:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    while held:
        os.close(held.pop())


def list_files(folder: Path) -> list[Path]:
    """List the files in a folder and in those below it, in the order of their paths; links that lead nowhere, too.

    Hidden files and folders are skipped: they hold copies that editors and file managers keep. Links to folders and
    folders that cannot be opened are skipped with a warning.
    """
    found: list[Path] = []
    closed: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=closed.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for link in (Path(place, name) for name in folders if Path(place, name).is_symlink()):
            log.warning("%s: is a link to a folder, and not followed", link)
        found += [Path(place, name) for name in files if not name.startswith(".")]
    for error in closed:
        log.warning("%s: cannot be opened, and is skipped: %s", error.filename, error.strerror)
    return sorted(found)


def real_path(path: str | Path) -> Path:
    """Follow all links; those in a circle stay, while `Path.resolve` raises an error for them."""
    return Path(os.path.realpath(path))


def open_own(path: Path, mode: Literal["rb", "ab", "wb"]) -> BinaryIO:
    """Open a file that nobody but us writes; a link or pipe that stands in its place is not followed."""
    extra = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    return open(path, mode, opener=lambda name, flags: os.open(name, flags | extra, 0o666))


def write_atomic(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file so that it is there whole or not at all; missing folders are made.

    Devices and pipes, such as /dev/stdout, are written to as they are.

    Args:
        path: Its place.
        content: What it holds.
        durable: Whether it must be there even if the machine loses its power just afterwards.

    Raises:
        OutputError: If it cannot be written; a file that stood there before is then left as it was.
    """
    part = AtomicFile(path, durable=durable)
    try:
        with naming(path):
            part.file.write(content)
        part.commit()
    finally:
        part.discard()


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, as `write_atomic` does; bytes of a file name that are not text become escapes."""
    write_atomic(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, document: Any) -> None:
    """Write plain data as JSON, for people and programs, as `write_atomic` does; null stands for nan and infinities."""
    write_text(path, json.dumps(_with_null(document), ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def _with_null(value: Any) -> Any:
    """Put None for floats that JSON has no form for."""
    if isinstance(value, Mapping):
        return {key: _with_null(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_null(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an error of the file system into one that names the file.

    Raises:
        OutputError: In place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="check the path, the free space and the permissions",
        ) from error


def storable_name(name: str) -> str:
    """A name as files can have it here: letters that the locale's encoding of names lacks are spelt out.

    For names that do not come from this file system: of uploads, members of archives.
    """
    encoding = sys.getfilesystemencoding()
    return name.encode(encoding, "backslashreplace").decode(encoding)
