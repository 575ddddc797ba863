"""Files in a folder or a bucket, by names relative to it: whole or absent, and with patience when a store is away."""

import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar, cast
from zipfile import BadZipFile

import fsspec
from fsspec.implementations.local import LocalFileSystem

from quillread.errors import InputError, OutputError, QuillreadError, UsageError
from quillread.files import clear_parts, naming, sync_folder, write_atomic
from quillread.images.web import is_address

T = TypeVar("T")

_AT_A_TIME = 256
"""Files whose content is in memory."""
_CONNECTIONS = 16

_WAITS = (1, 2, 4, 8, 16, 32, 32, 32)
"""Seconds between tries: together two minutes, as a store may be away for one."""
_FINAL = (
    FileNotFoundError,
    FileExistsError,
    PermissionError,
    IsADirectoryError,
    NotADirectoryError,
    NotImplementedError,
    QuillreadError,
    ValueError,
    TypeError,
    BadZipFile,
)
"""Answers that another try does not change."""


def open_files(address: str) -> tuple[Any, str]:
    """Find the file system of an address, and the path in it. Listings are not remembered: they grow without limit.

    Raises:
        UsageError: If there is no such kind of store, or its package is missing.
    """
    try:
        files, path = fsspec.core.url_to_fs(address, use_listings_cache=False)
    except (ValueError, ImportError) as error:
        hint = "name a folder or an address that fsspec supports; s3:// needs: pip install 'quillread[ray]'"
        raise UsageError(f"{address}: {error}", hint=hint) from error
    return files, str(path)


def without_query(address: str) -> str:
    """An address of the web without its query; any other as it is, since its `?` may be part of a name or pattern."""
    return address.partition("?")[0] if is_address(address) else address


def ending_of(address: str) -> str:
    """The suffix of the file at an address, in lower case."""
    return PurePosixPath(without_query(address)).suffix.lower()


def is_local(files: Any) -> bool:
    """Whether a file system is that of this machine."""
    return isinstance(files, LocalFileSystem)


def patiently(call: Callable[[], T], sleep: Callable[[float], None] = time.sleep) -> T:
    """Ask a store, and again if it is away or overloaded; its last answer is raised as it is.

    Args:
        call: Asks it; may be done twice.
        sleep: Waits for some seconds.
    """
    for wait in _WAITS:
        try:
            return call()
        except Exception as error:  # stores raise the errors of their clients, which have no base in common
            if _is_final(error):
                raise
            sleep(wait)
    return call()


def _is_final(error: Exception) -> bool:
    return isinstance(error, _FINAL) or "Credential" in type(error).__name__


