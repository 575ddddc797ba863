"""Data sets of the Hugging Face hub: downloaded, streamed, or local folders of the same parquet files.

Encoded images are never copied out of their table, and with `streaming` not even held in memory.
"""

import logging
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from quillread.data.source import Cell, ImageColumn, Row, RowSource, Source, list_few
from quillread.data.spec import SPLITS, DataSpec, find_split
from quillread.data.tables import COLUMN_OPTIONS, Columns, as_text
from quillread.errors import DataError, SplitError
from quillread.extras import require
from quillread.files import list_files

log = logging.getLogger(__name__)

_HUB_ONLY = {"revision", "config"}
_BATCH = 100
"""Rows taken from a stream at a time."""


def open_hub(spec: DataSpec, split: str) -> Source:
    """Open a data set of the hub, or a local folder of parquet files `SPLIT-*.parquet` (source `hub:`).

    A split "validation" is also found under the names valid, val and dev.

    Options, besides the names of columns:
        revision, config: Of a data set on the hub. Without a revision, a warning names the commit.
        limit: Take the first so many lines only; of a data set on the hub, the rest is not downloaded.
        streaming: `true` holds no image of a local folder in memory; each is read with its row group when it is asked
            for, so lines in random order take longer the larger those are. A data set on the hub is passed
            once into a temporary file that goes with the process. Without this option it is downloaded into the cache
            of the hub's client and mapped from there, which keeps memory as flat.

    Raises:
        DataError: If it is missing, damaged or empty, or lacks the split or a column.
    """
    spec.refuse_unknown((*COLUMN_OPTIONS, *_HUB_ONLY, "limit", "streaming"))
    folder = Path(spec.where)
    name = f"hub:{spec.where} ({split})"
    if not folder.is_dir():
        return _open_id(spec, split, name)
    if _HUB_ONLY & set(spec.options):
        raise DataError(f"{name}: revision and config belong to data sets on the hub, not to a folder")
    return _open_folder(spec, split, name)


def _open_folder(spec: DataSpec, split: str, name: str) -> RowSource:
    columns, limit = Columns.of(spec), spec.count("limit", 0)
    groups = _row_groups(_shards(Path(spec.where), split, name), name, limit)
    schema = groups[0].schema(name)
    columns.check(name, schema.names, spec)
    _check_images(schema, columns.image, name)
    arrow = require("pyarrow", "data")
    is_streamed = _is_streamed(spec)
    kept = [role for role in _roles(columns, schema.names) if not (is_streamed and role == columns.image)]
    try:
        table = arrow.concat_tables([group.read(kept, name) for group in groups])
    except arrow.ArrowException as error:
        raise DataError(f"{name}: its files have different columns: {error}") from error
    table = table.slice(0, limit or None)
    if is_streamed:
        return _source(table, columns, name, _GroupImages(groups, columns.image, name))
    return _source(table, columns, name, _TableImages(table[columns.image], columns.image, name))


def _open_id(spec: DataSpec, split: str, name: str) -> RowSource:
    datasets = require("datasets", "data")
    columns, limit = Columns.of(spec), spec.count("limit", 0)
    revision = spec.option("revision", "")
    with _explained(name):
        builder = datasets.load_dataset_builder(
            spec.where, spec.option("config", "") or None, revision=revision or None
        )
        found = [str(key) for key in builder.config.data_files or builder.info.splits or SPLITS]
        # A set of bare image files: its table names them. Other tables come from anywhere, and could name any file.
        names_files = hasattr(builder, "BASE_FEATURE")
    if not revision:
        _warn_unpinned(name, builder.hash or "")
    chosen = _choose_split(split, found, name)
    with _explained(name):
        if limit or _is_streamed(spec):
            tables = _batches(builder.as_streaming_dataset(chosen), spec, name, limit)
            if names_files:
                tables = map(require("datasets.table", "data").embed_table_storage, tables)
            table = _spool(tables, name)
        else:
            builder.download_and_prepare()
            dataset = _undecoded(builder.as_dataset(chosen), spec, name)
            table = dataset.with_format("arrow")[:]  # memory-mapped from the cache, not read
    _check_images(table.schema, columns.image, name)
    images = _TableImages(table[columns.image], columns.image, name, names_files)
    return _source(table, columns, name, images)


