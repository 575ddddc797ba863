"""What an output folder holds already: the log that a resumed run goes by."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from quillread.batch.inputs import STDIN, Input
from quillread.batch.journal import PageJournal, journal_path
from quillread.batch.outputs import beside, overlay_path, without_page
from quillread.batch.records import LOG_NAME, read_records, take_line
from quillread.batch.review import REVIEW_NAME
from quillread.errors import OutputError
from quillread.files import naming, open_own, real_path, write_atomic
from quillread.formats.export import FORMATS

_REVIEW = Input(REVIEW_NAME, Path(), content=b"")
"""Stands for all inputs of a run, whose list has no other owner; no input has its stem."""


class _Ledger:
    """The log of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / LOG_NAME
        self.records = read_records(self._path)
        self.owners = {name: stem for stem, record in self.records.items() for name in record.get("files", ())}
        lines = "".join(json.dumps(record) + "\n" for record in self.records.values())
        write_atomic(self._path, lines.encode())

    def record(self, entry: Input) -> dict[str, Any]:
        """What is known of an input, or of another one whose results have the same names."""
        return self.records.get(entry.stem.as_posix(), {})

    def add(self, entry: Input, **facts: Any) -> None:
        """Remember something of an input."""
        line = {"stem": entry.stem.as_posix(), "source": entry.name, "place": self.place(entry), **facts}
        with naming(self._path), open_own(self._path, "ab") as file:
            file.write(f"{json.dumps(line)}\n".encode())
        take_line(self.records, line)

    def settle(self, entry: Input, **facts: Any) -> None:
        """Remember an input whose files are in place; what stood there before, and what is gone, counts no more."""
        known = self.record(entry).get("files", {})
        files = {name: digests[-1:] for name, digests in known.items() if os.path.lexists(self._folder / name)}
        self.add(entry, **facts, files=files)

    def place(self, entry: Input) -> str:
        """Where an input is, seen from the folder: the same if both are moved; of stdin, its content."""
        if entry.content is not None:
            return hashlib.sha256(entry.content).hexdigest()
        if entry.is_address:
            return entry.name
        return os.path.relpath(real_path(entry.name), real_path(self._folder))

    def name(self, path: Path) -> str:
        """How it names a file, however the folder is spelled."""
        return os.path.relpath(real_path(path.parent) / path.name, real_path(self._folder))