def reason_of(error: BaseException) -> str:
    """Say what a store answered, on one line."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split())


def open_patiently(address: str, block_size: int | None = None) -> IO[bytes]:
    """Open a file of any store to be read piece by piece, each as patiently as `patiently` asks.

    Args:
        address: Of the file.
        block_size: Bytes that are read ahead; what the store thinks best if not given.
    """
    files, path = open_files(address)
    sized = {} if block_size is None else {"block_size": block_size}
    if is_local(files):
        return cast(IO[bytes], files.open(path, "rb", **sized))
    return io.BufferedReader(_PatientFile(lambda: files.open(path, "rb", **sized)))


class _PatientFile(io.RawIOBase):
    """A file that is opened again, and read on where it was, after its store was away."""

    def __init__(self, open_file: Callable[[], IO[bytes]]) -> None:
        self._open = open_file
        self._file: IO[bytes] | None = None
        self._place = 0
        self._ask(lambda file: None)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            self._place = self._ask(lambda file: file.seek(offset, io.SEEK_END))
        else:
            self._place = offset + (self._place if whence == io.SEEK_CUR else 0)
        return self._place

    def readinto(self, buffer: Any) -> int:
        def read(file: IO[bytes]) -> bytes:
            file.seek(self._place)
            return file.read(len(buffer))

        content = self._ask(read)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()

    def _ask(self, question: Callable[[IO[bytes]], T]) -> T:
        def ask() -> T:
            self._file = self._open() if self._file is None else self._file
            try:
                return question(self._file)
            except BaseException:
                file, self._file = self._file, None
                with suppress(Exception):
                    file.close()
                raise

        try:
            return patiently(ask)
        except (OSError, ValueError, QuillreadError):
            raise
        except Exception as error:  # of the store's client
            raise OSError(reason_of(error)) from error


class Store:
    """A folder or bucket that is written into.

    Args:
        address: A path, or an address that fsspec supports, such as `s3://bucket/prefix`.

    Attributes:
        address: As it was given.
        root: Its path in its file system.

    Raises:
        UsageError: If there is no such kind of store.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._files, root = open_files(address)
        self.root = root.rstrip("/")
        self.is_local = is_local(self._files)

    def read(self, name: str) -> bytes | None:
        """Content of a file; None if there is none.

        Raises:
            InputError: If it cannot be read.
        """
        try:
            content: bytes = self._ask(lambda: self._files.cat_file(self._place(name)))
        except FileNotFoundError:
            return None
        except Exception as error:  # of the store's client
            raise InputError(f"{self._shown(name)}: cannot be read: {reason_of(error)}", hint="check it") from error
        return content

    def read_all(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """Content of files, as `read` gives it, in order; of a bucket many are asked for at a time.

        Raises:
            InputError: If one cannot be read.
        """
        for first in range(0, len(names), _AT_A_TIME):
            yield from self._side_by_side(self.read, names[first : first + _AT_A_TIME])

    def delete_all(self, names: Sequence[str]) -> None:
        """Delete files, as `delete` does.

        Raises:
            OutputError: If one cannot be deleted.
        """
        self._side_by_side(self.delete, names)

    def write(self, name: str, content: bytes) -> None:
        """Write a file: beside its place and moved there, or in one request, so that it is whole or absent.

        It lasts through a loss of power: what is written next may say that it is there.

        Raises:
            OutputError: If it cannot be written.
        """
        if self.is_local:
            write_atomic(Path(self._place(name)), content, durable=True)
            return
        try:
            self._ask(lambda: self._files.pipe_file(self._place(name), content))
        except Exception as error:  # of the store's client
            hint = "check the address, the permissions and the credentials"
            raise OutputError(f"{self._shown(name)}: cannot be written: {reason_of(error)}", hint=hint) from error

    def create(self, name: str, content: bytes) -> bool:
        """Write a file unless there is one; return whether it is ours. Of several that try, one succeeds.

        Raises:
            OutputError: If it cannot be written.
        """
        place = self._place(name)
        if self.is_local:
            return _create(Path(place), content)

        def ask() -> None:
            try:
                self._files.pipe_file(place, content, mode="create")
            except OSError:  # stores differ in how they say that it is there
                if not self._files.exists(place):
                    raise

        try:
            self._ask(ask)
        except Exception as error:  # of the store's client
            hint = "check the address, the permissions and the credentials"
            raise OutputError(f"{self._shown(name)}: cannot be written: {reason_of(error)}", hint=hint) from error
        return self.read(name) == content  # also if the answer to the first try was lost on its way

    def put(self, path: Path, name: str) -> None:
        """Write a file that is on this disk, as `write` does."""
        self.write(name, path.read_bytes())

    def clear_parts(self, folders: Iterable[str]) -> None:
        """Remove what killed programs left unfinished in folders and those in them; other stores keep no such files."""
        if self.is_local:
            for name in folders:
                for folder, _, _ in os.walk(self._place(name)):
                    clear_parts(Path(folder))

    def delete(self, name: str) -> None:
        """Delete a file, if it is there.

        Raises:
            OutputError: If it cannot be deleted.
        """
        try:
            self._ask(lambda: self._files.rm_file(self._place(name)))
        except FileNotFoundError:
            return
        except Exception as error:  # of the store's client
            raise OutputError(f"{self._shown(name)}: cannot be deleted: {reason_of(error)}") from error

    def names(self, folder: str) -> Iterator[str]:
        """Names of the files of a folder, without those of folders in it, in order; none if there is no such folder.

        Raises:
            InputError: If it cannot be listed.
        """
        try:
            entries = self._ask(lambda: self._files.ls(self._place(folder), detail=True))
        except FileNotFoundError:
            return
        except Exception as error:  # of the store's client
            raise InputError(f"{self._shown(folder)}: cannot be listed: {reason_of(error)}", hint="check it") from error
        found = (entry["name"].rsplit("/", 1)[-1] for entry in entries if entry["type"] == "file")
        # What a killed program leaves beside a file has a hidden name.
        yield from (f"{folder}/{name}" for name in sorted(found) if not name.startswith("."))

    def _place(self, name: str) -> str:
        return f"{self.root}/{name}"

    def _shown(self, name: str) -> str:
        return f"{self.address.rstrip('/')}/{name}"

    def _side_by_side(self, call: Callable[[str], T], names: Sequence[str]) -> list[T]:
        if self.is_local:
            return list(map(call, names))
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            return list(pool.map(call, names))

    def _ask(self, call: Callable[[], T]) -> T:
        return call() if self.is_local else patiently(call)


def _create(path: Path, content: bytes) -> bool:
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("xb")
        except FileExistsError:
            return False
        try:
            with file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:  # others would take it for ours, and whole
            path.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    return True
