"""Lines split in two and merged into one; their texts go with them."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor
from quillread.serve.archive.geometry import ShapeError, cut
from quillread.serve.archive.indexing import index_states, unindex_lines
from quillread.serve.archive.layout import Changed, begin, check_room, check_version, end, shape_of, shift
from quillread.serve.archive.layouts import LineState, live_lines, load_lines
from quillread.serve.archive.lines import lock_line
from quillread.serve.archive.words import PlacedWord, is_leftward, read_words
from quillread.serve.database.base import now
from quillread.serve.database.readings import pack_reading, unpack_points
from quillread.serve.database.schema import Document, Line, LineVersion, Page
from quillread.serve.faults import NotFoundError, RequestError
from quillread.types import Point, Transcript, Word

_MOST_MERGED = 100
_BESIDE = 0.5
"""Part of the shorter of two lines that may lie beside the other when they are merged."""
_ENDS = 0.1
"""Part of a line at either end that its outline is joined with that of the next by."""
_SIDE = 2048
"""Pixels on the longer side of the picture in which outlines are joined."""


def split_line(
    session: Session, actor: Actor, line_id: int, version: int, axis: int, at: float, text_at: int | None = None
) -> Changed:
    """Split a line in two; the first in reading order stays the line that it was.

    Args:
        session: That changes the archive.
        actor: Whoever does.
        line_id: Of the line.
        version: Of the layout as they have seen it.
        axis: 0 to split at an x, 1 at a y.
        at: Where, in pixels of the page, between the ends of the baseline.
        text_at: Characters of the text that belong to the first; else words go where they stand.

    Raises:
        ConflictError: If the layout is another by now.
        ShapeError: If the baseline does not come by there.
    """
    row = lock_line(session, actor, line_id)
    page = session.get_one(Page, row.page_id)
    check_version(session, page, version)
    check_room(session, page)
    state = load_lines(session, [row])[0]
    if text_at is not None and text_at > len(row.text):
        raise RequestError(f"text_at: the text has {len(row.text)} characters, got {text_at}")
    baselines, sign = _split_baseline(unpack_points(row.baseline), axis, at)
    polygons = [cut(unpack_points(row.polygon), axis, at, side) for side in (-sign, sign)]
    order = (1, 0) if sign > 0 and axis == 0 and is_leftward(row.text) else (0, 1)
    shapes = [shape_of(page, [], baselines[i], polygons[i], drawn=False) for i in order]
    # On the first line's side of the split: the start of the baseline, unless the writing runs the other way.
    side = sign if order == (0, 1) else -sign
    texts, reads = _split_text(state, axis, at, side, text_at)
    session.flush()
    shift(session, page, row.position + 1)
    facts = {"region_id": row.region_id, "printed": row.printed, "position": row.position + 1}
    other = Line(page_id=page.id, drawn=True, **facts, **shapes[1])
    session.add(other)
    session.flush()
    for name, value in shapes[0].items():
        setattr(row, name, value)
    row.drawn = True
    for part, text, read in zip((row, other), texts, reads, strict=True):
        _write(session, actor, part, text, read, [state], is_new=part is other)
    return _finish(session, actor, page, "split", [row, other])


def merge_lines(session: Session, actor: Actor, page_id: int, version: int, line_ids: Sequence[int]) -> Changed:
    """Make one line of several that stand one after the other; the first stays the line that it was.

    The others can be taken back.

    Raises:
        ConflictError: If the layout is another by now.
        NotFoundError: If one is not a line of the page.
        ShapeError: If some stand above each other.
    """
    page, ids = begin(session, actor, page_id, version), set(line_ids)
    if not 2 <= len(ids) <= _MOST_MERGED:
        message = f"line_ids: 2 to {_MOST_MERGED} different lines can be merged, got {len(ids)}"
        raise RequestError(message, code="join-how-many", most=_MOST_MERGED)
    chosen = select(Line).where(Line.page_id == page.id, Line.id.in_(ids), Line.deleted.is_(None))
    rows = list(session.scalars(chosen))
    if missing := sorted(ids - {row.id for row in rows}):
        raise NotFoundError(f"page {page.id} has no line {missing[0]}", code="gone")
    along = _in_row(rows, [row.id for row in live_lines(session, page.id)])
    states = load_lines(session, _as_read(along))
    shape = shape_of(page, [], _join_baselines(along), _join_polygons(along), drawn=False)
    first, *others = [state.row for state in states]
    text, read = _join_text(states)
    for name, value in shape.items():
        setattr(first, name, value)
    first.drawn = True
    time = now()
    for row in others:
        row.deleted = time
    unindex_lines(session, [row.id for row in others])
    _write(session, actor, first, text, read, states)
    return _finish(session, actor, page, "merge", [first])


def _finish(session: Session, actor: Actor, page: Page, what: str, rows: Sequence[Line]) -> Changed:
    session.flush()
    states = load_lines(session, rows)
    index_states(session, session.get_one(Document, page.document_id), states)
    end(session, actor, page, what, lines=[row.id for row in rows])
    return Changed(page, states, to_read=[row.id for row in rows])


def _split_baseline(points: Sequence[Point], axis: int, at: float) -> tuple[list[list[Point]], float]:
    """The two parts of a baseline, and whether it rises (1) or falls (-1) along the axis where it is split."""
    for index, (a, b) in enumerate(pairwise(points)):
        if min(a[axis], b[axis]) < at < max(a[axis], b[axis]) or (b[axis] == at != a[axis] and index + 2 < len(points)):
            share = (at - a[axis]) / (b[axis] - a[axis])
            place = (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]))
            return [[*points[: index + 1], place], [place, *points[index + 1 :]]], math.copysign(1.0, b[axis] - a[axis])
    name, ends = "xy"[axis], sorted((points[0][axis], points[-1][axis]))
    message = f"{name} = {at:g} is not between the ends of the baseline, {ends[0]:g} and {ends[1]:g}"
    raise ShapeError(message, hint="a line that runs down the page is split at a y", code="split-off-line")


def _split_text(
    state: LineState, axis: int, at: float, side: float, text_at: int | None
) -> tuple[list[str], list[Transcript | None]]:
    """Texts and readings of the parts; `side` is 1 if the first lies before the split on the axis."""
    if text_at is None:
        text_at = _first_words(state.words, axis, at, side)
    text = state.row.text
    texts = [text[:text_at].strip(), text[text_at:].strip()]
    read = state.read
    if read is None:
        return texts, [None, None]
    words = read_words(read)
    read_at = text_at if read.text == text else _first_words(words, axis, at, side)
    parts = [word for word in words if word.start < read_at], [word for word in words if word.start >= read_at]
    pieces = read.text[:read_at].strip(), read.text[read_at:].strip()
    return texts, [_reading(piece, read, part) for piece, part in zip(pieces, parts, strict=True)]


def _first_words(words: Sequence[PlacedWord], axis: int, at: float, side: float) -> int:
    """Characters up to the first word whose middle lies beyond the split."""
    last = 0
    for word in words:
        middle = float(np.mean(word.polygon.points, axis=0)[axis])
        if side * (middle - at) > 0:
            break
        last = word.end
    return last


def _reading(text: str, read: Transcript, words: Sequence[PlacedWord]) -> Transcript:
    placed = tuple(Word(word.text, word.confidence, word.polygon) for word in words)
    return Transcript(text, read.confidence, placed, expected_error=read.expected_error)


def _join_text(states: Sequence[LineState]) -> tuple[str, Transcript | None]:
    """The text of lines one after the other, and what a machine has read in them."""
    text = " ".join(state.row.text for state in states if state.row.text)
    reads = [state.read for state in states if state.read is not None]
    if not reads:
        return text, None
    words = tuple(word for read in reads for word in read.words)
    sure = math.prod(read.confidence for read in reads)
    rates = [read.expected_error for read in reads if read.expected_error is not None]
    error = sum(rates) / len(rates) if rates else None
    return text, Transcript(" ".join(read.text for read in reads if read.text), sure, words, expected_error=error)


def _write(
    session: Session,
    actor: Actor,
    row: Line,
    text: str,
    read: Transcript | None,
    sources: Sequence[LineState],
    *,
    is_new: bool = False,
) -> None:
    """Give a line that was made of others its versions: of the machine, and of people where they have written."""
    last = session.scalar(select(func.max(LineVersion.number)).where(LineVersion.line_id == row.id)) or 0
    authors = [state.machine.author for state in sources if state.machine]
    own = [state.version for state in sources if state.version and state.version.kind != "machine"]
    versions: list[LineVersion] = []
    if read is not None:
        facts: dict[str, Any] = {"kind": "machine", "author": authors[0], "reading": pack_reading(read)}
        versions.append(LineVersion(line_id=row.id, text=read.text, confidence=round(read.confidence, 4), **facts))
    checked = bool(own) and all(state.row.checked or not state.row.text for state in sources)
    if own:
        is_import = all(version.kind == "import" for version in own)
        author = {"kind": "import", "author": own[0].author} if is_import else {"kind": "person", "author": actor.name}
        user = own[0].user_id if is_import else actor.user_id
        sure = 1.0 if checked else None
        versions.append(LineVersion(line_id=row.id, text=text, confidence=sure, user_id=user, **author))
    for version in versions:
        last += 1
        version.number = last
        session.add(version)
    session.flush()
    if not is_new:
        row.revision += 1
    if versions:
        row.text, row.checked, row.current_id = versions[-1].text, checked, versions[-1].id
        is_draft = versions[-1].kind == "person" and not checked
        row.confidence = versions[0 if is_draft else -1].confidence  # a draft stays as doubtful as its reading


def _in_row(rows: list[Line], order: list[int]) -> list[Line]:
    """Lines in the order in which they stand along the baseline of the first.

    Args:
        rows: The lines.
        order: Ids of all lines of the page, as they are read: people know lines by their place in it.
    """
    start, *_, stop = unpack_points(min(rows, key=lambda row: row.position).baseline)
    axis = 0 if abs(stop[0] - start[0]) >= abs(stop[1] - start[1]) else 1
    sign = math.copysign(1.0, stop[axis] - start[axis])
    reaches = {row.id: sorted(sign * point[axis] for point in row.baseline) for row in rows}
    along = sorted(rows, key=lambda row: (reaches[row.id][0], row.id))
    for before, after in pairwise(along):
        (a0, a1), (b0, b1) = ((reaches[row.id][0], reaches[row.id][-1]) for row in (before, after))
        if min(a1, b1) - max(a0, b0) > _BESIDE * min(a1 - a0, b1 - b0):
            first, second = sorted(order.index(row.id) + 1 for row in (before, after))
            raise ShapeError(
                f"lines {first} and {second} of the page stand one above the other: only lines in a row can be joined",
                hint="delete the one that is not needed",
                code="join-not-in-row",
                first=first,
                second=second,
                point=(float(after.baseline[0][0]), float(after.baseline[0][1])),
            )
    return along


def _as_read(along: list[Line]) -> list[Line]:
    """Lines in a row, in the order in which they are read."""
    return along[::-1] if is_leftward(" ".join(row.text for row in along)) else along


def _join_baselines(along: Sequence[Line]) -> list[Point]:
    points = list(unpack_points(along[0].baseline))
    way = np.subtract(along[-1].baseline[-1], along[0].baseline[0])
    for row in along[1:]:
        reached = max(float(np.dot(point, way)) for point in points)
        points += [point for point in unpack_points(row.baseline) if float(np.dot(point, way)) > reached]
    return points


def _join_polygons(along: Sequence[Line]) -> list[Point]:
    """The outline of lines in a row together: they are drawn, with what lies between their ends, and traced."""
    polygons = [np.array(row.polygon, np.float64) for row in along]
    way = np.subtract(along[-1].baseline[-1], along[0].baseline[0])
    points = np.vstack(polygons)
    low, high = points.min(axis=0), points.max(axis=0)
    scale = min(1.0, _SIDE / max(float((high - low).max()), 1.0))
    picture = np.zeros((np.ceil((high - low)[::-1] * scale).astype(int) + 1).tolist(), np.uint8)

    def drawn(shape: NDArray[np.float64]) -> NDArray[np.int32]:
        return np.asarray(np.round((shape - low) * scale), np.int32)

    for polygon in polygons:
        cv2.fillPoly(picture, [drawn(polygon)], 1)
    for before, after in pairwise(polygons):
        joint = np.vstack((_end(before, way), _end(after, -way)))
        cv2.fillConvexPoly(picture, cv2.convexHull(drawn(joint)), 1)
    rims, _ = cv2.findContours(picture, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    rim = cv2.approxPolyDP(max(rims, key=cv2.contourArea), 1.0, True)[:, 0]
    return [(float(x), float(y)) for x, y in (rim / scale + low).tolist()]


def _end(polygon: NDArray[np.float64], way: NDArray[np.float64]) -> NDArray[np.float64]:
    """The corners of the end of an outline in a direction, where it is cut off, too."""
    x, y = way / max(float(np.hypot(*way)), 1e-6)
    turn = np.array(((x, y), (-y, x)))
    level = polygon @ turn.T
    reach = level[:, 0].max() - _ENDS * float(np.ptp(level[:, 0]))
    part = cut([(a, b) for a, b in level.tolist()], 0, reach, 1.0)
    return np.array(part) @ turn