class ReadLog:
    """Remembers which inputs were read in full, with what, into which formats, and what their files hold.

    Args:
        folder: The output folder, which must exist.
        formats: What is written now.
        fingerprint: Of the reader: all that results depend on.
        overlays: The folder of pictures, if they are drawn, which must exist, too. It has a log of its own.

    Raises:
        OutputError: If the log cannot be written.
    """

    def __init__(self, folder: Path, formats: Sequence[str], fingerprint: str, overlays: Path | None = None) -> None:
        self._folder = folder
        self._overlays = overlays
        self._formats = {*formats, *(["overlay"] if overlays else [])}
        self._settings = fingerprint
        self._main = _Ledger(folder)
        self._drawn = self._main if overlays is None or overlays.samefile(folder) else _Ledger(overlays)
        self._written: dict[str, str] = {}
        self._standing: dict[Path, dict[str, None]] = {}
        self._numbered_names: dict[Path, dict[str, list[str]]] = {}

    def has(self, entry: Input) -> bool:
        """Tell whether an input was read in full as it would be now: same file, settings and formats."""
        record = self._main.record(entry)
        return (
            record.get("failed") == 0
            and record.get("source") == entry.name
            and record.get("file") is not None
            and record.get("file") == _fingerprint(entry)
            and record.get("settings") == self._settings
            and self._formats <= set(record.get("formats", ()))
            and all(path.is_file() for path in self._results(entry, record))
            and all(path.name in self._names(path.parent) for path in self._known_results(entry))
        )

    def refusal(self, entry: Input) -> str | None:
        """Say why the results of an input must not be written: others stand in their places; None if none do."""
        for ledger, path in self._in_the_way(entry):
            record = ledger.record(entry)
            digests = record.get("files", {}).get(ledger.name(path), ())
            if "files" not in record and record.get("source") == entry.name:
                continue  # of an earlier version, which kept no digests
            if not digests:
                return f"{path} stands there, and was not written for it"
            if record.get("place") != ledger.place(entry):
                return f"{path} {_holds(record['source'])}"
            if _digest(path) not in digests:
                return f"{path} was changed after it was written"
        return None

    def journal(self, entry: Input, resume: bool) -> PageJournal:
        """Open the journal of an input, which is to be taken up if `resume` says so."""
        key = [entry.name, _fingerprint(entry), self._settings]
        return PageJournal(journal_path(self._folder / entry.stem), key, resume)

    def note(self, entry: Input, path: Path, digest: str) -> None:
        """Remember a file just before it stands in its place: so none can be there that is not known.

        Raises:
            OutputError: If the log cannot be written, or the file was written for another input of this run.
        """
        # Page 1 of letter.pdf and all of letter-0001.jpg are drawn as letter-0001.png.
        owner = self._written.setdefault(str(path).casefold(), entry.name)
        if owner != entry.name:
            raise OutputError(f"{path}: {_holds(owner)}", hint="write into another folder")
        is_drawn = self._overlays is not None and path.parent == (self._overlays / entry.stem).parent
        ledger = self._drawn if is_drawn else self._main
        ledger.add(entry, name=ledger.name(path), digest=digest)

    def review_refusal(self) -> str | None:
        """Say why the list of lines to proofread must not be written; None if it may."""
        path = self._folder / REVIEW_NAME
        if not os.path.lexists(path):
            return None
        digests = self._main.record(_REVIEW).get("files", {}).get(REVIEW_NAME, ())
        if not digests:
            return f"{path} stands there, and was not written by an earlier run"
        return None if _digest(path) in digests else f"{path} was changed after it was written"

    def note_review(self, path: Path, digest: str) -> None:
        """Remember the list of lines to proofread just before it stands in its place.

        Raises:
            OutputError: If the log cannot be written.
        """
        self._main.settle(_REVIEW)  # lists before the one that stands there count no more
        self._main.add(_REVIEW, name=self._main.name(path), digest=digest)

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
        self._main.settle(
            entry,
            file=_fingerprint(entry),
            settings=self._settings,
            formats=sorted(self._formats),
            pages=pages,
            last=pages if last is None else last,
            failed=failed,
        )
        # An input that was not drawn leaves the pictures of another one, which have its name, to that.
        if self._drawn is not self._main and self._drawn.record(entry).get("place") == self._drawn.place(entry):
            self._drawn.settle(entry)

    def _results(self, entry: Input, record: Mapping[str, Any]) -> Iterator[Path]:
        """Name the files of an input; of those that hold a page each, the last: earlier versions knew no others."""
        stem, pages = self._folder / entry.stem, record.get("pages", 0)
        last = record.get("last", pages)
        for output in (FORMATS[name] for name in self._formats if name in FORMATS):
            yield beside(stem, f"-{last:04}.{output.suffix}" if output.a_file_a_page else f".{output.suffix}")
        if self._overlays:
            yield overlay_path(self._overlays / entry.stem, last, pages)

    def _known_results(self, entry: Input) -> Iterator[Path]:
        """Files of the formats of now that were written for an input, those of all pages."""
        drawn = self._drawn.record(entry) if self._overlays and self._drawn is not self._main else {}
        for name in self._main.record(entry).get("files", ()):
            suffixes = [f".{FORMATS[of].suffix}" for of in self._formats if of in FORMATS]
            if name.endswith(tuple(suffixes)) or (self._overlays and not drawn and name.endswith(".png")):
                yield self._folder / name
        if self._overlays and drawn.get("place") == self._drawn.place(entry):
            yield from (self._overlays / name for name in drawn.get("files", ()))

    def _in_the_way(self, entry: Input) -> Iterator[tuple[_Ledger, Path]]:
        """The files that stood before the run where an input has its results; those of its pages, of any number."""
        stem = self._folder / entry.stem
        for output in (FORMATS[name] for name in sorted(self._formats) if name in FORMATS):
            path = beside(stem, f".{output.suffix}")
            if output.a_file_a_page:
                yield from self._numbered(self._main, path, entry)
            elif self._stands(path):
                yield self._main, path
        if self._overlays:
            path = beside(self._overlays / entry.stem, ".png")
            if self._stands(path):
                yield self._drawn, path
            yield from self._numbered(self._drawn, path, entry)

    def _numbered(self, ledger: _Ledger, path: Path, entry: Input) -> Iterator[tuple[_Ledger, Path]]:
        for name in self._numbers(path.parent).get(path.name, ()):
            found = path.with_name(name)
            # scan-2024.png may be the second thousand of scan, or all of scan-2024.
            if name != path.name and ledger.owners.get(ledger.name(found), "") in ("", entry.stem.as_posix()):
                yield ledger, found

    def _stands(self, path: Path) -> bool:
        return path.name in self._names(path.parent)

    def _numbers(self, folder: Path) -> dict[str, list[str]]:
        """Names in a folder before the run, by the names they have without the number of a page."""
        if folder not in self._numbered_names:
            names = self._numbered_names[folder] = {}
            for name in self._names(folder):
                names.setdefault(without_page(name), []).append(name)
        return self._numbered_names[folder]

    def _names(self, folder: Path) -> dict[str, None]:
        """Names in a folder before the run, in its order."""
        if folder not in self._standing:
            names = self._standing[folder] = {}
            with suppress(OSError), os.scandir(folder) as entries:
                names.update(dict.fromkeys(entry.name for entry in entries))
        return self._standing[folder]


def _holds(source: str) -> str:
    return f"holds what was read {'from stdin earlier' if source == STDIN else f'in {source}'}"


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
