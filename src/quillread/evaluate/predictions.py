"""Predictions beside their references, kept as JSON lines: what `compare` and the report start from."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from quillread.errors import DataError
from quillread.files import write_text


@dataclass(frozen=True, slots=True)
class Prediction:
    """What was written on a line and what was read from it."""

    id: str
    """Unique within a set of predictions."""
    group: str
    """Writer or document; empty if unknown."""
    reference: str
    text: str
    """What the recogniser read."""
    confidence: float
    """Probability that `text` is exactly right, 0 to 1."""


_FIELDS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "group": (str,),
    "reference": (str,),
    "text": (str,),
    "confidence": (int, float),
}


def write_predictions(path: Path, rows: Iterable[Prediction]) -> None:
    """Write one JSON object {id, group, reference, text, confidence} per line, UTF-8; all or nothing.

    Raises:
        OutputError: If the file cannot be written; a file that stood there before is then left as it was.
    """
    write_text(path, "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))


def read_predictions(path: Path) -> list[Prediction]:
    """Read a file of `write_predictions`.

    Raises:
        DataError: If it cannot be read, is empty, or has a row of another form or a repeated id; names the
            line.
    """
    rows: list[Prediction] = []
    seen: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                row = _parse(line, f"{path}, line {number}")
                if row.id in seen:
                    raise DataError(f"{path}, line {number}: id {row.id!r} stands in line {seen[row.id]} already")
                seen[row.id] = number
                rows.append(row)
    except OSError as error:
        hint = "check the path and its permissions"
        raise DataError(f"{path}: cannot be read: {error.strerror or error}", hint=hint) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read as predictions: {error}") from error
    if not rows:
        raise DataError(f"{path}: holds no predictions", hint="write one with: quill evaluate --predictions FILE")
    return rows


def _parse(line: str, where: str) -> Prediction:
    try:
        row: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}: not a JSON object: {error}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object with {', '.join(_FIELDS)}, got {row!r:.60}")
    if row.keys() != _FIELDS.keys():
        raise DataError(f"{where}: expected exactly the keys {', '.join(_FIELDS)}, got {', '.join(row) or 'none'}")
    for name, kinds in _FIELDS.items():
        if type(row[name]) not in kinds:
            raise DataError(f"{where}: {name!r} must be {kinds[-1].__name__}, got {row[name]!r:.60}")
    if not 0 <= row["confidence"] <= 1:
        raise DataError(f"{where}: 'confidence' must lie in 0 to 1, got {row['confidence']!r}")
    return Prediction(**{**row, "confidence": float(row["confidence"])})
