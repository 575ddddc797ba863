"""What a machine has read in a line, as it is kept in the database: `LineVersion.reading`.

Keys, each only where there is something to say: `words` (each `[text, confidence, [x, y, x, y, ...]]`, in pixels of the
page), `alternatives` (each `[text, confidence]`), `expected_error`, `raw_text` with `changes` (each
`[start, before, after, reason]`), `rows`. Characters are not kept: they would be most of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from quillread.types import Alternative, Change, Point, Polygon, Transcript, Word


def pack_reading(read: Transcript) -> dict[str, Any]:
    """Make plain data of what was read, but for the text and its confidence, which have columns of their own."""
    data: dict[str, Any] = {}
    if read.words:
        data["words"] = [[word.text, round(word.confidence, 4), _flat(word.polygon.points)] for word in read.words]
    if read.alternatives:
        data["alternatives"] = [[other.text, round(other.confidence, 4)] for other in read.alternatives]
    if read.expected_error is not None:
        data["expected_error"] = round(read.expected_error, 4)
    if read.raw_text is not None:
        data["raw_text"] = read.raw_text
        data["changes"] = [[change.start, change.before, change.after, change.reason] for change in read.changes]
    if read.rows > 1:
        data["rows"] = read.rows
    return data


def unpack_reading(text: str, confidence: float | None, data: Mapping[str, Any]) -> Transcript:
    """Make a transcript of a text, its confidence and what `pack_reading` made."""
    return Transcript(
        text,
        confidence or 0.0,
        words=tuple(Word(word, sure, Polygon(_paired(place))) for word, sure, place in data.get("words", ())),
        alternatives=tuple(Alternative(other, sure) for other, sure in data.get("alternatives", ())),
        expected_error=data.get("expected_error"),
        raw_text=data.get("raw_text"),
        changes=tuple(Change(*change) for change in data.get("changes", ())),
        rows=data.get("rows", 1),
    )


def pack_points(points: Iterable[Point]) -> list[list[float]]:
    """Make plain data of a baseline or an outline, in tenths of a pixel."""
    return [[round(float(x), 1), round(float(y), 1)] for x, y in points]


def unpack_points(data: Iterable[Sequence[float]]) -> tuple[Point, ...]:
    """Make points of what `pack_points` made."""
    return tuple((float(x), float(y)) for x, y in data)


def _flat(points: Iterable[Point]) -> list[float]:
    return [round(float(value), 1) for point in points for value in point]


def _paired(values: Sequence[float]) -> tuple[Point, ...]:
    return tuple(zip(map(float, values[::2]), map(float, values[1::2]), strict=True))
