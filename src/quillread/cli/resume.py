"""What an output folder holds already: the log and the journals that `quill read --resume` goes by."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self

from quillread.cli.inputs import Input
from quillread.cli.output import beside
from quillread.files import naming, write_atomic
from quillread.formats.export import FORMATS, ExportInfo, Scan
from quillread.formats.json import page_data, page_of_data
from quillread.types import Page

LOG_NAME = ".quillread-log.jsonl"
"""In the output folder; one JSON object for each input that was read, the last one of a name counts."""
JOURNAL_SUFFIX = ".quillread-pages.jsonl"
"""Of the journal of an input, which is hidden."""


class ReadLog:
    """Remembers which inputs were read in full, with what, and into which formats.

    Args:
        folder: The output folder, which must exist.
        formats: What is written now.
        provenance: What it is read with now.

    Raises:
        OutputError: If the log cannot be written.
    """

    def __init__(self, folder: Path, formats: Sequence[str], provenance: Mapping[str, Any]) -> None:
        self._folder = folder
        self._path = folder / LOG_NAME
        self._formats = set(formats)
        text = json.dumps(provenance, sort_keys=True, default=str)
        self._settings = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._records = _read(self._path)
        lines = "".join(json.dumps(record) + "\n" for record in self._records.values())
        write_atomic(self._path, lines.encode())

    def has(self, entry: Input) -> bool:
        """Tell whether an input was read in full as it would be now: same file, settings and formats."""
        record = self._records.get(entry.stem.as_posix())
        return (
            record is not None
            and record.get("failed") == 0
            and record.get("source") == entry.name
            and record.get("file") is not None
            and record.get("file") == _fingerprint(entry)
            and record.get("settings") == self._settings
            and self._formats <= set(record.get("formats", ()))
            and all(path.is_file() for path in self._results(entry, record.get("pages", 0)))
        )

    def journal(self, entry: Input, resume: bool) -> "PageJournal":
        """Open the journal of an input, which is to be taken up if `resume` says so."""
        key = [entry.name, _fingerprint(entry), self._settings]
        return PageJournal(beside(self._folder / entry.stem, JOURNAL_SUFFIX, hidden=True), key, resume)

    def _results(self, entry: Input, pages: int) -> Iterator[Path]:
        """Name the files of an input; of the files that hold a page each, the last."""
        stem = self._folder / entry.stem
        for output in (FORMATS[name] for name in self._formats if name in FORMATS):
            yield beside(stem, f"-{pages:04}.{output.suffix}" if output.a_file_a_page else f".{output.suffix}")

    def add(self, entry: Input, pages: int, failed: int) -> None:
        """Remember an input, once its files are in place.

        Raises:
            OutputError: If the log cannot be written.
        """
        stem = entry.stem.as_posix()
        record = {
            "stem": stem,
            "source": entry.name,
            "file": _fingerprint(entry),
            "settings": self._settings,
            "formats": sorted(self._formats),
            "pages": pages,
            "failed": failed,
        }
        with naming(self._path), self._path.open("ab") as file:
            file.write(f"{json.dumps(record)}\n".encode())


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

    def begin(self, info: ExportInfo) -> Self:
        """Begin to note the pages of an input that has several."""
        if info.page_count > 1 and self._key[1] is not None:
            with naming(self._path):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab" if self._places else "wb")
                if not self._places:
                    self._note(self._key)
        return self

    def add(self, scan: Scan) -> None:
        """Note a page."""
        if scan.page.error is not None:
            self._failed += 1
        elif scan.page.number not in self._places:
            self._note(page_data(scan.page))

    def close(self, error: str | None) -> None:
        """Drop the journal, unless there are pages to try again."""
        self.abort()
        if not self._failed:
            self._path.unlink(missing_ok=True)

    def abort(self) -> None:
        """Leave the journal as it is, for a later run."""
        if self._file is not None:
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


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Read a log; lines that are cut off or of another form count for nothing, so that their inputs are read again."""
    records = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("stem"), str):
            records[record["stem"]] = record
    return records


def _fingerprint(entry: Input) -> list[int | str] | None:
    """Size and time of an input's file, or its address; None for stdin and what is not there."""
    if entry.is_address:
        return [entry.name]
    try:
        facts = os.stat(entry.name)  # noqa: PTH116  names may hold what a Path would change
    except (OSError, ValueError):
        return None
    return [facts.st_size, facts.st_mtime_ns]
