"""The pages of a long document, noted while it is read: an interruption costs one page."""

import dataclasses
import hashlib
import json
import re
import types
import typing
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from quillread.errors import Fault
from quillread.files import naming, open_own
from quillread.types import DocumentInfo, Page, Scan

JOURNAL_SUFFIX = ".quillread-pages.jsonl"
"""Of the journal of an input, which is hidden."""
_LONGEST_NAME = 255
"""Bytes that file systems take."""


def journal_path(stem: Path) -> Path:
    """Where the journal of an input is, given where its results are; a name that would be too long is cut."""
    name = f".{stem.name}{JOURNAL_SUFFIX}"
    if len(name.encode(errors="surrogateescape")) > _LONGEST_NAME:
        digest = hashlib.sha256(stem.name.encode(errors="surrogateescape")).hexdigest()
        name = f".{stem.name[:32]}-{digest[:16]}{JOURNAL_SUFFIX}"
    return stem.with_name(name)


class PageJournal:
    """Keeps the pages of an input of several while it is read, and after that if some of them failed.

    Its first line says what was read with what, and when that began; each other line is a page that was read, in full:
    from what is rounded, other results would be written.

    Args:
        path: Its place.
        key: What its first line must say; plain data.
        resume: Whether what is there is to be used, or else dropped.

    Attributes:
        began: When the reading began that is taken up; None if none is.
    """

    def __init__(self, path: Path, key: list[Any], resume: bool) -> None:
        self._path = path
        self._key = key
        self.began, self._places = _index(path, key) if resume else (None, {})
        self._file: BinaryIO | None = None
        self._failed = 0

    def page(self, number: int) -> Page | None:
        """Give a page that was read before."""
        if number not in self._places:
            return None
        try:
            with open_own(self._path, "rb") as file:
                file.seek(self._places[number])
                return load_page(json.loads(file.readline())["page"])
        except (OSError, ValueError, TypeError, LookupError):
            return None

    def begin(self, info: DocumentInfo) -> None:
        """Begin to note the pages of an input that has several."""
        if info.page_count > 1 and self._key[1] is not None:
            with naming(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = open_own(self._path, "ab" if self._places else "wb")
                if not self._places:
                    self._note({"key": self._key, "began": info.began and info.began.isoformat()})

    def add(self, scan: Scan) -> None:
        """Note a page."""
        self._failed += (scan.page.fault or scan.missing) is not None
        if scan.page.fault is None and scan.page.number not in self._places:
            self._note({"number": scan.page.number, "page": dataclasses.asdict(scan.page)})

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


def load_page(data: Any) -> Page:
    """Build a page of what `dataclasses.asdict` and JSON made of it; numbers stay what they were.

    Raises:
        LookupError, TypeError: If it is something else.
    """
    return typing.cast(Page, _load(Page, data))


def _index(path: Path, key: list[Any]) -> tuple[datetime | None, dict[int, int]]:
    """Find when the reading of a journal began, and where its pages are, by number; none if its key is another."""
    places: dict[int, int] = {}
    try:
        with open_own(path, "rb") as file:
            file.readline()
            head = json.loads(file.readline())
            if head["key"] != key:
                return None, {}
            began = head["began"] and datetime.fromisoformat(head["began"])
            at = file.tell()
            while line := file.readline():
                found = re.match(rb'\{"number": (\d+), .*\}\n$', line)
                if found:
                    places[int(found[1])] = at
                at = file.tell()
    except (OSError, ValueError, TypeError, LookupError):
        return None, {}
    return began, places


def _load(kind: Any, data: Any) -> Any:
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return typing.cast(type, kind)(
            **{name: _load(hint, data[name]) for name, hint in _hints(typing.cast(type, kind)).items()}
        )
    if origin is tuple:
        kinds = [of[0]] * len(data) if of[-1] is Ellipsis else of
        return tuple(_load(part, item) for part, item in zip(kinds, data, strict=True))
    if origin in (typing.Union, types.UnionType):
        return None if data is None else _load(next(part for part in of if part is not type(None)), data)
    if origin is None and not isinstance(data, (int, float) if kind is float else kind):
        raise TypeError(f"expected {kind}, got {data!r}")
    return data


@lru_cache(maxsize=32)
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)