def _source(table: Any, columns: Columns, name: str, images: ImageColumn) -> RowSource:
    texts, ids, groups = (_strings(table, column, name) for column in (columns.text, columns.id, columns.group))
    taken = set(ids)
    rows = []
    for i, (text, row_id, group) in enumerate(zip(texts, ids, groups, strict=True)):
        number = str(i) if str(i) not in taken else f"row {i}"
        rows.append(Row(row_id or number, Cell(images, i), text, group))
    return RowSource(name, rows)


def _strings(table: Any, column: str, name: str) -> list[str]:
    """The cells of a column, empty where there are none."""
    if column not in table.column_names:
        return [""] * table.num_rows
    return [as_text(cell, column, f"{name}, row {row}") for row, cell in enumerate(table[column].to_pylist())]


@dataclass(frozen=True, slots=True)
class _TableImages:
    """Images in an Arrow table, in memory or memory-mapped."""

    cells: Any
    column: str
    name: str
    names_files: bool = False
    """Whether a cell without bytes gives the path of a file that may be read."""

    def read(self, row: int) -> bytes:
        cell = self.cells[row].as_py()
        where = f"{self.name}, row {row}"
        if self.names_files and cell is not None and cell["bytes"] is None and cell["path"]:
            try:
                return Path(cell["path"]).read_bytes()
            except OSError as error:
                raise DataError(f"{where}: {cell['path']} cannot be read: {error.strerror}") from error
        return _content(cell, self.column, where)


@dataclass(frozen=True, slots=True)
class _RowGroup:
    """Some rows of a parquet file."""

    path: Path
    number: int
    rows: int

    def schema(self, name: str) -> Any:
        """The Arrow schema of its file."""
        with _opened(self.path, name) as file:
            return file.schema_arrow

    def read(self, columns: Sequence[str], name: str) -> Any:
        """Read columns as an Arrow table."""
        with _opened(self.path, name) as file:
            # Worker processes are forked: threads of the parent's pool are not there.
            return file.read_row_group(self.number, columns=columns, use_threads=False)


class _GroupImages:
    """Images read from their files when asked for, the row group of the last one kept."""

    def __init__(self, groups: Sequence[_RowGroup], column: str, name: str) -> None:
        self._groups = groups
        self._starts = [0, *accumulate(group.rows for group in groups)]
        self._column = column
        self._name = name
        self._last: tuple[int, Any] = (-1, None)

    def read(self, row: int) -> bytes:
        place = bisect_right(self._starts, row) - 1
        number, cells = self._last
        if number != place:
            cells = self._groups[place].read([self._column], self._name)[self._column]
            self._last = place, cells
        return _content(cells[row - self._starts[place]].as_py(), self._column, f"{self._name}, row {row}")


def _content(cell: Any, column: str, where: str) -> bytes:
    content = cell.get("bytes") if isinstance(cell, Mapping) else cell
    if not isinstance(content, bytes):
        raise DataError(f"{where}: column {column!r} holds no image bytes")
    return content


def _check_images(schema: Any, column: str, name: str) -> None:
    """Refuse a column of another type before any of its rows is needed."""
    types = require("pyarrow", "data").types
    kind = schema.field(column).type
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if not (types.is_binary(kind) or types.is_large_binary(kind)):
        raise DataError(
            f"{name}: column {column!r} holds no image bytes, but {kind}",
            hint="name the right one with ?image-column=NAME",
        )


def _roles(columns: Columns, found: Sequence[str]) -> list[str]:
    """The columns that are read, those that are there."""
    return [role for role in dict.fromkeys((columns.image, columns.text, columns.id, columns.group)) if role in found]


def _is_streamed(spec: DataSpec) -> bool:
    return spec.choice("streaming", ("false", "true")) == "true"


def _choose_split(split: str, found: Sequence[str], name: str) -> str:
    chosen = find_split(split, found)
    if chosen is None:
        raise SplitError(
            f"{name}: has no such split", hint=f"the splits found there are: {', '.join(sorted(found)) or 'none'}"
        )
    if chosen != split:
        log.info("%s: the split is called %r there", name, chosen)
    return chosen


