"""Tables that list images and texts: CSV, JSON lines, and the columns that they name."""

import codecs
import csv
import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from quillread.data.source import Row, RowSource, Source, TextError, list_few
from quillread.data.spec import SPLITS, DataSpec, find_split
from quillread.errors import DataError, SplitError
from quillread.files import list_files
from quillread.images.read import is_readable_name
from quillread.images.web import is_address

log = logging.getLogger(__name__)

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
    """Open a folder: images with a .txt of the same stem, or metadata.csv / .jsonl (source `folder:`).

    If it has folders named after splits, and no table itself, the one asked for is opened.
    """
    folder, name = Path(spec.where), f"folder:{spec.where}"
    if not folder.is_dir():
        raise DataError(f"{name}: is not a folder")
    part = folder
    if not any((folder / table).is_file() for table in _TABLES):
        part = split_folder(folder, split, name)
    for table, reader in _TABLES.items():
        if (part / table).is_file():
            return _open_table(spec, split, part / table, reader)
    spec.refuse_unknown(())
    if part == folder:
        _refuse_misspelt(name, split)
    found = list_files(part)
    texts = {path.with_suffix(""): path for path in found if path.suffix.lower() == ".txt" and path.is_file()}
    images = [path for path in found if is_readable_name(path)]
    own: dict[Path, Path] = {}
    for image in images:
        own.setdefault(image.with_suffix(""), image)
    pairs = [(image, texts[stem]) for stem, image in own.items() if stem in texts]
    if not pairs:
        raise DataError(
            f"folder:{part}: no image has a .txt file of the same name beside it",
            hint="put line-1.txt beside line-1.png, or a metadata.csv with the columns image and text",
        )
    alone = {
        "images have no text beside them": [image for image in images if image.with_suffix("") not in texts],
        "texts have no image beside them": [text for stem, text in texts.items() if stem not in own],
        "images have the text of another": [
            image for image in images if (stem := image.with_suffix("")) in texts and image != own[stem]
        ],
    }
    _warn_skipped(folder, alone)
    rows = [_row(str(image.relative_to(folder)), image, text) for image, text in pairs]
    return RowSource(name if part == folder else f"{name} ({split})", rows)


def _row(name: str, image: Path, text: Path) -> Row:
    """A line of a folder; one text that cannot be read costs that line, not all of them."""
    try:
        return Row(name, image, read_text(text))
    except TextError as error:
        return Row(name, image, "", fault=error)


def split_folder(folder: Path, split: str, name: str) -> Path:
    """Find the folder of a split in a folder; the folder itself if none in it is named after a split.

    Raises:
        SplitError: If there are folders of other splits only.
        DataError: If it cannot be opened.
    """
    try:
        found = [path.name for path in folder.iterdir() if path.is_dir()]
    except OSError as error:
        raise DataError(f"{name}: cannot be opened: {error.strerror}", hint="check its permissions") from error
    names = {known for group in SPLITS.values() for known in group}
    chosen = find_split(split, found)
    if chosen is None and names & set(found):
        raise SplitError(f"{name}: has no such split", hint=f"there are: {', '.join(sorted(names & set(found)))}")
    return folder / chosen if chosen else folder


def _warn_skipped(folder: Path, alone: Mapping[str, Sequence[Path]]) -> None:
    for told, paths in alone.items():
        if paths:
            names = list_few([str(path.relative_to(folder)) for path in paths])
            log.warning("folder:%s: %d %s and are skipped: %s", folder, len(paths), told, names)


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
    chosen = find_split(split, {str(record.get(columns.split)) for record in records})
    rows = []
    for number, record in enumerate(records, 1):
        if columns.split in found and (chosen is None or record.get(columns.split) != chosen):
            continue
        if record.get(columns.image) in (None, "") or record.get(columns.text) is None:
            raise DataError(f"{path}, row {number}: needs {columns.image!r} and {columns.text!r}, got {record}")
        where = f"{path}, row {number}"
        image, text, row_id, group = (
            as_text(record.get(column), column, where)
            for column in (columns.image, columns.text, columns.id, columns.group)
        )
        rows.append(Row(row_id or image, _image_path(path.parent, image), text, group))
    if not rows:
        splits = sorted({str(record.get(columns.split)) for record in records})
        raise SplitError(
            f"{path}: no row has {columns.split} = {split!r}",
            hint=f"the splits found there are: {', '.join(splits)}",
        )
    return RowSource(str(path), rows)


