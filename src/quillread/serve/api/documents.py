"""Documents: listed, made, renamed, moved, put into the bin and back, deleted for good; disk use."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, Field, StringConstraints
from pydantic_core import to_json
from sqlalchemy.orm import Session

from quillread.serve.api.request import After, Limit, Purge, TheActor, TheArchive
from quillread.serve.archive.documents import (
    MOST_POSITION,
    bin_document,
    create_document,
    list_documents,
    move_document,
    place_document,
    rename_document,
    select_documents,
    show_documents,
)
from quillread.serve.archive.events import tell
from quillread.serve.archive.find import find_collection, find_document
from quillread.serve.archive.purging import Purged, Usage, purge_document, use_of_disk
from quillread.serve.database.schema import Document

router = APIRouter(tags=["documents"])

DocumentName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]+$")
]
Position = Annotated[int, Field(ge=0, lt=MOST_POSITION, description="Before what has this position now")]


class NewDocument(BaseModel):
    """What a document is made of."""

    name: DocumentName


class DocumentChange(BaseModel):
    """What is to be another; what is not given stays."""

    name: DocumentName | None = None
    collection_id: Annotated[int, Field(ge=1, lt=1 << 62)] | None = None
    position: Position | None = None


class PageStates(BaseModel):
    """How many pages are in each state."""

    new: int
    waiting: int
    reading: int
    read: int
    failed: int


class DocumentOut(BaseModel):
    """A document with the counts of its pages."""

    id: int
    collection_id: int
    name: str
    position: int
    created: datetime
    deleted: datetime | None
    cover_page_id: int | None
    page_count: int
    line_count: int
    checked_count: int
    doubtful_count: int
    states: PageStates


class DocumentList(BaseModel):
    """Some documents."""

    items: list[DocumentOut]
    next: int | None = Field(description="Ask for those `after` it; null if these are the last")


def listed(rows: list[dict[str, Any]], limit: int) -> Response:
    """Answer with some rows; not by way of models, whose checks take longer than all else of a long list."""
    items = rows[:limit]
    content = to_json({"items": items, "next": items[-1]["id"] if len(rows) > limit else None})
    return Response(content, media_type="application/json")


@router.get("/collections/{collection_id}/documents", response_model=DocumentList)
def list_in_collection(
    archive: TheArchive,
    actor: TheActor,
    collection_id: int,
    limit: Limit = 100,
    after: After = None,
    deleted: bool = False,
) -> Response:
    """List the documents of a collection in their order, or for editors those in the bin."""
    with archive.database.read() as session:
        find_collection(session, actor, collection_id, "editor" if deleted else "reader", deleted=True)
        return listed(list_documents(session, collection_id, after=after, limit=limit, deleted=deleted), limit)


@router.post("/collections/{collection_id}/documents", status_code=status.HTTP_201_CREATED)
def create(archive: TheArchive, actor: TheActor, collection_id: int, body: NewDocument) -> DocumentOut:
    """Make a document without pages."""
    with archive.database.write() as session:
        find_collection(session, actor, collection_id, "editor")
        return _show(session, create_document(session, actor, collection_id, body.name))


@router.get("/documents/{document_id}")
def get_document(archive: TheArchive, actor: TheActor, document_id: int) -> DocumentOut:
    """Show a document."""
    with archive.database.read() as session:
        return _show(session, find_document(session, actor, document_id, deleted=True))


@router.patch("/documents/{document_id}")
def change_document(archive: TheArchive, actor: TheActor, document_id: int, body: DocumentChange) -> DocumentOut:
    """Rename a document, move it to another collection, or to another place among its siblings."""
    with archive.database.write() as session:
        document = find_document(session, actor, document_id, "editor")
        if body.name is not None:
            rename_document(session, actor, document, body.name)
        if body.collection_id is not None:
            move_document(session, actor, document, body.collection_id)
        if body.position is not None:
            place_document(session, document, body.position)
        tell(session, "document.changed", document.collection_id, document=document.id)
        return _show(session, document)


@router.delete("/documents/{document_id}", response_model=None, responses={200: {"model": Purged}, 204: {}})
def delete_document(archive: TheArchive, actor: TheActor, document_id: int, purge: Purge = False) -> Purged | Response:
    """Put a document into the bin; or delete for good what is in it."""
    if purge:
        return purge_document(archive, actor, document_id)
    with archive.database.write() as session:
        bin_document(session, actor, find_document(session, actor, document_id, "editor", deleted=True), into=True)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post("/documents/{document_id}/restore", status_code=status.HTTP_204_NO_CONTENT)
def restore_document(archive: TheArchive, actor: TheActor, document_id: int) -> None:
    """Take a document out of the bin."""
    with archive.database.write() as session:
        bin_document(session, actor, find_document(session, actor, document_id, "editor", deleted=True), into=False)


@router.get("/usage")
def get_usage(archive: TheArchive, actor: TheActor) -> Usage:
    """Tell how much of the disk the collections use that one may see."""
    return use_of_disk(archive, actor)


def _show(session: Session, document: Document) -> DocumentOut:
    session.flush()
    shown = show_documents(session, select_documents().where(Document.id == document.id))
    return DocumentOut.model_validate(shown[0])
