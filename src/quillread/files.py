"""Writing files: whole or not at all."""

import json
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from quillread.errors import OutputError


class AtomicFile:
    """A file that is written piece by piece and stands in its place only when it is committed.

    Devices and pipes, such as /dev/stdout, are written to as they are. What is neither committed nor discarded, because
    Ctrl-C came in between, goes with the object, at the latest when the program ends.

    Args:
        path: Its place; missing folders are made. A file that stands there stays as it is until the commit.

    Raises:
        OutputError: If it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with naming(path):
            is_device = path.exists() and not path.is_file()
            path.parent.mkdir(parents=True, exist_ok=True)
            # In the same folder, because only within one file system is the move a single step.
            self._part = path if is_device else path.parent / f".{os.getpid()}.{path.name[-64:]}.part"
            self._remains = weakref.finalize(self, _remove, None if is_device else self._part)
            self.file: BinaryIO = self._part.open("wb")

    def commit(self) -> None:
        """Put the file in its place.

        Raises:
            OutputError: If what was written cannot be kept; then nothing is in place.
        """
        try:
            with naming(self._path):
                self.file.close()
                if self._part != self._path:
                    self._part.replace(self._path)
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


def _remove(path: Path | None) -> None:
    if path is not None:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all; missing folders are made.

    Devices and pipes, such as /dev/stdout, are written to as they are.

    Raises:
        OutputError: If it cannot be written; a file that stood there before is then left as it was.
    """
    part = AtomicFile(path)
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
    """Write plain data as JSON for people and programs, as `write_atomic` does."""
    write_text(path, json.dumps(document, ensure_ascii=False, indent=2) + "\n")


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
