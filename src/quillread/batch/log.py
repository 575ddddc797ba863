"""What an output folder holds already: the log that a resumed run goes by."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from quillread.batch.inputs import Input
from quillread.batch.journal import JOURNAL_SUFFIX, PageJournal
from quillread.batch.outputs import beside, overlay_path
from quillread.files import naming, write_atomic
from quillread.formats.export import FORMATS
from quillread.types import Page

LOG_NAME = ".quillread-log.jsonl"
"""In the output folder; one JSON object for each input that was read, the last one of a name counts."""


class ReadLog:
    """Remembers which inputs were read in full, with what, and into which formats.

    Args:
        folder: The output folder, which must exist.
        formats: What is written now.
        fingerprint: Of the reader: all that results depend on.
        overlays: The folder of pictures, if they are drawn.

    Raises:
        OutputError: If the log cannot be written.
    """

    def __init__(self, folder: Path, formats: Sequence[str], fingerprint: str, overlays: Path | None = None) -> None:
        self._folder = folder
        self._overlays = overlays
        self._path = folder / LOG_NAME
        self._formats = {*formats, *(["overlay"] if overlays else [])}
        self._settings = fingerprint
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
            and all(path.is_file() for path in self._results(entry, record))
        )

    def journal(self, entry: Input, resume: bool) -> PageJournal:
        """Open the journal of an input, which is to be taken up if `resume` says so."""
        key = [entry.name, _fingerprint(entry), self._settings]
        return PageJournal(beside(self._folder / entry.stem, JOURNAL_SUFFIX, hidden=True), key, resume)

    def known(self, entry: Input) -> Callable[[int], Page | None]:
        """Give the pages of an input that an earlier run noted, by their number."""
        return self.journal(entry, True).page

    def _results(self, entry: Input, record: Mapping[str, Any]) -> Iterator[Path]:
        """Name the files of an input; of those that hold a page each, the last."""
        stem, pages = self._folder / entry.stem, record.get("pages", 0)
        last = record.get("last", pages)
        for output in (FORMATS[name] for name in self._formats if name in FORMATS):
            yield beside(stem, f"-{last:04}.{output.suffix}" if output.a_file_a_page else f".{output.suffix}")
        if self._overlays:
            yield overlay_path(self._overlays / entry.stem, last, pages)

    def add(self, entry: Input, pages: int, failed: int, last: int | None = None) -> None:
        """Remember an input, once its files are in place.

        Args:
            entry: The input.
            pages: How many pages it has.
            failed: How many faults there were.
            last: Number of the last page that was read.

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
            "last": pages if last is None else last,
            "failed": failed,
        }
        with naming(self._path), self._path.open("ab") as file:
            file.write(f"{json.dumps(record)}\n".encode())


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
        return [*_facts(entry.name)]
    except (OSError, ValueError):
        return None


def _facts(path: str | Path) -> tuple[int, int]:
    facts = os.stat(path)  # noqa: PTH116  names may hold what a Path would change
    return facts.st_size, facts.st_mtime_ns
