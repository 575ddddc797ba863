"""Changes of a page's layout: lines drawn, moved, put in order, deleted and taken back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from quillread import types
from quillread.errors import ImageError
from quillread.formats.outlines import outline_lines
from quillread.formats.xml_io import rectangle
from quillread.images.crop import check_extent
from quillread.serve.access.actor import Actor
from quillread.serve.archive.events import audit, tell
from quillread.serve.archive.geometry import Shape, ShapeError, clip_polygon, fit_baseline, fit_polygon
from quillread.serve.archive.indexing import index_states, unindex_lines
from quillread.serve.archive.layouts import (
    LineState,
    hidden_lines,
    is_ignored,
    live_lines,
    load_lines,
    place_of,
    regions_around,
)
from quillread.serve.archive.lines import lock_line, lock_page
from quillread.serve.archive.pages import show_page
from quillread.serve.archive.readings import recount
from quillread.serve.database.base import now
from quillread.serve.database.readings import pack_points
from quillread.serve.database.schema import Document, Line, Page, Region
from quillread.serve.faults import ConflictError, NotFoundError, RequestError, TooLargeError
from quillread.types import Point, Polygon

_NEIGHBOURS = 100
"""Lines that tell how far apart lines stand where one is drawn."""


@dataclass(slots=True)
class Changed:
    """What a change of a layout has brought."""

    page: Page
    lines: list[LineState] = field(default_factory=list)
    """Those that are new or another."""
    regions: list[Region] = field(default_factory=list)
    to_read: list[int] = field(default_factory=list)
    """Lines that are to be read."""


def begin(session: Session, actor: Actor, page_id: int, version: int) -> Page:
    """Find a page whose layout is to be changed, and keep others from it meanwhile.

    Raises:
        ConflictError: If another has changed it since that version.
    """
    page = lock_page(session, actor, page_id)
    check_version(session, page, version)
    return page


def check_version(session: Session, page: Page, version: int) -> None:
    """Refuse a change of a layout that is another by now."""
    if page.version != version:
        raise ConflictError(
            f"the layout of page {page.id} has changed: it is at version {page.version}, not {version}",
            hint="look at its lines again",
            code="changed-meanwhile",
            current=show_page(session, page),
        )


def end(session: Session, actor: Actor, page: Page, what: str, **details: Any) -> None:
    """Count, note and tell a change of a layout."""
    page.version += 1
    page.drawn = True
    recount(session, page)
    document = session.get_one(Document, page.document_id)
    audit(session, actor, f"layout.{what}", document.collection_id, page=page.id, **details)
    tell(session, "layout.changed", document.collection_id, page=page.id, version=page.version, by=actor.name)


def add_line(
    session: Session, actor: Actor, page_id: int, version: int, baseline: Shape, given: Mapping[str, Any]
) -> Changed:
    """Draw a line.

    Args:
        session: That changes the archive.
        actor: Whoever draws it.
        page_id: Of the page.
        version: Of the layout as they have seen it.
        baseline: Cut to the page.
        given: Any of `polygon` (else a band along the baseline), `region_id` (else that of the region it lies in) and
            `position` (else after the line above it).

    Raises:
        ConflictError: If the layout is another by now.
        ShapeError: If baseline or polygon cannot be.
        TooLargeError: If the page has as many lines as it may.
    """
    page = begin(session, actor, page_id, version)
    check_room(session, page)
    rows = live_lines(session, page.id)
    row = Line(page_id=page.id, drawn=True, **shape_of(page, rows, baseline, given.get("polygon")))
    place = place_of(row)
    row.region_id = _region_of(
        session, page, given["region_id"] if "region_id" in given else region_around(session, place, page)
    )
    position = given.get("position")
    row.position = _free(session, page, _place_among(rows, place) if position is None else position)
    session.add(row)
    session.flush()
    end(session, actor, page, "add", line=row.id)
    return Changed(page, load_lines(session, [row]), to_read=[row.id])


def move_line(session: Session, actor: Actor, line_id: int, version: int, given: Mapping[str, Any]) -> Changed:
    """Draw a line anew, or put it elsewhere in the reading order or into another region.

    Args:
        session: That changes the archive.
        actor: Whoever does.
        line_id: Of the line.
        version: Of the layout as they have seen it.
        given: Any of `baseline`, `polygon` (of a new baseline without one: a band), `region_id`, `position`.

    Raises:
        ConflictError: If the layout is another by now.
        ShapeError: If baseline or polygon cannot be.
    """
    row = lock_line(session, actor, line_id)
    page = session.get_one(Page, row.page_id)
    check_version(session, page, version)
    changed = Changed(page)
    if given.get("baseline") is not None or given.get("polygon") is not None:
        others = [other for other in live_lines(session, page.id) if other.id != row.id]
        _draw(page, others, row, given.get("baseline"), given.get("polygon"))
        row.revision += 1
        row.drawn = True
        changed.to_read = [row.id]
    if "region_id" in given:
        hidden = hidden_lines(session, page.id)
        row.region_id = _region_of(session, page, given["region_id"])
        session.flush()
        if row.id in hidden - hidden_lines(session, page.id):
            changed.to_read = [row.id]
    if given.get("position") is not None:
        row.position = _free(session, page, given["position"])
    end(session, actor, page, "move", line=row.id)
    changed.lines = load_lines(session, [row])
    return changed


def delete_line(session: Session, actor: Actor, line_id: int, version: int) -> Changed:
    """Take a line off its page; it can be taken back."""
    row = lock_line(session, actor, line_id)
    page = session.get_one(Page, row.page_id)
    check_version(session, page, version)
    row.deleted = now()
    unindex_lines(session, [row.id])
    end(session, actor, page, "delete", line=row.id)
    return Changed(page)


def undelete_line(session: Session, actor: Actor, line_id: int, version: int) -> Changed:
    """Put a line back that was deleted, with its text."""
    row = lock_line(session, actor, line_id, deleted=True)
    page = session.get_one(Page, row.page_id)
    check_version(session, page, version)
    if row.deleted is not None:
        check_room(session, page)
        row.deleted = None
        row.revision += 1
        session.flush()
        index_states(session, session.get_one(Document, page.document_id), load_lines(session, [row]))
        end(session, actor, page, "undelete", line=row.id)
    # One that was deleted before it could be read is read now.
    return Changed(page, load_lines(session, [row]), to_read=[] if row.current_id else [row.id])


def order_lines(session: Session, actor: Actor, page_id: int, version: int, line_ids: Sequence[int]) -> Changed:
    """Put all lines of a page into an order.

    Raises:
        ConflictError: If the layout is another by now.
        RequestError: If these are not the lines of the page, each once.
    """
    page = begin(session, actor, page_id, version)
    rows = {row.id: row for row in live_lines(session, page.id)}
    if sorted(line_ids) != sorted(rows):
        missing, others = sorted(set(rows) - set(line_ids)), sorted(set(line_ids) - set(rows))
        raise RequestError(
            f"these are not the {len(rows)} lines of page {page.id}, each once",
            hint="send the ids of all lines in their order",
            missing=missing[:20],
            unknown=others[:20],
        )
    for position, id in enumerate(line_ids):
        rows[id].position = position
    end(session, actor, page, "order")
    return Changed(page)


def shape_of(
    page: Page, others: Sequence[Line], baseline: Shape, polygon: Shape | None, *, drawn: bool = True
) -> dict[str, Any]:
    """Baseline and outline of a line as columns, cut to the page.

    Args:
        page: Where it is.
        others: Lines of the page; if no outline is given, it is a band as high as they are apart.
        baseline: Of the line.
        polygon: Outline of the line.
        drawn: Whether someone has just drawn it: then a polygon that crosses itself, or has no area, is refused.
    """
    size = size_of(page)
    base = fit_baseline(baseline, size, strict=drawn)
    outline: tuple[Point, ...] = ()
    if polygon is not None:
        outline = fit_polygon(polygon, size) if drawn else clip_polygon([(x, y) for x, y in polygon], size)
    outline = outline or clip_polygon(_band(page, others, base), size)
    if not outline:
        message = "there is no room on the page above and below the baseline"
        raise ShapeError(message, code="shape-no-room", point=base[0])
    try:
        check_extent(types.Line(base, Polygon(outline)), *size)
    except ImageError as error:
        raise ShapeError(error.message, hint="draw it shorter", code="line-too-large") from error
    return {"baseline": pack_points(base), "polygon": pack_points(outline)}


def check_room(session: Session, page: Page, count: int = 1) -> None:
    """Refuse more lines than a page may have."""
    most = session.info["limits"].page_lines
    hidden = select(func.count(Line.id)).where(Line.page_id == page.id, Line.deleted.is_(None), is_ignored())
    lines = page.line_count + session.execute(hidden).scalar_one()
    if lines + count > most:
        message = f"page {page.id} has {lines:,} lines, and may have {most:,}"
        raise TooLargeError(message, code="most-lines", most=most)


def shift(session: Session, page: Page, position: int) -> None:
    """Make room in the reading order: lines from a position on come one later."""
    later = update(Line).where(Line.page_id == page.id, Line.position >= position)
    session.execute(later.values(position=Line.position + 1))


def size_of(page: Page) -> tuple[int, int]:
    """Width and height of a page on which something is drawn."""
    if not page.width or not page.height:
        raise RequestError(f"page {page.id} has no image, so nothing can be drawn on it", code="no-image")
    return page.width, page.height


def region_around(session: Session, line: types.Line, page: Page) -> int | None:
    """The smallest region that a line lies in."""
    found = regions_around(session.scalars(select(Region).where(Region.page_id == page.id)), line)
    return found[0].id if found else None


def _draw(page: Page, others: Sequence[Line], row: Line, baseline: Shape | None, polygon: Shape | None) -> None:
    if baseline is not None:
        row.baseline, row.polygon = shape_of(page, others, baseline, polygon).values()
    elif polygon is not None:
        row.polygon = pack_points(fit_polygon(polygon, size_of(page)))


def _free(session: Session, page: Page, position: int) -> int:
    session.flush()
    shift(session, page, position)
    return position


def _band(page: Page, others: Sequence[Line], baseline: tuple[Point, ...]) -> tuple[Point, ...]:
    middle = float(np.mean(baseline, axis=0)[1])
    near = sorted(others, key=lambda row: abs(row.baseline[0][1] - middle))[:_NEIGHBOURS]
    line = types.Line(baseline, Polygon(rectangle(baseline)))
    lines = (*map(place_of, near), line)
    known = types.Page("", 1, page.width, page.height, (types.Region(line.polygon, lines),))
    return outline_lines(known).lines[-1].polygon.points


def _region_of(session: Session, page: Page, region_id: int | None) -> int | None:
    if region_id is not None:
        region = session.get(Region, region_id)
        if region is None or region.page_id != page.id:
            raise NotFoundError(f"page {page.id} has no region {region_id}", code="gone")
    return region_id


def _place_among(rows: Sequence[Line], line: types.Line) -> int:
    """The position of a new line: after the nearest above it, or else before the nearest below, or else at the end."""
    if not rows:
        return 0
    own, middle = Polygon(line.baseline).bounds, float(np.mean(line.baseline, axis=0)[1])
    above: tuple[float, int] | None = None
    below: tuple[float, int] | None = None
    for row in rows:
        box = Polygon(tuple((x, y) for x, y in row.baseline)).bounds
        gap = (box.y0 + box.y1) / 2 - middle
        if min(own.x1, box.x1) <= max(own.x0, box.x0):
            continue
        if gap <= 0 and (above is None or -gap < above[0]):
            above = (-gap, row.position)
        if gap > 0 and (below is None or gap < below[0]):
            below = (gap, row.position)
    if above is not None:
        return above[1] + 1
    return below[1] if below is not None else rows[-1].position + 1
