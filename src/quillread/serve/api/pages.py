"""Pages: listed, moved, put into the bin and back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, Field, StringConstraints, model_validator
from sqlalchemy.orm import Session

from quillread.serve.api.documents import Position, listed
from quillread.serve.api.request import After, Limit, Purge, TheActor, TheArchive
from quillread.serve.archive.events import audit, tell
from quillread.serve.archive.find import find_collection, find_document, find_page
from quillread.serve.archive.pages import (
    bin_page,
    list_collection_pages,
    list_document_pages,
    move_page,
    move_to_collection,
    neighbours,
    number_of,
    place_page,
    show_page,
)
from quillread.serve.archive.purging import Purged, purge_page
from quillread.serve.database.schema import Page

router = APIRouter(tags=["pages"])

State = Literal["new", "waiting", "reading", "read", "failed"]
Label = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f]*$")]


Id = Annotated[int, Field(ge=1, lt=1 << 62)]
PageIds = Annotated[list[Id], Field(min_length=1, max_length=10_000)]


class PageOut(BaseModel):
    """A page."""

    id: int
    document_id: int
    collection_id: int
    position: int
    label: str
    """What its source calls it, such as `12r`."""
    source_name: str
    width: int
    height: int
    state: State
    fault: dict[str, Any] | None
    notes: list[Any]
    version: int
    """Of the layout."""
    drawn: bool
    """Whether a person or an import has made the layout."""
    line_count: int
    checked_count: int
    doubtful_count: int
    deleted: datetime | None


class PageAmongOthers(PageOut):
    """A page, and those before and after it in its collection."""

    number: int
    """Which page of its document it is, from 1."""
    previous_id: int | None
    """At the beginning of a document, the last page of the one before."""
    next_id: int | None
    """At the end of a document, the first page of the one after."""


class PageList(BaseModel):
    """Some pages."""

    items: list[PageOut]
    next: int | None = Field(description="Ask for those `after` it; null if these are the last")


class PageChange(BaseModel):
    """What is to be another; what is not given stays."""

    position: Position | None = None
    document_id: Id | None = None
    label: Label | None = None


class PagesChange(BaseModel):
    """What is to become of some pages; what is not given stays."""

    page_ids: PageIds
    deleted: bool | None = None
    """Whether they are in the bin."""
    document_id: Id | None = None
    """Where they are moved to, in the order in which they are named."""
    positions: list[Position] | None = None
    """With `document_id`: the position that each is to have there, such as those from which they were moved. If not
    given, they come after the pages that are there."""

    @model_validator(mode="after")
    def _check_positions(self) -> Self:
        if self.positions is None:
            return self
        if self.document_id is None or len(self.positions) != len(self.page_ids):
            raise ValueError("positions are one for each of page_ids, in the document of document_id")
        return self


class PagesTaken(BaseModel):
    """Which pages a collection takes."""

    page_ids: PageIds


class MovedDocument(BaseModel):
    """Where the pages of a document are now."""

    from_id: int
    """The document that they were in."""
    document_id: int
    """The same if it was moved as a whole; else a new one of its name."""


class MovedDocuments(BaseModel):
    """Where pages are now that were moved."""

    items: list[MovedDocument]


@router.get("/documents/{document_id}/pages", response_model=PageList)
def list_in_document(
    archive: TheArchive,
    actor: TheActor,
    document_id: int,
    limit: Limit = 100,
    after: After = None,
    deleted: bool = False,
) -> Response:
    """List the pages of a document in their order, or for editors those in the bin."""
    with archive.database.read() as session:
        document = find_document(session, actor, document_id, "editor" if deleted else "reader", deleted=True)
        return listed(list_document_pages(session, document, after=after, limit=limit, deleted=deleted), limit)


@router.get("/collections/{collection_id}/pages", response_model=PageList)
def list_in_collection(
    archive: TheArchive,
    actor: TheActor,
    collection_id: int,
    limit: Limit = 100,
    after: After = None,
    state: State | None = None,
    doubtful: bool = False,
    unchecked: bool = False,
    deleted: bool = False,
) -> Response:
    """List the pages of a collection in the order of its documents: all, or those that wait for something."""
    conditions = [Page.state == state] if state else []
    if doubtful:
        conditions.append(Page.doubtful_count > 0)
    if unchecked:
        conditions.append(Page.checked_count < Page.line_count)
    with archive.database.read() as session:
        find_collection(session, actor, collection_id, "editor" if deleted else "reader")
        rows = list_collection_pages(
            session, collection_id, conditions=tuple(conditions), after=after, limit=limit, deleted=deleted
        )
    return listed(rows, limit)


@router.patch("/pages", status_code=status.HTTP_204_NO_CONTENT)
def change_pages(archive: TheArchive, actor: TheActor, body: PagesChange) -> None:
    """Put pages into the bin or take them out, or move them to another document: all of them, or none."""
    places: Sequence[int | None] = body.positions or [None] * len(body.page_ids)
    with archive.database.write() as session:
        for id, position in zip(body.page_ids, places, strict=True):
            page = find_page(session, actor, id, "editor", deleted=body.deleted is not None)
            if body.deleted is not None:
                bin_page(session, actor, page, into=body.deleted)
            if body.document_id is not None:
                move_page(session, actor, page, body.document_id)
                page.position = page.position if position is None else position
                tell(session, "page.changed", page.document.collection_id, page=page.id, document=page.document_id)


@router.post("/collections/{collection_id}/pages")
def take_pages(archive: TheArchive, actor: TheActor, collection_id: int, body: PagesTaken) -> MovedDocuments:
    """Move pages of other collections here, with their documents and in their order: all of them, or none.

    A document all of whose pages are named is moved itself; the others' pages go into new documents of the same names.
    """
    with archive.database.write() as session:
        pages = [find_page(session, actor, id, "editor") for id in dict.fromkeys(body.page_ids)]
        return MovedDocuments.model_validate({"items": move_to_collection(session, actor, pages, collection_id)})


@router.get("/pages/{page_id}")
def get_page(archive: TheArchive, actor: TheActor, page_id: int) -> PageAmongOthers:
    """Show a page."""
    with archive.database.read() as session:
        return _show(session, find_page(session, actor, page_id, deleted=True))


@router.patch("/pages/{page_id}")
def change_page(archive: TheArchive, actor: TheActor, page_id: int, body: PageChange) -> PageAmongOthers:
    """Label a page, move it to another document, or to another place among its siblings."""
    with archive.database.write() as session:
        page = find_page(session, actor, page_id, "editor")
        if body.label is not None:
            page.label = body.label
        if body.document_id is not None:
            move_page(session, actor, page, body.document_id)
        if body.position is not None:
            place_page(session, page, body.position)
        collection_id = page.document.collection_id
        audit(session, actor, "page.change", collection_id, page=page.id)
        tell(session, "page.changed", collection_id, page=page.id, document=page.document_id)
        return _show(session, page)


@router.delete("/pages/{page_id}", response_model=None, responses={200: {"model": Purged}, 204: {}})
def delete_page(archive: TheArchive, actor: TheActor, page_id: int, purge: Purge = False) -> Purged | Response:
    """Put a page into the bin; or delete for good what is in it."""
    if purge:
        return purge_page(archive, actor, page_id)
    with archive.database.write() as session:
        bin_page(session, actor, find_page(session, actor, page_id, "editor", deleted=True), into=True)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post("/pages/{page_id}/restore", status_code=status.HTTP_204_NO_CONTENT)
def restore_page(archive: TheArchive, actor: TheActor, page_id: int) -> None:
    """Take a page out of the bin."""
    with archive.database.write() as session:
        bin_page(session, actor, find_page(session, actor, page_id, "editor", deleted=True), into=False)


def _show(session: Session, page: Page) -> PageAmongOthers:
    before, after = neighbours(session, page)
    shown = show_page(session, page)
    return PageAmongOthers(**shown, number=number_of(session, page), previous_id=before, next_id=after)
