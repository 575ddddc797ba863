"""Files by the SHA-256 of their content, in a folder or a bucket: originals stay untouched, equal ones kept once."""

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from quillread.errors import ConfigError, InputError, OutputError
from quillread.files import clear_parts

_CHUNK = 1 << 20
_KEPT_SECONDS = 24 * 3600.0
"""Longer than anything reads on in a file without asking for its path again."""


class Stored(NamedTuple):
    """A file of the storage."""

    sha256: str
    size: int


class Storage:
    """Keeps files by content. Threads and processes share it.

    A file is whole or not there: it is written beside its place and moved. Those of a bucket that need a path, such as
    PDFs, are fetched once into a folder.

    Args:
        address: As fsspec names it, such as `s3://bucket/prefix`, or the path of a folder.
        fetched: Folder for files of a bucket.

    Raises:
        ConfigError: If there is no such kind of storage, or its package is missing.
    """

    def __init__(self, address: str, fetched: Path) -> None:
        try:
            self._fs, self._root = fsspec.core.url_to_fs(address)
        except (ValueError, ImportError) as error:
            hint = "a folder, or an address that fsspec knows, with its package installed (s3://: pip install s3fs)"
            raise ConfigError(f"storage: {address}: {error}", hint=hint) from error
        self._is_local = isinstance(self._fs, LocalFileSystem)
        self._fetched = fetched
        self._fs.makedirs(self._root, exist_ok=True)
        self._parts = Path(self._root) / ".parts"
        if self._is_local:
            self._parts.mkdir(exist_ok=True)
            clear_parts(self._parts)

    def add(self, content: bytes | BinaryIO | Path) -> Stored:
        """Keep a file.

        Args:
            content: Its content, a file open for reading, or a path, which is not changed.

        Raises:
            OutputError: If there is no space, or the storage cannot be reached.
        """
        # Beside the files, if that is here: what is restored may be larger than the folder for temporary files.
        folder = str(self._parts) if self._is_local else None
        with tempfile.SpooledTemporaryFile(max_size=8 * _CHUNK, dir=folder) as spooled:
            digest, size = hashlib.sha256(), 0
            for chunk in _chunks(content):
                digest.update(chunk)
                size += len(chunk)
                if not isinstance(content, bytes | Path):
                    spooled.write(chunk)
            stored = Stored(digest.hexdigest(), size)
            if not self.has(stored.sha256):
                spooled.seek(0)
                self._write(stored.sha256, content if isinstance(content, bytes | Path) else cast(BinaryIO, spooled))
        return stored

    def take(self, path: Path) -> Stored:
        """Keep a file that is on this disk; here it is not copied where the folder of the storage is on the disk, too.

        Raises:
            OutputError: If there is no space, or the storage cannot be reached.
        """
        if not self._is_local:
            return self.add(path)
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            place = Path(self._place(digest))
            place.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.link(path, place)
                _sync(place.parent)
        except OSError:
            return self.add(path)  # on another disk, or one that knows no links
        return Stored(digest, path.stat().st_size)

    def has(self, sha256: str) -> bool:
        """Whether a file is there."""
        return bool(self._fs.exists(self._place(sha256)))

    def open(self, sha256: str) -> BinaryIO:
        """Open a file for reading.

        Raises:
            InputError: If it is not there.
        """
        try:
            return cast(BinaryIO, self._fs.open(self._place(sha256), "rb"))
        except FileNotFoundError as error:
            hint = "quill serve check compares the database with the files"
            raise InputError(f"the file {sha256} is missing from the storage", hint=hint) from error

    def read(self, sha256: str) -> bytes:
        """Content of a file.

        Raises:
            InputError: If it is not there.
        """
        with self.open(sha256) as file:
            return file.read()

    def path(self, sha256: str) -> Path:
        """A path of a file, for readers that need one; those of a bucket are fetched first.

        Raises:
            InputError: If it is not there.
        """
        if self._is_local:
            path = Path(self._place(sha256))
            if not path.is_file():
                self.open(sha256).close()
            return path
        target = self._fetched / sha256
        try:
            os.utime(target)  # it is needed: see `drop_fetched`
        except FileNotFoundError:
            self._fetched.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f"{sha256}.{os.urandom(8).hex()}.part")
            try:
                with self.open(sha256) as source, part.open("xb") as file:
                    shutil.copyfileobj(source, file, _CHUNK)
                part.replace(target)
            finally:
                part.unlink(missing_ok=True)
        return target

    def delete(self, sha256: str) -> None:
        """Delete a file for good, if it is there."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._place(sha256))
        (self._fetched / sha256).unlink(missing_ok=True)

    def drop_fetched(self, unused: float = _KEPT_SECONDS) -> None:
        """Delete what was fetched from a bucket and is needed no more: its disk would become as large as the bucket.

        Args:
            unused: Seconds in which nobody has asked for it.
        """
        since = time.time() - unused
        for path in self._fetched.glob("*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < since:
                    path.unlink()

    def list(self) -> Iterator[Stored]:
        """All files."""
        for path, info in self._fs.find(self._root, detail=True).items():
            name = path.rsplit("/", 1)[-1]
            if len(name) == 64:
                yield Stored(name, int(info["size"]))

    def _place(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256[2:4]}/{sha256}"

    def _write(self, sha256: str, content: bytes | BinaryIO | Path) -> None:
        place = self._place(sha256)
        try:
            if self._is_local:
                _write_here(Path(place), content, self._parts)
                return
            self._fs.makedirs(place.rsplit("/", 1)[0], exist_ok=True)
            try:
                with self._fs.open(place, "wb") as file:  # object stores show a file when it is closed
                    for chunk in _chunks(content):
                        file.write(chunk)
            except BaseException:
                with suppress(Exception):  # it was closed, with what it had
                    self._drop_broken(sha256)
                raise
        except OSError as error:
            message = f"{self._root}: a file cannot be stored: {error.strerror or error}"
            raise OutputError(message, hint="check disk space and permissions") from error

    def _drop_broken(self, sha256: str) -> None:
        """Delete a file that is not what its name says; another may have kept a whole one meanwhile."""
        digest = hashlib.sha256()
        with self.open(sha256) as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != sha256:
            self._fs.rm_file(self._place(sha256))


def _write_here(place: Path, content: bytes | BinaryIO | Path, parts: Path) -> None:
    """Write a file that is on the disk before its name is.

    What a killed program leaves in `parts` is known by its name and by the lock that nobody holds any more.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    path = parts / f".quillread-{os.urandom(8).hex()}.part"
    try:
        with path.open("xb") as part:
            fcntl.flock(part, fcntl.LOCK_EX)
            for chunk in _chunks(content):
                part.write(chunk)
            part.flush()
            os.fsync(part.fileno())
            path.replace(place)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    _sync(place.parent)


def _sync(folder: Path) -> None:
    """Let the names of a folder be on the disk."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _chunks(content: bytes | BinaryIO | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
    elif isinstance(content, Path):
        with content.open("rb") as file:
            yield from _chunks(file)
    else:
        while chunk := content.read(_CHUNK):
            yield chunk
