"""Sources of line images with text: hub datasets, folders, tables, synthetic lines."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from quillread.data.fonts import FontLineConfig, FontSource
from quillread.data.spec import DataSpec
from quillread.data.strokes import StrokeSource
from quillread.errors import DataError, ImageError
from quillread.extras import require
from quillread.images.read import is_readable_name, open_document
from quillread.text.normalise import nfc
from quillread.types import Sample, UInt8Image


class Source(Protocol):
    """Lines with random access; safe to use from several worker processes."""

    name: str

    def __len__(self) -> int:
        """Number of lines in one pass."""

    def text(self, index: int) -> str:
        """NFC text of a line, without making its image."""

    def group(self, index: int) -> str:
        """Writer or document of a line; empty if unknown."""

    def aspect(self, index: int) -> float:
        """Width over height of the line image, exact or estimated; batches are made of similar ones."""

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """The line with its image; synthetic sources draw the look from `rng`.

        Raises:
            DataError: If the image cannot be read; names the row.
        """


@dataclass(frozen=True, slots=True)
class Row:
    """A line whose image is a file or the bytes of one."""

    id: str
    image: Path | bytes
    text: str
    group: str = ""


class RowSource:
    """Lines whose images are files, or bytes in a table."""

    def __init__(self, name: str, rows: Sequence[Row]) -> None:
        if not rows:
            raise DataError(f"{name}: holds no lines")
        self.name = name
        self._rows = rows
        self._aspects: dict[int, float] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def text(self, index: int) -> str:
        """NFC text of a line."""
        return self._rows[index].text

    def group(self, index: int) -> str:
        """Writer or document of a line; empty if unknown."""
        return self._rows[index].group

    def aspect(self, index: int) -> float:
        """Width over height from the image's header; 10 if it has none."""
        if index not in self._aspects:
            data = self._rows[index].image
            try:
                with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data) as image:
                    turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # by 90 degrees
                    width, height = image.size[::-1] if turned else image.size
                    self._aspects[index] = width / height
            except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
                self._aspects[index] = 10.0
        return self._aspects[index]

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """The line with its decoded image; `rng` is not used."""
        row = self._rows[index]
        try:
            return Sample(row.id, _decode(row), row.text, row.group)
        except ImageError as error:
            raise DataError(f"{self.name}, row {index} ({row.id}): {error.message}", hint=error.hint) from error


def _decode(row: Row) -> UInt8Image:
    with open_document(row.image, name=row.id) as document:
        return document.page(0)


def open_source(spec: DataSpec, split: str) -> Source:
    """Open a data source.

    Args:
        spec: Where and what.
        split: "train", "validation" or "test"; sources that know no splits give all their lines.

    Raises:
        DataError: If it is missing, malformed or empty.
    """
    return _KINDS[spec.kind](spec, split)


def _open_strokes(spec: DataSpec, split: str) -> Source:
    spec.refuse_unknown(())
    return StrokeSource(Path(spec.where))


def _open_fonts(spec: DataSpec, split: str) -> Source:
    spec.refuse_unknown(("text", "lines"))
    lines = spec.option("lines", str(FontLineConfig().lines))
    if not lines.isdecimal() or int(lines) < 1:
        raise DataError(f"{spec.kind}:{spec.where}: lines must be a whole number above 0, got {lines!r}")
    config = FontLineConfig(lines=int(lines))
    return FontSource(Path(spec.where), [Path(p) for p in spec.options.get("text", ())], config)


_COLUMN_OPTIONS = ("image-column", "text-column", "group-column", "id-column")


@dataclass(frozen=True, slots=True)
class _Columns:
    image: str
    text: str
    group: str
    id: str
    split: str

    @classmethod
    def of(cls, spec: DataSpec, image: str = "image") -> "_Columns":
        return cls(
            spec.option("image-column", image),
            spec.option("text-column", "text"),
            spec.option("group-column", "group"),
            spec.option("id-column", "id"),
            spec.option("split-column", "split"),
        )

    def check(self, name: str, found: Sequence[str], spec: DataSpec) -> None:
        """Refuse a table without image or text, or without a column that the source asks for by name."""
        for role in fields(self):
            column, option = getattr(self, role.name), f"{role.name}-column"
            if column not in found and (role.name in ("image", "text") or option in spec.options):
                raise DataError(
                    f"{name}: has no column {column!r}; its columns are {', '.join(found)}",
                    hint=f"name the right one with ?{option}=NAME",
                )


def _open_hub(spec: DataSpec, split: str) -> Source:
    spec.refuse_unknown((*_COLUMN_OPTIONS, "revision", "config"))
    folder = Path(spec.where)
    name = f"hub:{spec.where} ({split})"
    if folder.is_dir() and {"revision", "config"} & set(spec.options):
        raise DataError(f"{name}: revision and config belong to data sets on the hub, not to a folder")
    table = _read_parquet(folder, split, name) if folder.is_dir() else _download(spec, split, name)
    columns = _Columns.of(spec)
    columns.check(name, table.column_names, spec)
    texts = table[columns.text].to_pylist()
    images = table[columns.image]
    ids = table[columns.id].to_pylist() if columns.id in table.column_names else range(len(texts))
    groups = table[columns.group].to_pylist() if columns.group in table.column_names else [""] * len(texts)
    rows = []
    for i, (text, row_id, group) in enumerate(zip(texts, ids, groups, strict=True)):
        cell = images[i].as_py()
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if not isinstance(data, bytes):
            raise DataError(f"{name}, row {i}: column {columns.image!r} holds no image bytes")
        rows.append(Row(str(row_id), data, nfc("" if text is None else str(text)), str(group or "")))
    return RowSource(name, rows)


