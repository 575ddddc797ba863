"""Documents: made, renamed, moved, put into the bin and back; and how they are listed."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select, tuple_, update
from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor
from quillread.serve.archive.events import audit, tell
from quillread.serve.archive.find import find_collection
from quillread.serve.archive.indexing import rescope_pages
from quillread.serve.database.base import now
from quillread.serve.database.schema import Document, Page
from quillread.serve.faults import RequestError

STATES = ("new", "waiting", "reading", "read", "failed")
MOST_POSITION = 1_000_000_000


def create_document(
    session: Session, actor: Actor, collection_id: int, name: str, *, origin: str | None = None
) -> Document:
    """Make a document, after those that its collection has."""
    document = Document(
        collection_id=collection_id, name=name, position=next_position(session, collection_id), origin=origin
    )
    session.add(document)
    session.flush()
    audit(session, actor, "document.create", collection_id, document=document.id, name=name)
    tell(session, "document.created", collection_id, document=document.id)
    return document


def next_position(session: Session, collection_id: int) -> int:
    """The position of a document that follows all others of a collection."""
    last = select(func.max(Document.position)).where(Document.collection_id == collection_id)
    return min((session.scalar(last) or 0) + 1, MOST_POSITION)


def rename_document(session: Session, actor: Actor, document: Document, name: str) -> None:
    """Give a document another name."""
    document.name = name
    audit(session, actor, "document.rename", document.collection_id, document=document.id, name=name)


def move_document(session: Session, actor: Actor, document: Document, collection_id: int) -> None:
    """Move a document to another collection, in which the actor may change things, after those that it has."""
    before = document.collection_id
    if collection_id == before:
        return
    find_collection(session, actor, collection_id, "editor")
    # A reading that ends now is waited for, lest its lines be indexed under the old collection.
    session.execute(select(Page.id).where(Page.document_id == document.id).order_by(Page.id).with_for_update())
    document.position = next_position(session, collection_id)
    document.collection_id = collection_id
    session.flush()
    rescope_pages(session, document, Page.document_id == document.id)
    audit(session, actor, "document.move", before, document=document.id, to=collection_id)
    tell(session, "document.moved", before, document=document.id, to=collection_id)


def place_document(session: Session, document: Document, position: int) -> None:
    """Put a document before that which has a position now; it and those after it move on by one."""
    later = update(Document).where(
        Document.collection_id == document.collection_id, Document.position >= position, Document.id != document.id
    )
    session.execute(later.values(position=Document.position + 1), execution_options={"synchronize_session": False})
    document.position = position


def bin_document(session: Session, actor: Actor, document: Document, *, into: bool) -> None:
    """Put a document into the bin, or take it out."""
    if bool(document.deleted) == into:
        return
    document.deleted = now() if into else None
    what = "deleted" if into else "restored"
    audit(session, actor, f"document.{what}", document.collection_id, document=document.id)
    tell(session, f"document.{what}", document.collection_id, document=document.id)


def list_documents(
    session: Session, collection_id: int, *, after: int | None, limit: int, deleted: bool
) -> list[dict[str, Any]]:
    """List the documents of a collection in their order, or those in the bin.

    Returns:
        Members of `DocumentOut`; one more than `limit` if there are more.

    Raises:
        RequestError: If there is no document `after` which to go on.
    """
    chosen = select_documents().where(Document.collection_id == collection_id)
    chosen = chosen.where(Document.deleted.is_not(None) if deleted else Document.deleted.is_(None))
    if after is not None:
        last = session.get(Document, after)
        if last is None or last.collection_id != collection_id:
            raise gone_after(after)
        chosen = chosen.where(tuple_(Document.position, Document.id) > (last.position, last.id))
    return show_documents(session, chosen.order_by(Document.position, Document.id).limit(limit + 1))


def gone_after(after: int) -> RequestError:
    """The error of a list that goes on after something that is not in it any more."""
    return RequestError(
        f"after: {after} is not in this list any more", hint="list it from its start", code="list-changed"
    )


def select_documents() -> Select[Any]:
    """The columns of documents that `show_documents` takes."""
    first = select(Page.id).where(Page.document_id == Document.id, Page.deleted.is_(None))
    return select(
        Document.id,
        Document.collection_id,
        Document.name,
        Document.position,
        Document.created,
        Document.deleted,
        first.order_by(Page.position, Page.id).limit(1).scalar_subquery().label("cover_page_id"),
    )


def show_documents(session: Session, chosen: Select[Any]) -> list[dict[str, Any]]:
    """Documents with the counts of their pages, in two statements."""
    shown = [dict(row) for row in session.execute(chosen).mappings()]
    by_id = {document["id"]: document for document in shown}
    for document in shown:
        document.update(page_count=0, line_count=0, checked_count=0, doubtful_count=0, states=dict.fromkeys(STATES, 0))
    for id, state, pages, *lines in _count_pages(session, list(by_id)):
        document = by_id[id]
        document["states"][state] = pages
        document["page_count"] += pages
        for name, count in zip(("line_count", "checked_count", "doubtful_count"), lines, strict=True):
            document[name] += count
    return shown


def _count_pages(session: Session, document_ids: Sequence[int]) -> Sequence[Any]:
    counts = (
        select(
            Page.document_id,
            Page.state,
            func.count(),
            *(func.sum(column) for column in (Page.line_count, Page.checked_count, Page.doubtful_count)),
        )
        .where(Page.document_id.in_(document_ids), Page.deleted.is_(None))
        .group_by(Page.document_id, Page.state)
    )
    return session.execute(counts).all()
