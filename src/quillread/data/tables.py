"""Tables that list images and texts: CSV, JSON lines, and the columns that they name."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from quillread.data.source import Row, RowSource, Source
from quillread.data.spec import SPLITS, DataSpec
from quillread.errors import DataError
from quillread.images.read import is_readable_name
from quillread.text.normalise import nfc

COLUMN_OPTIONS = ("image-column", "text-column", "group-column", "id-column")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns of one table."""

    image: str
    text: str
    group: str
    id: str
    split: str

    @classmethod
    def of(cls, spec: DataSpec, image: str = "image") -> "Columns":
        """The names that a source asks for, or the usual ones."""
        return cls(
            spec.option("image-column", image),
            spec.option("text-column", "text"),
            spec.option("group-column", "group"),
            spec.option("id-column", "id"),
            spec.option("split-column", "split"),
        )

    def check(self, name: str, found: Sequence[str], spec: DataSpec) -> None:
        """Refuse a table without image or text, or without a column that the source asks for by name.

        Raises:
            DataError: Naming the column and those found.
        """
        for role in fields(self):
            column, option = getattr(self, role.name), f"{role.name}-column"
            if column not in found and (role.name in ("image", "text") or option in spec.options):
                raise DataError(
                    f"{name}: has no column {column!r}; its columns are {', '.join(found)}",
                    hint=f"name the right one with ?{option}=NAME",
                )


def open_folder(spec: DataSpec, split: str) -> Source:
    """Open a folder: images with a .txt of the same stem, or metadata.csv / .jsonl (source `folder:`)."""
    folder = Path(spec.where)
    if not folder.is_dir():
        raise DataError(f"folder:{spec.where}: is not a folder")
    for table, reader in (("metadata.csv", _read_csv), ("metadata.jsonl", _read_jsonl)):
        if (folder / table).is_file():
            return _open_table(spec, split, folder / table, reader)
    spec.refuse_unknown(())
    _refuse_misspelt(f"folder:{spec.where}", split)
    rows = []
    for image in sorted(p for p in folder.rglob("*") if is_readable_name(p)):
        text = image.with_suffix(".txt")
        if text.is_file():
            # The text may end in a newline, as editors write it; a line holds no others.
            content = " ".join(read_text(text).split("\n")).strip()
            rows.append(Row(str(image.relative_to(folder)), image, nfc(content)))
    if not rows:
        raise DataError(
            f"folder:{spec.where}: no image has a .txt file of the same name beside it",
            hint="put line-1.txt beside line-1.png, or a metadata.csv with the columns image and text",
        )
    return RowSource(f"folder:{spec.where}", rows)


def open_csv(spec: DataSpec, split: str) -> Source:
    """Open a CSV table of image paths and texts (source `csv:`)."""
    return _open_table(spec, split, Path(spec.where), _read_csv)


def open_jsonl(spec: DataSpec, split: str) -> Source:
    """Open a table of JSON lines (source `jsonl:`)."""
    return _open_table(spec, split, Path(spec.where), _read_jsonl)


def _open_table(spec: DataSpec, split: str, path: Path, read: Callable[[Path], list[dict[str, Any]]]) -> RowSource:
    spec.refuse_unknown((*COLUMN_OPTIONS, "split-column"))
    records = read(path)
    if not records:
        raise DataError(f"{path}: holds no rows")
    found = list(dict.fromkeys(column for record in records for column in record))
    # The hub's image-folder layout calls the column "file_name".
    columns = Columns.of(spec, "image" if "image" in found or "file_name" not in found else "file_name")
    columns.check(str(path), found, spec)
    if columns.split not in found:
        _refuse_misspelt(str(path), split)
    rows = []
    for number, record in enumerate(records, 1):
        if columns.split in found and record.get(columns.split) != split:
            continue
        image, text = record.get(columns.image), record.get(columns.text)
        if not image or text is None:
            raise DataError(f"{path}, row {number}: needs {columns.image!r} and {columns.text!r}, got {record}")
        row_id = str(record.get(columns.id) or image)
        rows.append(Row(row_id, path.parent / str(image), nfc(str(text)), str(record.get(columns.group) or "")))
    if not rows:
        splits = sorted({str(record.get(columns.split)) for record in records})
        raise DataError(
            f"{path}: no row has {columns.split} = {split!r}",
            hint=f"the splits found there are: {', '.join(splits)}",
        )
    return RowSource(str(path), rows)


def _refuse_misspelt(where: str, split: str) -> None:
    """Data without splits gives all its lines for the usual names; another name asks for what is not there."""
    if split not in SPLITS:
        raise DataError(f"{where}: has no splits, and {split!r} is not one of {', '.join(SPLITS)}")


def read_text(path: Path) -> str:
    """Read a UTF-8 file, with or without a byte order mark.

    Raises:
        DataError: If it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def _read_csv(path: Path) -> list[dict[str, Any]]:
    try:
        records = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise DataError(f"{path}: is not a CSV table: {error}") from error
    for number, record in enumerate(records, 1):
        if None in record:  # where the reader puts what the header has no column for
            raise DataError(
                f"{path}, row {number}: has more cells than the header has columns",
                hint='put a text that holds commas between quotes: "Hello, world"',
            )
    return records


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number}: expected an object with image and text, got {record!r}")
        records.append(record)
    return records