def _shards(folder: Path, split: str, name: str) -> list[Path]:
    """Return the files of a split: `train-*.parquet`, `train.parquet`, or all in a folder `train`."""
    shards: dict[str, list[Path]] = {}
    for path in (path for path in list_files(folder) if path.suffix == ".parquet"):
        start = path.stem.partition("-")[0]
        is_named = any(start in names for names in SPLITS.values()) or path.parent == folder
        shards.setdefault(start if is_named else path.parent.name, []).append(path)
    found = shards[_choose_split(split, list(shards), name)]
    _warn_missing(found, name)
    return found


def _warn_missing(shards: Sequence[Path], name: str) -> None:
    """Warn of files that a set of `train-00000-of-00003.parquet` lacks."""
    numbers: dict[tuple[Path, int], set[int]] = {}
    for path in shards:
        match = re.search(r"-(\d{5})-of-(\d{5})", path.stem)
        if match:
            numbers.setdefault((path.parent, int(match[2])), set()).add(int(match[1]))
    for (folder, total), found in numbers.items():
        missing = [f"{number:05}" for number in range(min(total, 10_000)) if number not in found]
        if missing:
            told = list_few(missing)
            log.warning("%s: %d of %d files are missing in %s: %s", name, len(missing), total, folder, told)


def _row_groups(shards: Sequence[Path], name: str, limit: int) -> list[_RowGroup]:
    """Return the row groups of files, not more than hold the first `limit` rows if that is not 0."""
    groups: list[_RowGroup] = []
    rows = 0
    for path in shards:
        if limit and rows >= limit:
            break
        with _opened(path, name) as file:
            counts = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
        for number, count in enumerate(counts):
            if not limit or rows < limit:
                groups.append(_RowGroup(path, number, count))
            rows += count
    if not groups:
        raise DataError(f"{name}: holds no lines")
    return groups


@contextmanager
def _opened(path: Path, name: str) -> Iterator[Any]:
    """Open a parquet file; errors of reading it within the context name it.

    Raises:
        DataError: If it is damaged or cannot be read.
    """
    arrow, parquet = require("pyarrow", "data"), require("pyarrow.parquet", "data")
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (OSError, arrow.ArrowException) as error:
        raise DataError(
            f"{name}: {path} cannot be read as parquet: {error}", hint="the file is damaged: download it again"
        ) from error


@contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # the hub client raises dozens of unrelated types; the cause is kept
        raise DataError(
            f"{name}: cannot be loaded from the Hugging Face hub: {error}",
            hint="check the name, the split and the network, or give a local folder of parquet files",
        ) from error


def _warn_unpinned(name: str, commit: str) -> None:
    known = re.fullmatch("[0-9a-f]{40}", commit) is not None
    log.warning(
        "%s: no revision is named, so the data may change between two runs%s",
        name,
        f"; this is ?revision={commit}" if known else "",
    )


def _undecoded(dataset: Any, spec: DataSpec, name: str) -> Any:
    """Keep the columns that are read, images as stored.

    Raises:
        DataError: If a column is missing.
    """
    columns, found = Columns.of(spec), list(dataset.column_names or next(iter(dataset), ()))
    columns.check(name, found, spec)
    image = require("datasets", "data").Image(decode=False)
    return dataset.select_columns(_roles(columns, found)).cast_column(columns.image, image)


def _batches(stream: Any, spec: DataSpec, name: str, limit: int) -> Iterator[Any]:
    """Take the first `limit` rows of a stream, or all if that is 0, as Arrow tables."""
    size, rows = min(limit or _BATCH, _BATCH), 0
    # Not by the library's own `take`, which opens the file after the last one needed.
    for table in _undecoded(stream, spec, name).with_format("arrow").iter(batch_size=size):
        yield table.slice(0, limit - rows if limit else None)
        rows += table.num_rows
        if limit and rows >= limit:
            return


def _spool(tables: Iterator[Any], name: str) -> Any:
    """Pass tables into a temporary file and return it as one, memory-mapped.

    The file has no name any more when this returns, and goes when the table does (on Windows, which does not
    allow that, it stays in the folder for temporary files).

    Raises:
        DataError: If there are no tables.
    """
    arrow = require("pyarrow", "data")
    first = next(tables, None)
    if first is None:
        raise DataError(f"{name}: holds no lines")
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = str(Path(folder) / "lines.arrow")
        with arrow.OSFile(path, "wb") as sink, arrow.ipc.new_file(sink, first.schema) as writer:
            for table in chain([first], tables):
                writer.write_table(table)
        return arrow.ipc.open_file(arrow.memory_map(path)).read_all()
