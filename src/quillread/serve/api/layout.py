"""The layout of a page: lines and regions drawn, moved, split, merged, put in order, deleted and taken back."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor
from quillread.serve.api.lines import LineOut, RegionOut, show_region, tag
from quillread.serve.api.request import IfMatch, TheActor, TheArchive
from quillread.serve.archive import layout, regions, split_merge
from quillread.serve.archive.home import Archive
from quillread.serve.archive.layout import Changed
from quillread.serve.archive.lines import show_line
from quillread.serve.faults import RequestError
from quillread.serve.jobs.queue import enqueue_lines
from quillread.types import RegionKind

router = APIRouter(tags=["layout"])

Coordinates = Annotated[list[float], Field(min_length=2, max_length=2)]
Shape = Annotated[list[Coordinates], Field(max_length=10_000)]
Id = Annotated[int, Field(ge=1, lt=1 << 62)]
Ids = Annotated[list[Id], Field(max_length=100_000)]
Position = Annotated[int, Field(ge=0, lt=1 << 30)]
Read = Annotated[bool, Query(description="Whether lines that are new, were moved or become text are read at once")]


class NewLine(BaseModel):
    """A line that is drawn; what lies beyond the page is cut off."""

    baseline: Shape
    """From the start of the writing to its end."""
    polygon: Shape | None = None
    """Else a band along the baseline, as high as lines of the page are apart."""
    region_id: Id | None = None
    """Else that of the region in which it lies."""
    position: Position | None = None
    """In the reading order; else after the line above it."""


class LineMove(BaseModel):
    """What is to be another; what is not given stays."""

    baseline: Shape | None = None
    polygon: Shape | None = None
    region_id: Id | None = None
    """null takes it out of its region."""
    position: Position | None = None


class Split(BaseModel):
    """Where a line is split: one of x and y."""

    x: float | None = Field(None, ge=0, le=1e6)
    y: float | None = Field(None, ge=0, le=1e6)
    """Of lines that run down the page."""
    text_at: Position | None = None
    """Characters that belong to the first part; else words go where they stand."""


class LineIds(BaseModel):
    """Lines of one page."""

    line_ids: Ids


class NewRegion(BaseModel):
    """A region that is drawn."""

    polygon: Shape
    kind: RegionKind = "text"


class RegionChange(BaseModel):
    """What is to be another; what is not given stays."""

    polygon: Shape | None = None
    kind: RegionKind | None = None
    position: Position | None = None
    """Among the regions, from 0; its lines go with it."""


class LayoutOut(BaseModel):
    """What a change has brought."""

    page_version: int
    """Of the layout now."""
    lines: list[LineOut]
    """Those that are new or another."""
    regions: list[RegionOut]


@router.post("/pages/{page_id}/lines", response_model=LayoutOut, status_code=201)
def post_line(
    archive: TheArchive, actor: TheActor, page_id: int, body: NewLine, version: IfMatch, read: Read = True
) -> Response:
    """Draw a line."""
    given = body.model_dump(exclude_unset=True, exclude={"baseline"})

    def change(session: Session) -> Changed:
        return layout.add_line(session, actor, page_id, version, body.baseline, given)

    return _answer(archive, actor, change, read=read, status=201)


@router.patch("/lines/{line_id}/layout", response_model=LayoutOut)
def patch_line(
    archive: TheArchive, actor: TheActor, line_id: int, body: LineMove, version: IfMatch, read: Read = True
) -> Response:
    """Draw a line anew, or put it elsewhere in the reading order or into another region."""
    given = body.model_dump(exclude_unset=True)
    return _answer(archive, actor, lambda session: layout.move_line(session, actor, line_id, version, given), read=read)


@router.delete("/lines/{line_id}", response_model=LayoutOut)
def delete_line(archive: TheArchive, actor: TheActor, line_id: int, version: IfMatch) -> Response:
    """Take a line off its page; it can be taken back."""
    return _answer(archive, actor, lambda session: layout.delete_line(session, actor, line_id, version))


@router.post("/lines/{line_id}/undelete", response_model=LayoutOut)
def undelete_line(archive: TheArchive, actor: TheActor, line_id: int, version: IfMatch) -> Response:
    """Put a line back that was deleted, with its text; if it has none as it was not read yet, it is read."""

    def change(session: Session) -> Changed:
        return layout.undelete_line(session, actor, line_id, version)

    return _answer(archive, actor, change, read=True)


@router.post("/lines/{line_id}/split", response_model=LayoutOut)
def split_line(
    archive: TheArchive, actor: TheActor, line_id: int, body: Split, version: IfMatch, read: Read = True
) -> Response:
    """Split a line in two; its text goes with the parts."""
    if (body.x is None) == (body.y is None):
        raise RequestError("a line is split at an x or at a y: give one of them")
    axis, at = (0, body.x) if body.x is not None else (1, body.y or 0.0)

    def change(session: Session) -> Changed:
        return split_merge.split_line(session, actor, line_id, version, axis, at, body.text_at)

    return _answer(archive, actor, change, read=read)


@router.post("/pages/{page_id}/merge", response_model=LayoutOut)
def merge_lines(
    archive: TheArchive, actor: TheActor, page_id: int, body: LineIds, version: IfMatch, read: Read = True
) -> Response:
    """Make one line of several in a row; the first stays, the others can be taken back."""

    def change(session: Session) -> Changed:
        return split_merge.merge_lines(session, actor, page_id, version, body.line_ids)

    return _answer(archive, actor, change, read=read)


@router.put("/pages/{page_id}/order", response_model=LayoutOut)
def order_lines(archive: TheArchive, actor: TheActor, page_id: int, body: LineIds, version: IfMatch) -> Response:
    """Put all lines of a page into an order."""
    return _answer(archive, actor, lambda session: layout.order_lines(session, actor, page_id, version, body.line_ids))


@router.post("/pages/{page_id}/regions", response_model=LayoutOut, status_code=201)
def post_region(
    archive: TheArchive, actor: TheActor, page_id: int, body: NewRegion, version: IfMatch, read: Read = True
) -> Response:
    """Draw a region; lines whose middle lies in it belong to it from now on."""

    def change(session: Session) -> Changed:
        return regions.add_region(session, actor, page_id, version, body.polygon, body.kind)

    return _answer(archive, actor, change, read=read, status=201)


@router.patch("/regions/{region_id}", response_model=LayoutOut)
def patch_region(
    archive: TheArchive, actor: TheActor, region_id: int, body: RegionChange, version: IfMatch, read: Read = True
) -> Response:
    """Draw a region anew, say what it is, or put it and its lines elsewhere in the reading order."""
    given = body.model_dump(exclude_unset=True)

    def change(session: Session) -> Changed:
        return regions.change_region(session, actor, region_id, version, given)

    return _answer(archive, actor, change, read=read)


@router.delete("/regions/{region_id}", response_model=LayoutOut)
def delete_region(
    archive: TheArchive, actor: TheActor, region_id: int, version: IfMatch, read: Read = True
) -> Response:
    """Delete a region; its lines stay."""

    def change(session: Session) -> Changed:
        return regions.delete_region(session, actor, region_id, version)

    return _answer(archive, actor, change, read=read)


def _answer(
    archive: Archive,
    actor: Actor,
    change: Callable[[Session], Changed],
    *,
    read: bool = False,
    status: int = 200,
) -> Response:
    """Make a change, have lines read that need it, and answer with the layout's new version."""
    with archive.database.write() as session:
        changed = change(session)
        if read and changed.to_read:
            enqueue_lines(session, actor, changed.page, changed.to_read)
    body: dict[str, Any] = {
        "page_version": changed.page.version,
        "lines": [show_line(state) for state in changed.lines],
        "regions": [show_region(region) for region in changed.regions],
    }
    return JSONResponse(body, status, headers=tag(changed.page.version))
