"""The pages of a long document, noted while it is read: an interruption costs one page."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from quillread.errors import Fault
from quillread.files import naming
from quillread.formats.json import page_data, page_of_data
from quillread.types import DocumentInfo, Page, Scan

JOURNAL_SUFFIX = ".quillread-pages.jsonl"
"""Of the journal of an input, which is hidden."""


class PageJournal:
    """Keeps the pages of an input of several while it is read, and after that if some of them failed.

    Its first line says what was read with what; each other line is a page that was read, as in the JSON.

    Args:
        path: Its place.
        key: What its first line must say; plain data.
        resume: Whether what is there is to be used, or else dropped.
    """

    def __init__(self, path: Path, key: list[Any], resume: bool) -> None:
        self._path = path
        self._key = key
        self._places = _index(path, key) if resume else {}
        self._source = str(key[0])
        self._file: BinaryIO | None = None
        self._failed = 0

    def page(self, number: int) -> Page | None:
        """Give a page that was read before."""
        if number not in self._places:
            return None
        try:
            with self._path.open("rb") as file:
                file.seek(self._places[number])
                return page_of_data(json.loads(file.readline()), self._source)
        except (OSError, ValueError, TypeError, LookupError):
            return None

    def begin(self, info: DocumentInfo) -> None:
        """Begin to note the pages of an input that has several."""
        if info.page_count > 1 and self._key[1] is not None:
            with naming(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab" if self._places else "wb")
                if not self._places:
                    self._note(self._key)

    def add(self, scan: Scan) -> None:
        """Note a page."""
        self._failed += (scan.page.fault or scan.missing) is not None
        if scan.page.fault is None and scan.page.number not in self._places:
            self._note(page_data(scan.page))

    def close(self, fault: Fault | None) -> None:
        """Drop the journal, unless there are pages to try again, or the input cannot be opened this time."""
        self.abort()
        if not self._failed and (fault is None or not self._places):
            with naming(self._path):
                self._path.unlink(missing_ok=True)

    def abort(self) -> None:
        """Leave the journal as it is, for a later run."""
        if self._file is not None:
            with suppress(OSError):  # what could not be written was said, and is dropped here
                self._file.close()

    def _note(self, data: Any) -> None:
        if self._file is not None:
            with naming(self._path):
                # A page that was cut off, by a power failure for instance, must not spoil the next one.
                self._file.write(f"\n{json.dumps(data, ensure_ascii=True)}\n".encode())
                self._file.flush()


def _index(path: Path, key: list[Any]) -> dict[int, int]:
    """Find where the pages of a journal begin, by their number; none if its key is another one."""
    places: dict[int, int] = {}
    try:
        with path.open("rb") as file:
            file.readline()
            if json.loads(file.readline()) != key:
                return {}
            at = file.tell()
            while line := file.readline():
                found = re.match(rb'\{"number": (\d+), .*\}\n$', line)
                if found:
                    places[int(found[1])] = at
                at = file.tell()
    except (OSError, ValueError):
        return {}
    return places
