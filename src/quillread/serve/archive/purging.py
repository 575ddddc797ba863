"""Deleting for good what is in the bin, and how much of the disk is used."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, delete, func, literal, or_, select, union
from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor
from quillread.serve.archive.blobs import drop_blobs, sweep
from quillread.serve.archive.events import audit, tell
from quillread.serve.archive.find import find_collection, find_document, find_page
from quillread.serve.archive.home import Archive
from quillread.serve.archive.teaching import work_folder
from quillread.serve.database.base import now
from quillread.serve.database.schema import Blob, Collection, Document, Job, Model, Page, Task
from quillread.serve.faults import ConflictError, RequestError
from quillread.serve.storage import Stored

_PAGES_AT_A_TIME = 20
"""Deleted in a transaction: with their lines and versions these are thousands of rows, and others wait meanwhile."""
_NOTE = (
    "Backups made earlier still hold it: delete them too, or make new ones. "
    "Models taught with its lines while it was here have learnt from them; those taught on a whole collection are "
    "deleted with the collection. The audit log keeps names."
)


class Purged(BaseModel):
    """What was deleted for good."""

    files: int
    """That nothing else refers to."""
    bytes: int
    """Of these files."""
    models: list[str]
    """Names of the models taught from the collection, which are deleted with it."""
    note: str
    """What remains, and where."""


class CollectionUsage(BaseModel):
    """The files of a collection; one that others use too counts for each."""

    collection_id: int
    name: str
    is_deleted: bool
    files: int
    bytes: int


class Usage(BaseModel):
    """How much of the disk is used."""

    items: list[CollectionUsage]
    free: int | None
    """Bytes that the disk of the data folder has left; told to those who are admin of the whole archive."""


def purge_page(archive: Archive, actor: Actor, id: int) -> Purged:
    """Delete a page of the bin for good.

    Raises:
        RequestError: If it is not in the bin.
    """
    with archive.database.write() as session:
        page = find_page(session, actor, id, "admin", deleted=True)
        _check_binned(f"page {id}", [page.deleted, page.document.deleted, page.document.collection.deleted])
        collection_id = page.document.collection_id
        audit(session, actor, "page.purge", collection_id, page=id)
        tell(session, "page.purged", collection_id, page=id)
    return _told(_purge_pages(archive, Page.id == id, _binned(Page, id)), [])


def purge_document(archive: Archive, actor: Actor, id: int) -> Purged:
    """Delete a document of the bin for good, with its pages, their lines and all versions of these.

    It goes a few pages at a time; if it is interrupted, the rest stays in the bin.

    Raises:
        RequestError: If it is not in the bin.
    """
    with archive.database.write() as session:
        document = find_document(session, actor, id, "admin", deleted=True)
        _check_binned(f"document {id}", [document.deleted, document.collection.deleted])
        audit(session, actor, "document.purge", document.collection_id, document=id, name=document.name)
        collection_id = document.collection_id
    still = _binned(Document, id)
    dropped = _purge_pages(archive, Page.document_id == id, still)
    with archive.database.write() as session:
        _hold_binned(session, still)
        session.execute(delete(Document).where(Document.id == id))
        tell(session, "document.purged", collection_id, document=id)
    return _told(dropped, [])


def purge_collection(archive: Archive, actor: Actor, id: int) -> Purged:
    """Delete a collection of the bin for good, with all that it holds, its jobs and the models taught from it.

    Raises:
        RequestError: If it is not in the bin.
    """
    with archive.database.write() as session:
        collection = find_collection(session, actor, id, "admin", deleted=True)
        _check_binned(f"collection {id}", [collection.deleted])
        audit(session, actor, "collection.purge", id, name=collection.name)
    still = _binned(Collection, id)
    own = select(Document.id).where(Document.collection_id == id)
    dropped = _purge_pages(archive, Page.document_id.in_(own), still)
    with archive.database.write() as session:
        _hold_binned(session, still)
        models = session.scalars(select(Model).where(Model.collection_id == id)).all()
        files = {model.blob for model in models} | _files_of_jobs(session, id)
        session.execute(delete(Model).where(Model.collection_id == id))
        session.execute(delete(Collection).where(Collection.id == id))
        gone = drop_blobs(session, files)
        tell(session, "collection.purged", None, collection=id)
    sweep(archive, gone)
    for stored in gone:
        with suppress(FileNotFoundError):
            shutil.rmtree(archive.config.data / "models" / stored.sha256)
    shutil.rmtree(work_folder(archive.config.data, id), ignore_errors=True)
    return _told(dropped + gone, [model.name for model in models])


def binned(archive: Archive, age: timedelta) -> dict[str, list[int]]:
    """Find what has been in the bin for a time: ids of collections, of documents of others, of pages of others."""
    since = now() - age
    with archive.database.read() as session:
        collections = select(Collection.id).where(Collection.deleted <= since)
        documents = select(Document.id).where(Document.deleted <= since, Document.collection_id.not_in(collections))
        pages = (
            select(Page.id)
            .join(Document)
            .where(
                Page.deleted <= since,
                Page.document_id.not_in(documents),
                Document.collection_id.not_in(collections),
            )
        )
        chosen = {"collections": collections, "documents": documents, "pages": pages}
        return {kind: list(session.scalars(ids)) for kind, ids in chosen.items()}


def use_of_disk(archive: Archive, actor: Actor) -> Usage:
    """Tell how much of the disk the collections use that an actor may see, those in the bin too."""
    with archive.database.read() as session:
        of_pages = [
            select(Document.collection_id.label("id"), column.label("sha256")).join(
                Page, Page.document_id == Document.id
            )
            for column in (Page.source, Page.view, Page.thumbnail)
        ]
        used = union(*of_pages, select(Model.collection_id, Model.blob)).subquery()
        counts = select(used.c.id, func.count().label("files"), func.sum(Blob.size).label("bytes"))
        sums = counts.join(Blob, Blob.sha256 == used.c.sha256).group_by(used.c.id).subquery()
        rows = session.execute(
            select(
                Collection.id.label("collection_id"),
                Collection.name,
                Collection.deleted.is_not(None).label("is_deleted"),
                func.coalesce(sums.c.files, literal(0)).label("files"),
                func.coalesce(sums.c.bytes, literal(0)).label("bytes"),
            )
            .outerjoin(sums, sums.c.id == Collection.id)
            .where(actor.visible())
            .order_by(Collection.id)
        )
        items = [CollectionUsage.model_validate(dict(row)) for row in rows.mappings()]
    is_admin = actor.role == "admin" and actor.limit == "admin" and actor.collection_id is None
    return Usage(items=items, free=shutil.disk_usage(archive.config.data).free if is_admin else None)


def _check_binned(what: str, deleted: Iterable[object]) -> None:
    if not any(deleted):
        hint = "only what is in the bin is deleted for good"
        raise RequestError(f"{what} is not in the bin", hint=hint, code="not-in-bin")


def _binned(kind: type[Page] | type[Document] | type[Collection], id: int) -> Select[Any]:
    """Finds something if it is in the bin, by itself or with what it is part of."""
    chosen, parts = select(kind.id).where(kind.id == id), [kind.deleted.is_not(None)]
    if kind is Page:
        chosen = chosen.join(Document, Document.id == Page.document_id)
        parts.append(Document.deleted.is_not(None))
    if kind is not Collection:
        chosen = chosen.join(Collection, Collection.id == Document.collection_id)
        parts.append(Collection.deleted.is_not(None))
    return chosen.where(or_(*parts))


def _hold_binned(session: Session, still: Select[Any]) -> None:
    """Keep something from being restored until the transaction ends.

    Raises:
        ConflictError: If it was restored meanwhile.
    """
    if session.scalar(still.with_for_update(read=True)) is None:
        hint = "what was deleted for good before that is lost"
        raise ConflictError("it was restored meanwhile", hint=hint, code="restored-meanwhile")


def _purge_pages(archive: Archive, chosen: ColumnElement[bool], still: Select[Any]) -> list[Stored]:
    """Delete pages with their files, a few at a time, while `still` finds what they belong to in the bin."""
    dropped: list[Stored] = []
    some = select(Page.id, Page.source, Page.view, Page.thumbnail).where(chosen).limit(_PAGES_AT_A_TIME)
    while True:
        with archive.database.write() as session:
            _hold_binned(session, still)
            pages = session.execute(some).all()
            session.execute(delete(Page).where(Page.id.in_([page.id for page in pages])))
            gone = drop_blobs(session, {sha256 for page in pages for sha256 in page[1:]})
        sweep(archive, gone)
        dropped += gone
        if len(pages) < _PAGES_AT_A_TIME:
            return dropped


def _files_of_jobs(session: Session, collection_id: int) -> set[str]:
    """The files that wait for an import into a collection, and those that exports of it have made."""
    files = {
        file.get("blob")
        for payload in session.scalars(
            select(Task.payload).join(Job, Job.id == Task.job_id).where(Job.collection_id == collection_id)
        )
        for file in payload.get("files", ())
    }
    results = select(Job.result).where(Job.collection_id == collection_id, Job.result.is_not(None))
    files |= {(result or {}).get("blob") for result in session.scalars(results)}
    return {sha256 for sha256 in files if sha256}


def _told(dropped: list[Stored], models: list[str]) -> Purged:
    size = sum(stored.size for stored in dropped)
    return Purged(files=len(dropped), bytes=size, models=models, note=_NOTE)
