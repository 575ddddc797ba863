"""Changes of a page's regions: drawn, said what they are, put in order and deleted."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor
from quillread.serve.archive.find import find_region
from quillread.serve.archive.geometry import Shape, fit_polygon, lies_in
from quillread.serve.archive.layout import Changed, begin, end, region_around, size_of
from quillread.serve.archive.layouts import NOT_TEXT, hidden_lines, live_lines, load_lines, place_of
from quillread.serve.database.readings import pack_points
from quillread.serve.database.schema import Line, Page, Region
from quillread.serve.faults import TooLargeError

_MOST_REGIONS = 1_000


def add_region(session: Session, actor: Actor, page_id: int, version: int, polygon: Shape, kind: str) -> Changed:
    """Draw a region; lines whose middle lies in it belong to it from now on.

    Raises:
        ConflictError: If the layout is another by now.
        ShapeError: If the polygon cannot be.
        TooLargeError: If the page has as many regions as it may.
    """
    page = begin(session, actor, page_id, version)
    regions = select(func.count(Region.id), func.max(Region.position)).where(Region.page_id == page.id)
    count, last = session.execute(regions).one()
    if count >= _MOST_REGIONS:
        message = f"page {page.id} has {count:,} regions, and may have {_MOST_REGIONS:,}"
        raise TooLargeError(message, code="most-regions", most=_MOST_REGIONS)
    outline = pack_points(fit_polygon(polygon, size_of(page)))
    region = Region(page_id=page.id, position=-1 if last is None else last, kind=kind, polygon=outline)
    region.position += 1
    session.add(region)
    session.flush()
    hidden = hidden_lines(session, page.id)
    taken = [row for row in live_lines(session, page.id) if lies_in(place_of(row), outline)]
    for row in taken:
        row.region_id = region.id
    end(session, actor, page, "region.add", region=region.id)
    return Changed(page, load_lines(session, taken), [region], _shown(session, page, hidden))


def change_region(session: Session, actor: Actor, region_id: int, version: int, given: Mapping[str, Any]) -> Changed:
    """Draw a region anew, say what it is, or put it and its lines elsewhere in the reading order.

    Lines that lie outside a picture, or a region to ignore, do not stay in it, as they would not be read.

    Args:
        session: That changes the archive.
        actor: Whoever does.
        region_id: Of the region.
        version: Of the layout as they have seen it.
        given: Any of `polygon`, `kind`, `position` (from 0, among the regions).

    Raises:
        ConflictError: If the layout is another by now.
        ShapeError: If the polygon cannot be.
    """
    region = find_region(session, actor, region_id, "editor")
    page = begin(session, actor, region.page_id, version)
    session.refresh(region)
    hidden = hidden_lines(session, page.id)
    before = region.kind, region.polygon
    if given.get("polygon") is not None:
        region.polygon = pack_points(fit_polygon(given["polygon"], size_of(page)))
    if given.get("kind") is not None:
        region.kind = given["kind"]
    moved = _part_lines(session, page, region, *before) if region.kind in NOT_TEXT else []
    if given.get("position") is not None:
        _order_regions(session, page, region, given["position"])
    end(session, actor, page, "region.change", region=region.id)
    return Changed(page, load_lines(session, moved), [region], _shown(session, page, hidden))


def delete_region(session: Session, actor: Actor, region_id: int, version: int) -> Changed:
    """Delete a region; its lines stay, without one."""
    region = find_region(session, actor, region_id, "editor")
    page = begin(session, actor, region.page_id, version)
    hidden = hidden_lines(session, page.id)
    session.execute(update(Line).where(Line.region_id == region_id).values(region_id=None))
    session.execute(delete(Region).where(Region.id == region_id))
    end(session, actor, page, "region.delete", region=region_id)
    return Changed(page, to_read=_shown(session, page, hidden))


def _shown(session: Session, page: Page, hidden: set[int]) -> list[int]:
    """Those of some lines that were never read which a change has brought out of regions that are not text."""
    return sorted(hidden - hidden_lines(session, page.id))


def _part_lines(
    session: Session, page: Page, region: Region, old_kind: str, old_polygon: list[list[float]]
) -> list[Line]:
    """Let lines go that lie outside a picture or a region to ignore since its change, and take those that lie inside.

    What was put into it or out of it by hand, wherever it lies, stays.
    """
    moved: list[Line] = []
    was_text = old_kind not in NOT_TEXT
    for row in live_lines(session, page.id):
        place = place_of(row)
        was_in, is_in = lies_in(place, old_polygon), lies_in(place, region.polygon)
        goes = row.region_id == region.id and not is_in and (was_in or was_text)
        comes = is_in and not was_in
        if goes or comes:
            around = region_around(session, place, page)
            if goes or around == region.id:
                row.region_id = around
                moved.append(row)
    return moved


def _order_regions(session: Session, page: Page, region: Region, position: int) -> None:
    """Put a region before that which has a place among all, with its lines."""
    chosen = select(Region).where(Region.page_id == page.id).order_by(Region.position, Region.id)
    others = [other for other in session.scalars(chosen) if other.id != region.id]
    others.insert(min(position, len(others)), region)
    rank: dict[int | None, int] = {}
    for place, other in enumerate(others):
        other.position = rank[other.id] = place
    rows = live_lines(session, page.id)
    rows.sort(key=lambda row: rank.get(row.region_id, len(rank)))  # lines of no region come last
    for place, row in enumerate(rows):
        row.position = place
