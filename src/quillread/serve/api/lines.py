"""Lines: their texts, saved, checked, restored; their versions; how they look."""

import io
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from PIL import Image
from pydantic import BaseModel, Field
from sqlalchemy import select

from quillread.images.crop import crop_line
from quillread.images.fit import scale_to_height
from quillread.serve.api.images import JPEG, IfNoneMatch, is_known
from quillread.serve.api.pages import PageOut
from quillread.serve.api.request import IfMatch, TheActor, TheArchive
from quillread.serve.archive.find import find_page
from quillread.serve.archive.layouts import LineState, live_lines, load_lines, part_of, read_layout
from quillread.serve.archive.lines import (
    clean_text,
    find_state,
    list_versions,
    restore_version,
    save_text,
    show_line,
)
from quillread.serve.archive.pages import show_page
from quillread.serve.database.schema import Page, Region
from quillread.serve.faults import NotFoundError

router = APIRouter(tags=["lines"])

Points = list[Annotated[list[float], Field(min_length=2, max_length=2)]]


class WordOut(BaseModel):
    """A word of the text that counts."""

    text: str
    start: int
    """Of its first character in the text."""
    end: int
    confidence: float
    """In a draft of a person: of words that a machine has read alike, how sure it was of them."""
    polygon: Points


class AlternativeOut(BaseModel):
    """Another reading of a line."""

    text: str
    confidence: float


class LineOut(BaseModel):
    """A line as it is now."""

    id: int
    page_id: int
    region_id: int | None
    position: int
    baseline: Points
    polygon: Points
    xml_id: str | None
    """Name in the PAGE or ALTO file that it comes from."""
    printed: bool
    text: str
    confidence: float | None
    checked: bool
    revision: int
    kind: Literal["person", "machine", "import"] | None
    author: str
    created: datetime | None
    """When the text was written or read."""
    words: list[WordOut]
    read_text: str | None
    """What a machine has read last, if that is another text."""
    alternatives: list[AlternativeOut]


class RegionOut(BaseModel):
    """Lines that belong together."""

    id: int
    position: int
    kind: str
    polygon: Points
    xml_id: str | None


class LinesOut(BaseModel):
    """A page with all its lines."""

    page: PageOut
    regions: list[RegionOut]
    lines: list[LineOut]


class VersionOut(BaseModel):
    """A text that a line has had."""

    number: int
    kind: Literal["person", "machine", "import"]
    author: str
    text: str
    confidence: float | None
    created: datetime
    is_current: bool


class VersionList(BaseModel):
    """The versions of a line, the first one first."""

    items: list[VersionOut]


class TextChange(BaseModel):
    """A text that a person has written."""

    text: str
    checked: bool = True
    """Whether it is taken as right; without that it is a draft."""


class Restoration(BaseModel):
    """Which version is to count again."""

    number: Annotated[int, Field(ge=1, lt=1 << 31)]
    as_read: bool = False
    """Whether what a machine has read is its reading again, rather than what a person has chosen."""


@router.get("/pages/{page_id}/lines", response_model=LinesOut)
def get_lines(archive: TheArchive, actor: TheActor, page_id: int) -> Response:
    """Show the layout of a page and its lines in reading order; the entity tag is the version of the layout."""
    with archive.database.read() as session:
        page = find_page(session, actor, page_id)
        shown = show_page(session, page)
        lines = [show_line(state) for state in load_lines(session, live_lines(session, page.id))]
        chosen = select(Region).where(Region.page_id == page.id).order_by(Region.position, Region.id)
        regions = [show_region(region) for region in session.scalars(chosen)]
    body = {"page": shown, "regions": regions, "lines": lines}
    return JSONResponse(body, headers=tag(page.version))


@router.get("/pages/{page_id}/text", response_class=PlainTextResponse)
def get_page_text(archive: TheArchive, actor: TheActor, page_id: int) -> PlainTextResponse:
    """Give the text of a page; an empty line parts its regions."""
    with archive.database.read() as session:
        text = read_layout(session, find_page(session, actor, page_id)).page.text
    return PlainTextResponse(f"{text}\n" if text else "")


@router.get("/lines/{line_id}", response_model=LineOut)
def get_line(archive: TheArchive, actor: TheActor, line_id: int) -> Response:
    """Show a line."""
    with archive.database.read() as session:
        return answer(find_state(session, actor, line_id))


@router.put("/lines/{line_id}/text", response_model=LineOut)
def put_text(archive: TheArchive, actor: TheActor, line_id: int, body: TextChange, revision: IfMatch) -> Response:
    """Save the text that a person has written; the same text again, checked, says that it is right as it is."""
    text = clean_text(body.text, archive.config.limits.text_characters)
    with archive.database.write() as session:
        state = save_text(session, actor, line_id, text, revision, checked=body.checked)
    return answer(state)


@router.get("/lines/{line_id}/versions", response_model=VersionList)
def get_versions(archive: TheArchive, actor: TheActor, line_id: int) -> VersionList:
    """List the texts that a line has had, the first one first."""
    with archive.database.read() as session:
        versions = list_versions(session, actor, line_id)
    return VersionList(items=[VersionOut(**version) for version in versions])


@router.post("/lines/{line_id}/restore", response_model=LineOut)
def post_restore(archive: TheArchive, actor: TheActor, line_id: int, body: Restoration, revision: IfMatch) -> Response:
    """Make the text of an earlier version count again; it becomes a new version."""
    with archive.database.write() as session:
        state = restore_version(session, actor, line_id, body.number, revision, as_read=body.as_read)
    return answer(state)


@router.get("/lines/{line_id}/image", response_class=Response, responses=JPEG)
def get_line_image(
    archive: TheArchive,
    actor: TheActor,
    line_id: int,
    height: Annotated[int | None, Query(ge=8, le=1000, description="Pixels; that of the page if not given")] = None,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Cut a line out of its page, laid level; its entity tag changes with its outline, and not with its text."""
    with archive.database.read() as session:
        state = find_state(session, actor, line_id)
        page = session.get_one(Page, state.row.page_id)
    if page.view is None:
        raise NotFoundError(f"the page of line {line_id} has no image")
    looks = repr((page.view, state.row.baseline, state.row.polygon, height))
    headers = {"ETag": f'"{sha256(looks.encode()).hexdigest()[:32]}"'}
    if is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    box, line = part_of(state.place, page.width, page.height)
    pixels, _ = crop_line(archive.views.pixels(archive.storage.path(page.view), page.view, box), line)
    if height is not None:
        pixels = scale_to_height(pixels, height, max(1, min(20_000, round(pixels.shape[1] * height / pixels.shape[0]))))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return Response(file.getvalue(), media_type="image/jpeg", headers=headers)


def answer(state: LineState) -> JSONResponse:
    """Answer with a line and its revision; what comes of the database needs no validation."""
    return JSONResponse(show_line(state), headers=tag(state.row.revision))


def tag(number: int) -> dict[str, str]:
    """The header with an entity tag."""
    return {"ETag": f'"{number}"'}


def show_region(region: Region) -> dict[str, Any]:
    """A region as the API gives it."""
    names = ("id", "position", "kind", "polygon", "xml_id")
    return {name: getattr(region, name) for name in names}
