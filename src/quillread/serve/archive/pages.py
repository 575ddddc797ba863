"""Pages: moved, put into the bin and back; and how they are listed."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select, tuple_, update
from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor
from quillread.serve.archive.documents import create_document, gone_after, move_document
from quillread.serve.archive.events import audit, tell
from quillread.serve.archive.find import find_collection, find_document
from quillread.serve.archive.indexing import rescope_pages
from quillread.serve.database.base import now
from quillread.serve.database.schema import Document, Page

_SHOWN = (
    *(Page.id, Page.document_id, Document.collection_id, Page.position, Page.label, Page.source_name),
    *(Page.width, Page.height, Page.state, Page.fault, Page.notes, Page.version, Page.drawn),
    *(Page.line_count, Page.checked_count, Page.doubtful_count, Page.deleted),
)


def show_page(session: Session, page: Page) -> dict[str, Any]:
    """Members of `PageOut` of a page."""
    session.flush()
    return dict(session.execute(_select().where(Page.id == page.id)).mappings().one())


def list_document_pages(
    session: Session, document: Document, *, after: int | None, limit: int, deleted: bool
) -> list[dict[str, Any]]:
    """List the pages of a document in their order, or those in the bin.

    Returns:
        Members of `PageOut`; one more than `limit` if there are more.

    Raises:
        RequestError: If there is no page `after` which to go on.
    """
    chosen = _select().where(Page.document_id == document.id, _is_deleted(deleted))
    if after is not None:
        last = session.get(Page, after)
        if last is None or last.document_id != document.id:
            raise gone_after(after)
        chosen = chosen.where(tuple_(Page.position, Page.id) > (last.position, last.id))
    return _rows(session, chosen.order_by(Page.position, Page.id).limit(limit + 1))


def list_collection_pages(
    session: Session,
    collection_id: int,
    *,
    conditions: tuple[ColumnElement[bool], ...] = (),
    after: int | None,
    limit: int,
    deleted: bool,
) -> list[dict[str, Any]]:
    """List the pages of a collection in the order of its documents; see `list_document_pages`."""
    chosen = _select().where(Document.collection_id == collection_id, Document.deleted.is_(None), _is_deleted(deleted))
    order = (Document.position, Document.id, Page.position, Page.id)
    if after is not None:
        found = session.execute(
            select(*order, Document.collection_id).join(Page.document).where(Page.id == after)
        ).one_or_none()
        if found is None or found[4] != collection_id:
            raise gone_after(after)
        position, document, place, page = found[:4]
        # The first condition lets the index begin near the place; the second is the place.
        chosen = chosen.where(Document.position >= position)
        later = tuple_(Document.position, Document.id) > (position, document)
        chosen = chosen.where(or_(later, (Document.id == document) & (tuple_(Page.position, Page.id) > (place, page))))
    return _rows(session, chosen.where(*conditions).order_by(*order).limit(limit + 1))


def number_of(session: Session, page: Page) -> int:
    """Which page of its document it is, from 1."""
    before = tuple_(Page.position, Page.id) < (page.position, page.id)
    chosen = select(func.count(Page.id)).where(Page.document_id == page.document_id, Page.deleted.is_(None), before)
    return (session.scalar(chosen) or 0) + 1


def neighbours(session: Session, page: Page) -> tuple[int | None, int | None]:
    """The ids of the pages before and after a page: of its document, and at its ends of the collection's others."""
    place, here = tuple_(Page.position, Page.id), (page.position, page.id)
    siblings = select(Page.id).where(Page.document_id == page.document_id, Page.deleted.is_(None))
    before = siblings.where(place < here).order_by(Page.position.desc(), Page.id.desc()).limit(1)
    after = siblings.where(place > here).order_by(Page.position, Page.id).limit(1)
    return (
        session.scalar(before) or _page_of_neighbour(session, page.document, forward=False),
        session.scalar(after) or _page_of_neighbour(session, page.document, forward=True),
    )