def _refuse_misspelt(where: str, split: str) -> None:
    """Data without splits gives all its lines for the usual names; another name asks for what is not there."""
    if split not in SPLITS:
        raise DataError(f"{where}: has no splits, and {split!r} is not one of {', '.join(SPLITS)}")


def as_text(cell: Any, column: str, where: str) -> str:
    """The text of a cell of any table; empty if there is none.

    Raises:
        DataError: If it holds something else: a list, a number that is not whole, bytes that are not UTF-8.
    """
    if cell is None or isinstance(cell, str):
        return cell or ""
    if isinstance(cell, bytes):  # as Spark, ClickHouse and cuDF write strings
        try:
            return cell.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{where}: column {column!r} holds bytes that are not UTF-8 text: {error}") from error
    if isinstance(cell, float) and (math.isnan(cell) or cell.is_integer()):
        return "" if math.isnan(cell) else str(int(cell))  # as pandas has whole numbers, some of which are missing
    if isinstance(cell, int) and not isinstance(cell, bool):
        return str(cell)
    raise DataError(
        f"{where}: column {column!r} holds no text, but {type(cell).__name__}: {cell!r:.60}",
        hint="write its cells as text, or name another column, such as ?text-column=NAME",
    )


def _image_path(folder: Path, name: str) -> Path:
    """Where an image lies that a table names, whatever system the table was written on."""
    path = folder / name
    return folder / name.replace("\\", "/") if "\\" in name and not path.exists() else path


def find_encoding(start: bytes) -> str:
    """The encoding of a text, to judge by its first two bytes: UTF-16 with its mark, or UTF-8 with or without one."""
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def read_text(path: Path) -> str:
    """Read a file of UTF-8, with or without a byte order mark, or of UTF-16 with one.

    Raises:
        TextError: If it cannot be read, or is neither.
    """
    try:
        with path.open("rb") as file:
            encoding = find_encoding(file.read(2))
        return path.read_text(encoding=encoding)
    except OSError as error:
        hint = "check the path and its permissions"
        raise TextError(f"{path}: cannot be read: {error.strerror or error}", hint=hint) from error
    except UnicodeError as error:
        raise TextError(f"{path}: cannot be read as UTF-8 text: {error}", hint="save it as UTF-8") from error


def _read_csv(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a CSV table whose cells are parted by commas, semicolons or tabs, as its header says."""
    lines = read_text(path).split("\n")
    delimiter, is_told = find_delimiter(lines[0])
    if is_told:
        del lines[0]
    header: list[str] = []
    records: list[dict[str, Any]] = []
    for row in _csv_rows(path, lines, delimiter):
        if not header:
            header = [name.strip() for name in row]
        elif any(row[len(header) :]):
            raise DataError(
                f"{path}, row {len(records) + 1}: has more cells than the header has columns",
                hint='put a text that holds commas between quotes: "Hello, world"',
            )
        else:
            records.append(dict(zip(header, row, strict=False)))
    return records


def find_delimiter(first: str) -> tuple[str, bool]:
    """What parts the cells of a CSV table, to judge by its first row, and whether that row is not its header.

    Such a row, `sep=;`, tells it to Excel.
    """
    told = re.fullmatch("sep=(.)", first)
    return (told[1], True) if told else (max(",;\t", key=first.count), False)


def _csv_rows(path: Path, lines: Sequence[str], delimiter: str) -> Iterator[list[str]]:
    """Give the rows that are not empty, the header first.

    Raises:
        DataError: If a quotation mark opens a cell and none closes it, so that the rows below would be a part of it.
    """
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True)
    number, line = 0, 1
    try:
        for row in reader:
            if any(holds_row(cell, delimiter) for cell in row):
                raise csv.Error("it holds another row")
            if any(row):
                yield row
                number += 1
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, row {number} (line {line}): a quotation mark opens a cell and does not close it: {error}",
            hint='put a text with quotation marks between quotes, and double its own: """Come here," he said"',
        ) from error


def holds_row(cell: str, delimiter: str) -> bool:
    """Whether a cell of several lines has swallowed a row, to judge by the name of an image or an address."""
    _, *more = cell.split("\n")
    parts = (part.strip(' "\r') for line in more for part in line.split(delimiter))
    return any(is_address(part) or is_readable_name(Path(part)) for part in parts)


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


_TABLES = {"metadata.csv": _read_csv, "metadata.jsonl": _read_jsonl}
"""Tables that a folder of lines may hold, the first one first."""
