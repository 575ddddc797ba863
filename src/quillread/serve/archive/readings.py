"""Putting into a page what a machine has read on it, or a file says of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import case, delete, func, insert, select, update
from sqlalchemy.orm import Session

from quillread import types
from quillread.serve.archive.events import tell
from quillread.serve.archive.geometry import lies_in
from quillread.serve.archive.indexing import index_lines
from quillread.serve.archive.layouts import NOT_TEXT, is_ignored, live_lines, place_of, regions_around
from quillread.serve.archive.matching import match_lines
from quillread.serve.database.base import now
from quillread.serve.database.readings import pack_points, pack_reading
from quillread.serve.database.schema import Document, Line, LineVersion, Page, Region
from quillread.types import Transcript

DOUBTFUL = 0.5
"""Lines of less confidence that nobody has checked count as doubtful."""


def apply_reading(
    session: Session,
    page: Page,
    read: types.Page,
    provenance: Mapping[str, Any],
    fingerprint: str,
    line_ids: Sequence[int] | None = None,
) -> None:
    """Put what a machine has read into a page, and tell of it.

    A text of a person or an import stays, whatever was read: the reading is a version below it. Doing it twice is as
    doing it once.

    Args:
        session: That changes the archive.
        page: As it was found; its row is locked here.
        read: What was read, without fault.
        provenance: Of the reading.
        fingerprint: Of the options and models.
        line_ids: Of the lines that were read along, in the order of `read.lines`; the layout stays, and lines that
            were deleted or moved meanwhile are skipped. None: lines were found. Then those that a person or an import
            has placed or given a text stay where they are; others become those that were found, or go.
            Those that were found in pictures and regions to ignore are dropped, but not in regions of text in these.
    """
    session.refresh(page, with_for_update=True)
    document = session.get_one(Document, page.document_id)
    rows = live_lines(session, page.id)
    known = _histories(session, rows)
    partial = False
    if line_ids is None:
        texts = _replace_layout(session, page, read, rows, known)
        page.version += 1
        page.drawn = any(row.drawn or known[row.id].is_own for row in rows)
    else:
        texts = _along(rows, read, line_ids)
        ignored = set(session.scalars(select(Line.id).where(Line.page_id == page.id, is_ignored())))
        partial = not set(line_ids).issuperset({row.id for row in rows} - ignored)
    author = str(provenance.get("model", ""))[:200]
    _add_readings(session, texts, known, author, fingerprint)
    changed = [(row, read) for row, read in texts if not _history(known, row).counts]
    index_lines(session, document, [(row.id, row.text, _others(read)) for row, read in changed])
    if not partial or page.state != "waiting":
        page.state, page.fault = "read", None
    if not partial:
        page.notes, page.provenance = list(read.notes), dict(provenance)
    recount(session, page)
    told = {"lines": page.line_count, "doubtful": page.doubtful_count}
    tell(session, "page.read", document.collection_id, page=page.id, document=document.id, **told)


def add_import(session: Session, page: Page, known: types.Page, author: str, user_id: int | None = None) -> None:
    """Put what a PAGE or ALTO file says into a page that has no lines: layout, ids, and texts as versions.

    Args:
        session: That changes the archive.
        page: With its id.
        known: What the file says, in pixels of the page.
        author: Name of the file.
        user_id: Who has brought it.
    """
    document = session.get_one(Document, page.document_id)
    # Other programs tell less finely what a region is: where lines are known, there is text.
    known = replace(known, regions=tuple(region for region in known.regions if region.lines))
    said = [replace(r, kind="text") if r.kind in NOT_TEXT else r for r in known.regions]
    regions = [_region(page, region, position) for position, region in enumerate(said)]
    session.add_all(regions)
    session.flush()
    rows: list[Line] = []
    for region, place in zip(known.regions, regions, strict=True):
        for line in region.lines:
            rows.append(_line(page, line, region_id=place.id, position=len(rows), drawn=True))
    session.add_all(rows)
    session.flush()
    texts = [line.transcript.text if line.transcript else "" for line in known.lines]
    versions = [
        LineVersion(line_id=row.id, number=1, kind="import", author=author[:200], user_id=user_id, text=text)
        for row, text in zip(rows, texts, strict=True)
        if text
    ]
    session.add_all(versions)
    session.flush()
    by_line = {version.line_id: version for version in versions}
    for row in rows:
        if version := by_line.get(row.id):
            row.text, row.current_id = version.text, version.id
    session.flush()
    index_lines(session, document, [(row.id, row.text, ()) for row in rows])
    page.version += 1
    page.drawn = page.drawn or bool(rows)
    recount(session, page)


def recount(session: Session, page: Page) -> None:
    """Count the lines of a page anew, without those in pictures and regions to ignore."""
    session.flush()
    doubtful = Line.confidence < DOUBTFUL
    counts = select(
        func.count(Line.id),
        func.coalesce(func.sum(case((Line.checked, 1), else_=0)), 0),
        func.coalesce(func.sum(case((~Line.checked & doubtful, 1), else_=0)), 0),
    ).where(Line.page_id == page.id, Line.deleted.is_(None), ~is_ignored())
    page.line_count, page.checked_count, page.doubtful_count = session.execute(counts).one()


@dataclass(slots=True)
class _History:
    """What is known of the versions of a line."""

    last: int = 0
    """Number of the last version."""
    is_own: bool = False
    """Whether there is one of a person or an import."""
    counts: bool = False
    """Whether the one that counts is such a one: they may have chosen what a machine has read."""
    machine: tuple[int, str, str] | None = None
    """Id, text and fingerprint of the last version of a machine."""


def _histories(session: Session, rows: Sequence[Line]) -> dict[int, _History]:
    columns = (LineVersion.line_id, LineVersion.id, LineVersion.kind, LineVersion.text, LineVersion.fingerprint)
    known, current = {row.id: _History() for row in rows}, {row.current_id for row in rows}
    chosen = select(*columns, LineVersion.number).where(LineVersion.line_id.in_(known)).order_by(LineVersion.number)
    for line_id, id, kind, text, fingerprint, number in session.execute(chosen):
        history = known[line_id]
        history.last = number
        if kind == "machine":
            history.machine = (id, text, fingerprint)
        else:
            history.is_own = True
            history.counts = history.counts or id in current
    return known


def _history(known: Mapping[int, _History], row: Line) -> _History:
    return known.get(row.id) or _History()


@dataclass(slots=True)
class _Found:
    """A region as it was found, with the rows of its lines."""

    region: types.Region
    rows: list[Line] = field(default_factory=list)


def _along(rows: Sequence[Line], read: types.Page, line_ids: Sequence[int]) -> list[tuple[Line, Transcript | None]]:
    """The lines that were read, but for those that have gone or moved meanwhile: they are read again."""
    by_id = {row.id: row for row in rows}
    return [
        (by_id[id], line.transcript)
        for id, line in zip(line_ids, read.lines, strict=True)
        if id in by_id and pack_points(place_of(by_id[id]).baseline) == pack_points(line.baseline)
    ]


def _replace_layout(
    session: Session, page: Page, read: types.Page, rows: list[Line], known: Mapping[int, _History]
) -> list[tuple[Line, Transcript | None]]:
    """Give a page the lines that were found, but leave those of people and imports where they are.

    Returns:
        The lines that were read, new and old, with what was read in them.
    """
    stays = [row.drawn or known[row.id].is_own for row in rows]
    places = _Places(session, page, rows)
    matches = match_lines(read.lines, [place_of(row) for row in rows], stays)
    number, texts, regions = 0, list[tuple[Line, Transcript | None]](), list[_Found]()
    for region in read.regions:
        found = _Found(region)
        for line in region.lines:
            old = matches.same.get(number)
            row = None if old is None else rows[old]
            in_picture, is_text, region_id = places.find(line, row)
            if number not in matches.covered and is_text:
                row = row or _line(page, line)
                if old is not None and not stays[old]:
                    _move(row, line)
                if in_picture:
                    row.region_id = region_id
                else:
                    found.rows.append(row)
                texts.append((row, line.transcript))
            number += 1
        regions.append(found)
    kept = {row.id for row, stay in zip(rows, stays, strict=True) if stay}
    _place_regions(session, page, regions, kept)
    session.add_all(row for row, _ in texts)
    ordered = _order([row for row, _ in texts], rows, kept)
    gone = {row.id for row in rows} - {row.id for row in ordered if row.id is not None}
    session.flush()
    if gone:
        session.execute(delete(Line).where(Line.id.in_(gone)))
    for position, row in enumerate(ordered):
        row.position = position
    session.flush()
    _drop_empty(session, {row.region_id for row in rows if row.id in gone} | {row.region_id for row in ordered})
    return texts


class _Places:
    """The regions of a page that say whether a line found on it is text: pictures, and regions of text in them."""

    def __init__(self, session: Session, page: Page, rows: Sequence[Line]) -> None:
        full = {row.region_id for row in rows}
        regions = session.scalars(select(Region).where(Region.page_id == page.id)).all()
        self._pictures = {region.id: region for region in regions if region.kind in NOT_TEXT}
        # a region that a picture has taken all lines from is what was found before a person said what it is
        self._all = [region for region in regions if region.id in self._pictures or region.id in full]

    def find(self, line: types.Line, row: Line | None) -> tuple[bool, bool, int | None]:
        """Find where a line lies.

        Args:
            line: As it was found.
            row: The line of the page that it is; one that has been put into a region of text stays there.

        Returns:
            Whether it lies in a picture; whether it is text; and if both, the region that it belongs to.
        """
        if not any(lies_in(line, region.polygon) for region in self._pictures.values()):
            return False, True, None
        if row is not None and row.region_id not in self._pictures:
            return True, True, row.region_id
        inner = regions_around(self._all, line)[0]
        return True, inner.id not in self._pictures, inner.id


def _place_regions(session: Session, page: Page, regions: Sequence[_Found], kept: set[int]) -> None:
    """Give lines that were found outside pictures their regions: those of text that they have had, or new ones."""
    chosen = select(Region).where(Region.page_id == page.id, Region.kind.not_in(NOT_TEXT))
    old = {region.id: region for region in session.scalars(chosen)}
    fixed = {row.region_id for found in regions for row in found.rows if row.id in kept}
    taken: set[int] = set()
    for position, found in enumerate(found for found in regions if found.rows):
        before = [row.region_id for row in found.rows if row.region_id in old and row.region_id not in taken]
        before.sort(key=lambda id: id not in fixed)
        if before and before[0] is not None:
            region = old[before[0]]
            if region.id not in fixed:
                region.polygon = pack_points(found.region.polygon.points)
        else:
            region = _region(page, found.region, position)
            session.add(region)
            session.flush()
        region.position = position
        taken.add(region.id)
        for row in found.rows:
            if row.id not in kept or row.region_id not in old:
                row.region_id = region.id


def _drop_empty(session: Session, ids: Iterable[int | None]) -> None:
    """Delete those of some regions that hold no line; regions without lines before are not its concern."""
    chosen = {id for id in ids if id is not None}
    full = select(Line.region_id).where(Line.region_id.in_(chosen))
    empty = delete(Region).where(Region.id.in_(chosen), Region.id.not_in(full), Region.kind.not_in(NOT_TEXT))
    session.execute(empty)


def _order(found: list[Line], rows: Sequence[Line], kept: set[int]) -> list[Line]:
    """The reading order: as found, with each line that stays and was not found after the one that it followed."""
    ordered = [*found]
    there = {id(row) for row in found}
    before: Line | None = None
    for row in rows:
        if id(row) not in there:
            if row.id not in kept:
                continue
            ordered.insert(0 if before is None else ordered.index(before) + 1, row)
        before = row
    return ordered


def _region(page: Page, region: types.Region, position: int) -> Region:
    polygon = pack_points(region.polygon.points)
    name = region.id and region.id[:200]
    return Region(page_id=page.id, position=position, kind=region.kind, polygon=polygon, xml_id=name)


def _line(page: Page, line: types.Line, **facts: Any) -> Line:
    row = Line(page_id=page.id, xml_id=line.id and line.id[:200], **facts)
    _move(row, line)
    return row


def _move(row: Line, line: types.Line) -> None:
    row.baseline, row.polygon = pack_points(line.baseline), pack_points(line.polygon.points)
    row.printed = line.printed


def _add_readings(
    session: Session,
    texts: Sequence[tuple[Line, Transcript | None]],
    known: Mapping[int, _History],
    author: str,
    fingerprint: str,
) -> None:
    """Note what was read in lines, and make it their text where nobody has written one."""
    session.flush()
    time = now()
    new: list[tuple[Line, dict[str, Any]]] = []
    again: list[dict[str, Any]] = []
    for row, read in texts:
        if read is None:
            continue
        history = _history(known, row)
        sure = round(read.confidence, 4)
        values: dict[str, Any] = {"confidence": sure, "reading": pack_reading(read), "created": time}
        if fingerprint and history.machine and history.machine[1:] == (read.text, fingerprint):
            again.append({"id": history.machine[0], **values})
        else:
            values |= {"line_id": row.id, "number": history.last + 1, "kind": "machine", "author": author}
            new.append((row, {"text": read.text, "fingerprint": fingerprint, **values}))
        if not history.counts:
            row.text, row.confidence = read.text, sure
            if row.id in known:  # one without a text, too: whoever shows it has to know that it is another now
                row.revision += 1
    if again:
        session.execute(update(LineVersion), again)
    if new:
        added = insert(LineVersion).returning(LineVersion.id, sort_by_parameter_order=True)
        ids = session.scalars(added, [values for _, values in new])
        for (row, _), id in zip(new, ids, strict=True):
            if not _history(known, row).counts:
                row.current_id = id


def _others(read: Transcript | None) -> tuple[str, ...]:
    return tuple(other.text for other in read.alternatives) if read else ()
