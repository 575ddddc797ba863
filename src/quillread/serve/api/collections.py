"""Collections: made, renamed, set, put into the bin and back."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response, status
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor, Role
from quillread.serve.api.request import After, Limit, Purge, TheActor, TheArchive
from quillread.serve.archive.events import audit, tell
from quillread.serve.archive.find import find_collection
from quillread.serve.archive.models import check_models
from quillread.serve.archive.purging import Purged, purge_collection
from quillread.serve.archive.settings import check_settings
from quillread.serve.database.base import now
from quillread.serve.database.schema import Collection, Document, Page

router = APIRouter(prefix="/collections", tags=["collections"])

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")
]


class NewCollection(BaseModel):
    """What a collection is made of."""

    name: Name


class CollectionChange(BaseModel):
    """What is to be another; what is not given stays."""

    name: Name | None = None
    settings: dict[str, Any] | None = None
    """`options`: `ReadOptions` that its pages are read with, in part; other keys belong to the pages in the browser."""


class CollectionOut(BaseModel):
    """A collection."""

    id: int
    name: str
    created: datetime
    deleted: datetime | None
    settings: dict[str, Any]
    role: Role
    """Of whoever asks."""
    document_count: int
    """Of those with pages: others, such as those that all pages were moved out of, are not shown."""
    page_count: int
    line_count: int
    checked_count: int
    doubtful_count: int


class CollectionList(BaseModel):
    """Some collections."""

    items: list[CollectionOut]
    next: int | None = Field(description="Ask for those `after` it; null if these are the last")


@router.get("")
def list_collections(
    archive: TheArchive, actor: TheActor, limit: Limit = 100, after: After = None, deleted: bool = False
) -> CollectionList:
    """List the collections that one may see, in the order in which they were made; or those in the bin."""
    with archive.database.read() as session:
        chosen = select(Collection).where(
            actor.visible("editor" if deleted else "reader"), Collection.id > (after or 0)
        )
        chosen = chosen.where(Collection.deleted.is_not(None) if deleted else Collection.deleted.is_(None))
        found = session.scalars(chosen.order_by(Collection.id).limit(limit + 1)).all()
        items = _shown(session, actor, list(found[:limit]))
    return CollectionList(items=items, next=items[-1].id if len(found) > limit else None)


@router.post("", status_code=status.HTTP_201_CREATED)
def create_collection(archive: TheArchive, actor: TheActor, body: NewCollection) -> CollectionOut:
    """Make a collection."""
    actor.check_all("editor")
    with archive.database.write() as session:
        collection = Collection(name=body.name)
        session.add(collection)
        session.flush()
        audit(session, actor, "collection.create", collection.id, name=body.name)
        tell(session, "collection.created", collection.id, collection=collection.id)
        return _shown(session, actor, [collection])[0]


@router.get("/{collection_id}")
def get_collection(archive: TheArchive, actor: TheActor, collection_id: int) -> CollectionOut:
    """Show a collection."""
    with archive.database.read() as session:
        return _shown(session, actor, [find_collection(session, actor, collection_id, deleted=True)])[0]


@router.patch("/{collection_id}")
def change_collection(
    archive: TheArchive, actor: TheActor, collection_id: int, body: CollectionChange
) -> CollectionOut:
    """Rename a collection, or set what its pages are read with."""
    with archive.database.write() as session:
        collection = find_collection(session, actor, collection_id, "editor")
        if body.name is not None:
            collection.name = body.name
        if body.settings is not None:
            collection.settings = check_settings(body.settings)
            check_models(session, actor, collection.settings.get("options", {}))
        audit(session, actor, "collection.change", collection.id)
        tell(session, "collection.changed", collection.id, collection=collection.id)
        return _shown(session, actor, [collection])[0]


@router.delete("/{collection_id}", response_model=None, responses={200: {"model": Purged}, 204: {}})
def delete_collection(
    archive: TheArchive, actor: TheActor, collection_id: int, purge: Purge = False
) -> Purged | Response:
    """Put a collection into the bin; or delete for good what is in it."""
    if purge:
        return purge_collection(archive, actor, collection_id)
    _move(archive, actor, collection_id, into_bin=True)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post("/{collection_id}/restore", status_code=status.HTTP_204_NO_CONTENT)
def restore_collection(archive: TheArchive, actor: TheActor, collection_id: int) -> None:
    """Take a collection out of the bin."""
    _move(archive, actor, collection_id, into_bin=False)


def _move(archive: TheArchive, actor: Actor, id: int, *, into_bin: bool) -> None:
    with archive.database.write() as session:
        collection = find_collection(session, actor, id, "admin", deleted=True)
        collection.deleted = now() if into_bin else None
        what = "deleted" if into_bin else "restored"
        audit(session, actor, f"collection.{what}", id)
        tell(session, f"collection.{what}", id, collection=id)


def _shown(session: Session, actor: Actor, collections: list[Collection]) -> list[CollectionOut]:
    ids = [collection.id for collection in collections]
    counts = (
        select(
            Document.collection_id,
            func.count(Document.id.distinct()).label("document_count"),
            func.count(Page.id).label("page_count"),
            *(
                func.coalesce(func.sum(column), 0)
                for column in (Page.line_count, Page.checked_count, Page.doubtful_count)
            ),
        )
        .join(Page, (Page.document_id == Document.id) & Page.deleted.is_(None))
        .where(Document.collection_id.in_(ids), Document.deleted.is_(None))
        .group_by(Document.collection_id)
    )
    by_id = {row[0]: row[1:] for row in session.execute(counts)}
    return [_show(session, actor, collection, by_id.get(collection.id, (0, 0, 0, 0, 0))) for collection in collections]


def _show(session: Session, actor: Actor, collection: Collection, counts: Any) -> CollectionOut:
    documents, pages, lines, checked, doubtful = counts
    return CollectionOut(
        id=collection.id,
        name=collection.name,
        created=collection.created,
        deleted=collection.deleted,
        settings=collection.settings,
        role=actor.role_in(session, collection.id),
        document_count=documents,
        page_count=pages,
        line_count=lines,
        checked_count=checked,
        doubtful_count=doubtful,
    )
