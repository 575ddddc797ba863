"""The rows of the data set: one a page, with its lines nested in it."""

import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quillread.batch.cluster.tasks import Item
from quillread.errors import DataError, Fault
from quillread.extras import require
from quillread.types import Line, Page

_OWN = (
    "id", "source", "page", "label", "width", "height", "text", "lines", "confidence", "expected_cer", "language",
    "model", "version", "seconds", "fault", "notes",
)  # fmt: skip
"""Columns of ours, in order; `block` is the partition."""
_RESERVED = {*_OWN, "block"}


def column_names(types: Mapping[str, str]) -> dict[str, str]:
    """How the data set calls the columns of the user's tables: one that has the name of one of ours gets `given_`."""
    names: dict[str, str] = {}
    for name in types:
        own = f"given_{name}" if name in _RESERVED else name
        while own in names.values() or (own != name and own in types):
            own = f"given_{own}"
        names[name] = own
    return names


def schema_of(types: Mapping[str, str]) -> Any:
    """The arrow schema of the data set.

    Args:
        types: Of the columns of the user's tables, as `Table.types` names them.
    """
    pa = require("pyarrow", "ray")
    point = pa.struct([("x", pa.float32()), ("y", pa.float32())])
    box = pa.struct([(side, pa.float32()) for side in ("x0", "y0", "x1", "y1")])
    line = pa.struct(
        [
            ("text", pa.string()),
            ("confidence", pa.float32()),
            ("expected_cer", pa.float32()),
            ("box", box),
            ("baseline", pa.list_(point)),
            ("polygon", pa.list_(point)),
            ("printed", pa.bool_()),
        ]
    )
    fault = pa.struct([(name, pa.string()) for name in ("kind", "message", "hint")])
    kinds = {
        "page": pa.int32(), "width": pa.int32(), "height": pa.int32(), "lines": pa.list_(line),
        "confidence": pa.float32(), "expected_cer": pa.float32(), "language": pa.list_(pa.string()),
        "seconds": pa.float32(), "fault": fault, "notes": pa.list_(pa.string()),
    }  # fmt: skip
    fields = [(name, kinds.get(name, pa.string())) for name in _OWN]
    own = column_names(types)
    return pa.schema(
        fields + [(own[name], getattr(pa, f"{kind}_" if kind == "bool" else kind)()) for name, kind in types.items()]
    )


class RowMaker:
    """Makes rows of pages.

    Args:
        provenance: Of the reading.
        types: Of the user's columns.
    """

    def __init__(self, provenance: Mapping[str, Any], types: Mapping[str, str]) -> None:
        self._names = column_names(types)
        self._facts = {
            "language": [language["name"] for language in provenance["languages"]],
            # One of them reads a page, and none one that cannot be read; several that vote are all named.
            "model": None if "models_use" in provenance else "+".join(m["name"] for m in provenance["models"]),
            "version": provenance["version"],
        }

    def of_page(self, item: Item, page: Page, seconds: float) -> dict[str, Any]:
        """The row of a page; one that could not be read has its fault."""
        lines = [line for line in page.lines if line.transcript is not None]
        row = self._row(item, page.number, page.fault, seconds)
        row |= {"label": page.label or None, "width": page.width, "height": page.height, "text": page.text}
        row |= {"lines": list(map(_line, page.lines)), "notes": list(page.notes)}
        row |= {"model": page.model} if page.model else {}
        row |= {"confidence": _mean_confidence(lines), "expected_cer": expected_cer(lines)}
        return _row_of(row)

    def of_input(self, item: Item, fault: Fault) -> dict[str, Any]:
        """The row of an input that cannot be opened: nobody knows its pages."""
        return _row_of(self._row(item, None, fault, 0.0) | {"text": "", "lines": [], "notes": []})

    def _row(self, item: Item, number: int | None, fault: Fault | None, seconds: float) -> dict[str, Any]:
        row: dict[str, Any] = {"id": item.page_id(number), "source": item.name, "page": number, "seconds": seconds}
        row["fault"] = fault and {"kind": fault.kind, "message": fault.message, "hint": fault.hint}
        return row | self._facts | {own: item.columns.get(name) for name, own in self._names.items()}


def expected_cer(lines: Iterable[Line]) -> float | None:
    """The character error rate to expect of lines together; None if nothing is known of one of them."""
    expected = length = 0.0
    for line in lines:
        read = line.transcript
        if read is None or read.expected_error is None:
            return None
        weight = max(len(read.text), 1)
        expected, length = expected + weight * read.expected_error, length + weight
    return expected / length if length else None


def _mean_confidence(lines: Sequence[Line]) -> float | None:
    found = [line.transcript.confidence for line in lines if line.transcript]
    return sum(found) / len(found) if found else None


def _line(line: Line) -> dict[str, Any]:
    read, box = line.transcript, line.polygon.bounds
    return {
        "text": read.text if read else "",
        "confidence": read.confidence if read else None,
        "expected_cer": read.expected_error if read else None,
        "box": {"x0": box.x0, "y0": box.y0, "x1": box.x1, "y1": box.y1},
        "baseline": [{"x": x, "y": y} for x, y in line.baseline],
        "polygon": [{"x": x, "y": y} for x, y in line.polygon.points],
        "printed": line.printed,
    }


def _row_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: _storable(value) for name, value in row.items()}


def _storable(value: Any) -> Any:
    """The same with bytes of file names that are not text spelt out, as parquet holds nothing but text."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {name: _storable(part) for name, part in value.items()}
    return [_storable(part) for part in value] if isinstance(value, list) else value


def to_parquet(rows: Sequence[Mapping[str, Any]], schema: Any) -> bytes:
    """A part of the data set."""
    file = io.BytesIO()
    table = require("pyarrow", "ray").Table.from_pylist(list(rows), schema=schema)
    require("pyarrow.parquet", "ray").write_table(table, file, compression="zstd")
    return file.getvalue()


def from_parquet(content: bytes, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a part, with some of their columns or all.

    Raises:
        DataError: If it is damaged.
    """
    pyarrow, parquet = require("pyarrow", "ray"), require("pyarrow.parquet", "ray")
    try:
        table = parquet.read_table(io.BytesIO(content), columns=None if columns is None else list(columns))
        rows: list[dict[str, Any]] = table.to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(f"it is damaged: {' '.join(str(error).split())}") from error
    return rows