def _page_of_neighbour(session: Session, document: Document, *, forward: bool) -> int | None:
    """The first page of the documents after one, or the last of those before it."""
    place, here = tuple_(Document.position, Document.id), (document.position, document.id)
    order = (Document.position, Document.id, Page.position, Page.id)
    chosen = select(Page.id).join(Page.document).where(Document.collection_id == document.collection_id)
    chosen = chosen.where(Document.deleted.is_(None), Page.deleted.is_(None), place > here if forward else place < here)
    return session.scalar(chosen.order_by(*(order if forward else (part.desc() for part in order))).limit(1))


def next_position(session: Session, document_id: int) -> int:
    """The position of a page that follows all others of a document."""
    return (session.scalar(select(func.max(Page.position)).where(Page.document_id == document_id)) or 0) + 1


def move_page(session: Session, actor: Actor, page: Page, document_id: int) -> None:
    """Move a page to another document that the actor may change, after those that it has."""
    if document_id != page.document_id:
        _put_into(session, actor, page, find_document(session, actor, document_id, "editor"))


def move_to_collection(
    session: Session, actor: Actor, pages: Iterable[Page], collection_id: int
) -> list[dict[str, int]]:
    """Move pages to another collection that the actor may change, in documents as they are in now.

    A document all of whose pages move goes itself, with those that are in the bin. Of others, the pages go into a new
    document of the same name. Documents and pages keep their order; those that are in the collection stay. Pages
    that wait are read wherever they are; an export that waits finds only those of its own collection.

    Returns:
        Members of `MovedDocument`.
    """
    find_collection(session, actor, collection_id, "editor")
    parts: dict[Document, list[Page]] = {}
    for page in pages:
        parts.setdefault(page.document, []).append(page)
    moved = []
    for document in sorted(parts, key=lambda one: (one.collection_id, one.position, one.id)):
        if document.collection_id == collection_id:
            continue
        there = document
        if len(parts[document]) == _count_pages(session, document):
            move_document(session, actor, document, collection_id)
            tell(session, "document.changed", collection_id, document=document.id)
        else:
            there = create_document(session, actor, collection_id, document.name)
            for page in sorted(parts[document], key=lambda one: (one.position, one.id)):
                _put_into(session, actor, page, there)
        moved.append({"from_id": document.id, "document_id": there.id})
    return moved


def _put_into(session: Session, actor: Actor, page: Page, document: Document) -> None:
    before = page.document.collection_id
    page.position = next_position(session, document.id)
    page.document = document
    session.flush()
    rescope_pages(session, document, Page.id == page.id)
    if document.collection_id != before:
        tell(session, "page.deleted", before, page=page.id)
        tell(session, "page.created", document.collection_id, page=page.id, document=document.id)
    audit(session, actor, "page.move", before, page=page.id, document=document.id)


def _count_pages(session: Session, document: Document) -> int:
    chosen = select(func.count(Page.id)).where(Page.document_id == document.id, Page.deleted.is_(None))
    return session.scalar(chosen) or 0


def place_page(session: Session, page: Page, position: int) -> None:
    """Put a page before that which has a position now; it and those after it move on by one."""
    later = update(Page).where(Page.document_id == page.document_id, Page.position >= position, Page.id != page.id)
    session.execute(later.values(position=Page.position + 1), execution_options={"synchronize_session": False})
    page.position = position


def bin_page(session: Session, actor: Actor, page: Page, *, into: bool) -> None:
    """Put a page into the bin, or take it out."""
    if bool(page.deleted) == into:
        return
    page.deleted = now() if into else None
    what, collection_id = "deleted" if into else "restored", page.document.collection_id
    audit(session, actor, f"page.{what}", collection_id, page=page.id)
    tell(session, f"page.{what}", collection_id, page=page.id, document=page.document_id)


def _select() -> Select[Any]:
    return select(*_SHOWN).join(Document, Document.id == Page.document_id)


def _is_deleted(deleted: bool) -> ColumnElement[bool]:
    return Page.deleted.is_not(None) if deleted else Page.deleted.is_(None)


def _rows(session: Session, chosen: Select[Any]) -> list[dict[str, Any]]:
    found = session.connection().execute(chosen)  # not by the ORM, which takes twice the time for each row
    names = tuple(found.keys())
    return [dict(zip(names, row, strict=True)) for row in found.all()]
