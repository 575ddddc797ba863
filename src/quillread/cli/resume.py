"""What an output folder holds already: the log that `quill read --resume` goes by."""

import argparse
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from quillread.cli.generate_options import given_options
from quillread.cli.inputs import Input
from quillread.cli.journal import JOURNAL_SUFFIX, PageJournal
from quillread.cli.output import beside, overlay_path
from quillread.files import naming, write_atomic
from quillread.formats.export import FORMATS

LOG_NAME = ".quillread-log.jsonl"
"""In the output folder; one JSON object for each input that was read, the last one of a name counts."""


def reading_key(args: argparse.Namespace, segmenter: str) -> dict[str, Any]:
    """What results depend on beside their provenance, which has names: the files behind these, and options of TrOCR.

    Args:
        args: Of `quill read`.
        segmenter: Name or ONNX file of the line finder.

    Returns:
        Plain data: names of models with their revisions; path, size and time of each file; options that were given.
    """
    from quillread.language.catalog import split_weight
    from quillread.models.catalog import SHIPPED, pin, resolve

    models = args.models or (args.model,)
    files = {Path(segmenter), *args.lexicon, *(Path(split_weight(name)[0]) for name in args.lm or ())}
    for folder in (resolve(name) if name in SHIPPED else Path(name) for name in models):
        files.update(folder.glob("*"))
    if args.segmentation:
        files |= {args.segmentation, *(path for path in args.segmentation.rglob("*") if path.suffix.lower() == ".xml")}
    return {
        "models": [pin(name) for name in models],
        "files": sorted([str(path), *_facts(path)] for path in files if path.is_file()),
        "generate": given_options(args),
    }


class ReadLog:
    """Remembers which inputs were read in full, with what, and into which formats.

    Args:
        folder: The output folder, which must exist.
        formats: What is written now.
        reading: What it is read with now: all that results depend on; plain data.
        overlays: The folder of pictures, if they are drawn.

    Raises:
        OutputError: If the log cannot be written.
    """

    def __init__(
        self, folder: Path, formats: Sequence[str], reading: Mapping[str, Any], overlays: Path | None = None
    ) -> None:
        self._folder = folder
        self._overlays = overlays
        self._path = folder / LOG_NAME
        self._formats = {*formats, *(["overlay"] if overlays else [])}
        text = json.dumps(reading, sort_keys=True, default=str)
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

    def journal(self, entry: Input, resume: bool) -> PageJournal:
        """Open the journal of an input, which is to be taken up if `resume` says so."""
        key = [entry.name, _fingerprint(entry), self._settings]
        return PageJournal(beside(self._folder / entry.stem, JOURNAL_SUFFIX, hidden=True), key, resume)

    def _results(self, entry: Input, pages: int) -> Iterator[Path]:
        """Name the files of an input; of those that hold a page each, the last."""
        stem = self._folder / entry.stem
        for output in (FORMATS[name] for name in self._formats if name in FORMATS):
            yield beside(stem, f"-{pages:04}.{output.suffix}" if output.a_file_a_page else f".{output.suffix}")
        if self._overlays:
            yield overlay_path(self._overlays / entry.stem, pages, pages)

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