def _read_parquet(folder: Path, split: str, name: str) -> Any:
    parquet = require("pyarrow.parquet", "data")
    arrow = require("pyarrow", "data")
    files = sorted(folder.rglob(f"{split}-*.parquet")) or sorted(folder.rglob(f"{split}.parquet"))
    if not files:
        found = sorted({p.name.split("-")[0].removesuffix(".parquet") for p in folder.rglob("*.parquet")})
        raise DataError(
            f"{name}: no parquet files {split}-*.parquet under {folder}",
            hint=f"the splits found there are: {', '.join(found) or 'none'}",
        )
    try:
        return arrow.concat_tables([parquet.read_table(path) for path in files])
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{name}: cannot be read as parquet: {error}") from error


def _download(spec: DataSpec, split: str, name: str) -> Any:
    datasets = require("datasets", "data")
    revision = spec.option("revision", "")
    config = spec.option("config", "")
    try:
        dataset = datasets.load_dataset(spec.where, config or None, split=split, revision=revision or None)
        image = _Columns.of(spec).image
        if image in dataset.column_names:
            dataset = dataset.cast_column(image, datasets.Image(decode=False))
    except Exception as error:  # the hub client raises dozens of unrelated types; the cause is kept
        raise DataError(
            f"{name}: cannot be loaded from the Hugging Face hub: {error}",
            hint="check the name, the split and the network, or give a local folder of parquet files",
        ) from error
    return dataset.with_format("arrow")[:]


def _open_folder(spec: DataSpec, split: str) -> Source:
    folder = Path(spec.where)
    if not folder.is_dir():
        raise DataError(f"folder:{spec.where}: is no folder")
    for table, reader in (("metadata.csv", _read_csv), ("metadata.jsonl", _read_jsonl)):
        if (folder / table).is_file():
            return _open_table(spec, split, folder / table, reader)
    spec.refuse_unknown(())
    rows = []
    for image in sorted(p for p in folder.rglob("*") if is_readable_name(p)):
        text = image.with_suffix(".txt")
        if text.is_file():
            # The text may end in a newline, as editors write it; a line holds no others.
            content = " ".join(_read_text(text).split("\n")).strip()
            rows.append(Row(str(image.relative_to(folder)), image, nfc(content)))
    if not rows:
        raise DataError(
            f"folder:{spec.where}: no image has a .txt file of the same name beside it",
            hint="put line-1.txt beside line-1.png, or a metadata.csv with the columns image and text",
        )
    return RowSource(f"folder:{spec.where}", rows)


def _open_csv(spec: DataSpec, split: str) -> Source:
    return _open_table(spec, split, Path(spec.where), _read_csv)


def _open_jsonl(spec: DataSpec, split: str) -> Source:
    return _open_table(spec, split, Path(spec.where), _read_jsonl)


def _open_table(spec: DataSpec, split: str, path: Path, read: Callable[[Path], list[dict[str, Any]]]) -> RowSource:
    spec.refuse_unknown((*_COLUMN_OPTIONS, "split-column"))
    records = read(path)
    if not records:
        raise DataError(f"{path}: holds no rows")
    found = list(dict.fromkeys(column for record in records for column in record))
    # The hub's image-folder layout calls the column "file_name".
    columns = _Columns.of(spec, "image" if "image" in found or "file_name" not in found else "file_name")
    columns.check(str(path), found, spec)
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


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error


def _read_csv(path: Path) -> list[dict[str, Any]]:
    try:
        records = list(csv.DictReader(io.StringIO(_read_text(path), newline="")))
    except csv.Error as error:
        raise DataError(f"{path}: is no CSV table: {error}") from error
    for number, record in enumerate(records, 1):
        if None in record:  # where the reader puts what the header has no column for
            raise DataError(
                f"{path}, row {number}: has more cells than the header has columns",
                hint='put a text that holds commas between quotes: "Hello, world"',
            )
    return records


def _read_jsonl(path: Path) -> list[dict[str, Any]]:
    records = []
    for number, line in enumerate(_read_text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: is no JSON: {error}") from error
        if not isinstance(record, dict):
            raise DataError(f"{path}, line {number}: expected an object with image and text, got {record!r}")
        records.append(record)
    return records


_KINDS: dict[str, Callable[[DataSpec, str], Source]] = {
    "hub": _open_hub,
    "folder": _open_folder,
    "csv": _open_csv,
    "jsonl": _open_jsonl,
    "fonts": _open_fonts,
    "strokes": _open_strokes,
}
