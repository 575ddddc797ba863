"""What an output folder holds already: the log that a resumed run goes by."""

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from quillread.batch.inputs import Input
from quillread.batch.journal import PageJournal, journal_path
from quillread.batch.outputs import beside, overlay_path
from quillread.files import naming, open_own, write_atomic
from quillread.formats.export import FORMATS

LOG_NAME = ".quillread-log.jsonl"
"""In the output folder; JSON objects: one for each input that was read, of which the last one counts, and before it one
for each of its files."""
_OF_PAGE = re.compile(r"-\d{4,}(\.[^-]*)$")


class ReadLog:
    """Remembers which inputs were read in full, with what, into which formats, and what their files hold.

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
        self._owners = {name: stem for stem, record in self._records.items() for name in record.get("files", ())}
        self._standing: dict[Path, dict[str, list[str]]] = {}
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

    def refusal(self, entry: Input) -> str | None:
        """Say why the results of an input must not be written: others stand in their places; None if none do."""
        record = self._records.get(entry.stem.as_posix(), {})
        is_same = record.get("place") == self._place(entry)
        for path in self._in_the_way(entry):
            digest = record.get("files", {}).get(self._name(path))
            if "files" not in record and record.get("source") == entry.name:
                continue  # of an earlier version, which kept no digests
            if digest is None:
                return f"{path} stands there, and was not written for it"
            if not is_same:
                return f"{path} holds what was read in {record['source']}"
            if digest != _digest(path):
                return f"{path} was changed after it was written"
        return None

    def journal(self, entry: Input, resume: bool) -> PageJournal:
        """Open the journal of an input, which is to be taken up if `resume` says so."""
        key = [entry.name, _fingerprint(entry), self._settings]
        return PageJournal(journal_path(self._folder / entry.stem), key, resume)

    def note(self, entry: Input, path: Path, digest: str) -> None:
        """Remember a file just before it stands in its place: so none can be there that is not known.

        Raises:
            OutputError: If the log cannot be written.
        """
        self._add({**self._head(entry), "name": self._name(path), "digest": digest})

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
        facts = {
            "file": _fingerprint(entry),
            "settings": self._settings,
            "formats": sorted(self._formats),
            "pages": pages,
            "last": pages if last is None else last,
            "failed": failed,
            "files": self._records.get(entry.stem.as_posix(), {}).get("files", {}),
        }
        self._add({**self._head(entry), **facts})

    def _add(self, record: dict[str, Any]) -> None:
        with naming(self._path), open_own(self._path, "ab") as file:
            file.write(f"{json.dumps(record)}\n".encode())
        _take(self._records, record)

    def _head(self, entry: Input) -> dict[str, Any]:
        return {"stem": entry.stem.as_posix(), "source": entry.name, "place": self._place(entry)}

    def _place(self, entry: Input) -> str:
        """Where an input is, seen from the output folder: the same if both are moved; of stdin, its content."""
        if entry.content is not None:
            return hashlib.sha256(entry.content).hexdigest()
        if entry.is_address:
            return entry.name
        return os.path.relpath(os.path.realpath(entry.name), os.path.realpath(self._folder))

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self._folder)

    def _results(self, entry: Input, record: Mapping[str, Any]) -> Iterator[Path]:
        """Name the files of an input; of those that hold a page each, the last."""
        stem, pages = self._folder / entry.stem, record.get("pages", 0)
        last = record.get("last", pages)
        for output in (FORMATS[name] for name in self._formats if name in FORMATS):
            yield beside(stem, f"-{last:04}.{output.suffix}" if output.a_file_a_page else f".{output.suffix}")
        if self._overlays:
            yield overlay_path(self._overlays / entry.stem, last, pages)

    def _in_the_way(self, entry: Input) -> Iterator[Path]:
        """The files that stood before the run where an input has its results; those of its pages, of any number."""
        stem = self._folder / entry.stem
        for output in (FORMATS[name] for name in sorted(self._formats) if name in FORMATS):
            path = beside(stem, f".{output.suffix}")
            yield from self._numbered(path, entry) if output.a_file_a_page else filter(self._stands, [path])
        if self._overlays:
            path = beside(self._overlays / entry.stem, ".png")
            yield from (*filter(self._stands, [path]), *self._numbered(path, entry))

    def _numbered(self, path: Path, entry: Input) -> Iterator[Path]:
        for name in self._names(path.parent).get(path.name, ()):
            found = path.with_name(name)
            # scan-2024.png may be the second thousand of scan, or all of scan-2024.
            if name != path.name and self._owners.get(self._name(found), "") in ("", entry.stem.as_posix()):
                yield found

    def _stands(self, path: Path) -> bool:
        return path.name in self._names(path.parent).get(_OF_PAGE.sub(r"\1", path.name), ())

    def _names(self, folder: Path) -> dict[str, list[str]]:
        """Names in a folder before the run, by the names they have without the number of a page."""
        if folder not in self._standing:
            names = self._standing[folder] = {}
            with suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    names.setdefault(_OF_PAGE.sub(r"\1", entry.name), []).append(entry.name)
        return self._standing[folder]


def written_files(folder: Path) -> set[Path]:
    """Real paths of the files that the log of a folder knows."""
    names = (name for record in _read(folder / LOG_NAME).values() for name in record.get("files", ()))
    root = Path(os.path.realpath(folder))
    return {Path(os.path.normpath(root / name)) for name in names}


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Read a log; lines that are cut off or of another form count for nothing, so that their inputs are read again."""
    records: dict[str, dict[str, Any]] = {}
    try:
        with open_own(path, "rb") as file:
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return {}
    for line in lines:
        with suppress(ValueError, TypeError, LookupError, AttributeError):
            _take(records, json.loads(line))
    return records


def _take(records: dict[str, dict[str, Any]], line: dict[str, Any]) -> None:
    """Take a line of the log: a record that replaces the one before, or a file, with which a new reading begins."""
    stem, before = line["stem"], records.get(line["stem"], {})
    if not isinstance(stem, str) or not isinstance(line.get("files", {}), dict):
        return
    if "digest" not in line:
        records[stem] = line
        return
    files = before.get("files", {}) if before.get("place") == line["place"] else {}
    head = {key: line[key] for key in ("stem", "source", "place")}
    records[stem] = {**head, "files": {**files, str(line["name"]): str(line["digest"])}}


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


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
