"""Tables of addresses: text, CSV, JSONL and parquet, read row by row."""

import csv
import io
import itertools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from quillread.batch.cluster.store import ending_of, open_patiently, reason_of
from quillread.config import suggest
from quillread.data.tables import find_delimiter, find_encoding, holds_row
from quillread.errors import DataError, UsageError
from quillread.extras import require

log = logging.getLogger(__name__)

TABLES = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")
"""Endings of the names of tables."""
_USUAL = ("address", "url", "uri", "path", "image", "file", "filename", "source")
"""Columns that hold the addresses where nobody says which does, in any case of letters."""
_LOOKED_AT = 1000
"""Lines of JSON that say which columns there are."""
_ROWS = 1024

Row = tuple[str | None, dict[str, Any]]
"""An address, None if there is none, and the other columns."""


class Table:
    """A table of addresses, of which a few rows are in memory at a time.

    Args:
        address: Where it is.
        column: Which of its columns holds the addresses; found by its name if not given.

    Attributes:
        types: Of its other columns: "string", "int64", "double" or "bool". CSV has strings; what is nested in JSON or
            parquet becomes JSON.

    Raises:
        DataError: If it cannot be read.
        UsageError: If it has no such column.
    """

    def __init__(self, address: str, column: str | None = None) -> None:
        self._address = address
        self._kind = ending_of(address)
        self._encoding, self._delimiter, self._is_told = "utf-8-sig", "\t", False
        try:
            types = self._find_types()
        except (OSError, ValueError, UnicodeError, csv.Error) as error:
            raise DataError(f"{address}: cannot be read: {reason_of(error)}", hint="check it") from error
        self._column = self._choose(column, list(types))
        self.types = {name: kind for name, kind in types.items() if name != self._column}

    def rows(self) -> Iterator[Row]:
        """The rows, in order; empty lines are skipped.

        Raises:
            DataError: At the end, if some are damaged, which are skipped; or if what follows cannot be read.
        """
        errors: list[DataError] = []
        try:
            for number, values in enumerate(self._values(), 1):
                if isinstance(values, DataError):
                    errors.append(values)
                    continue
                address = values.get(self._column)
                others = {name: self._fitted(values.get(name), kind) for name, kind in self.types.items()}
                if unknown := values.keys() - self.types.keys() - {self._column}:
                    name = sorted(map(str, unknown))[0]
                    hint = f"name every column in the first {_LOOKED_AT} rows, as null where it is empty"
                    message = f"{self._address}, row {number}: has a column {name!r} of its own"
                    errors.append(DataError(message, hint=hint))
                    continue
                yield (str(address) if address else None), others
        except (OSError, ValueError, UnicodeError, csv.Error) as error:
            raise DataError(f"{self._address}: cannot be read: {reason_of(error)}", hint="check it") from error
        raise_first(errors)

    def _choose(self, column: str | None, names: Sequence[str]) -> str:
        if column is None:
            column = next((name for usual in _USUAL for name in names if name.lower() == usual), None)
            column = names[0] if column is None and len(names) == 1 else column
            if column is None:
                message = f"{self._address}: none of its columns ({', '.join(names)}) has a name that says address"
                raise UsageError(message, hint="name the one with --column")
        if column not in names:
            message = f"{self._address}: has no column {column!r}{suggest(column, names)}"
            raise UsageError(message, hint=f"it has {', '.join(names)}")
        return column

    def _find_types(self) -> dict[str, str]:
        if self._kind == ".parquet":
            with open_patiently(self._address) as file:
                schema = require("pyarrow.parquet", "ray").ParquetFile(file).schema_arrow
                return {field.name: _type_of(field.type) for field in schema}
        with open_patiently(self._address) as file:
            self._encoding = find_encoding(file.read(2))
        if self._kind == ".txt":
            return {"address": "string"}
        if self._kind == ".jsonl":
            first = list(itertools.islice(self._values(), _LOOKED_AT))
            raise_first([values for values in first if isinstance(values, DataError)])
            return dict.fromkeys((name for values in first for name in values), "string")  # type: ignore[union-attr]
        with self._text() as text:
            if self._kind == ".csv":
                self._delimiter, self._is_told = find_delimiter(text.readline().rstrip("\r\n"))
        with self._text() as text:
            self._skip_told(text)
            names = next(csv.reader(text, delimiter=self._delimiter, strict=True), None)
        if not names:
            raise DataError(f"{self._address}: is empty", hint="its first line names the columns")
        return dict.fromkeys(names, "string")

    def _text(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(open_patiently(self._address), encoding=self._encoding, newline="")

    def _skip_told(self, text: io.TextIOWrapper) -> None:
        """Skip the row that tells Excel what parts the cells."""
        if self._is_told:
            text.readline()

    def _values(self) -> Iterator[Mapping[str, Any] | DataError]:
        """The cells of each row by column, or what is wrong with it."""
        if self._kind == ".parquet":
            with open_patiently(self._address) as file:
                for batch in require("pyarrow.parquet", "ray").ParquetFile(file).iter_batches(_ROWS):
                    yield from batch.to_pylist()
            return
        with self._text() as text:
            if self._kind in (".csv", ".tsv"):
                self._skip_told(text)
                yield from self._rows_of(text)
                return
            for line in filter(None, map(str.strip, text)):
                yield {"address": line} if self._kind == ".txt" else self._object(line)

    def _rows_of(self, text: Iterable[str]) -> Iterator[Mapping[str, Any] | DataError]:
        """The rows of a CSV or TSV, up to one of which nothing tells where it ends: what follows may be part of it."""
        reader = csv.reader(text, delimiter=self._delimiter, strict=True)
        names, number, skipped = next(reader, []), 0, int(self._is_told)
        line = skipped + reader.line_num + 1
        try:
            for cells in reader:
                number += bool(cells)
                if any(holds_row(cell, self._delimiter) for cell in cells):
                    raise csv.Error("it holds another row")
                if more := cells[len(names) :]:
                    message = f"has more cells than there are columns: {more}"
                    yield DataError(f"{self._address}, row {number}: {message}", hint="check its commas and quotes")
                elif cells:
                    yield dict(zip(names, cells, strict=False))
                line = skipped + reader.line_num + 1
        except csv.Error as error:
            message = "a quotation mark opens a cell and does not close it, or a cell is too long"
            hint = 'put a text with quotation marks between quotes, and double its own: """Come here," he said"'
            yield DataError(f"{self._address}, line {line}: {message}: {error}; no row below is read", hint=hint)

    def _object(self, line: str) -> dict[str, Any] | DataError:
        try:
            values = json.loads(line)
        except ValueError as error:
            return DataError(f"{self._address}: a line cannot be read: {error}: {line[:80]}", hint="check it")
        if not isinstance(values, dict):
            return DataError(f"{self._address}: holds a line that is not an object: {line[:80]}", hint="check it")
        return values

    def _fitted(self, value: Any, kind: str) -> Any:
        if value is None or kind != "string" or isinstance(value, str):
            return value
        if isinstance(value, bytes):
            return value.decode(errors="backslashreplace")
        is_json = isinstance(value, dict | list | bool)
        return json.dumps(value, ensure_ascii=False, default=str) if is_json else str(value)


def raise_first(errors: Sequence[DataError]) -> None:
    """Raise what was wrong with parts of a list, once the others are listed; each is told."""
    for error in errors[1:]:
        log.warning("%s", error)
    if errors:
        raise errors[0]


def _type_of(kind: Any) -> str:
    types = require("pyarrow", "ray").types
    if types.is_boolean(kind):
        return "bool"
    if types.is_integer(kind) and not types.is_uint64(kind):
        return "int64"
    return "double" if types.is_floating(kind) else "string"
