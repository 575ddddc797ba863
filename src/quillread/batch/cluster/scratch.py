"""Folders for temporary files of a process, which go although it is killed: with the next one on the machine."""

import tempfile
import weakref
from pathlib import Path
from typing import Self

from quillread.files import clear_folders, lock_folder, remove_folder

_PREFIX = "quillread-scratch-"


class Scratch:
    """A folder in that for temporary files. It is locked, so that one of a process that was killed can be told.

    Such folders are removed when another one is made. Without locks, as on Windows, they stay.

    Attributes:
        path: Of the folder.
    """

    def __init__(self) -> None:
        clear_folders(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"))
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX))
            self._remains = weakref.finalize(self, remove_folder, self.path, lock_folder(self.path))
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
