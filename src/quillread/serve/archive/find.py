"""Finding what a request names, for those who may see it."""

from typing import TypeVar

from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor, Role, at_least
from quillread.serve.database.base import Base
from quillread.serve.database.schema import Collection, Document, Line, Page, Region
from quillread.serve.faults import NotFoundError

_Row = TypeVar("_Row", bound=Base)
_MOST_ID = 1 << 62
"""More is not an id: databases refuse it."""


def find_collection(
    session: Session, actor: Actor, id: int, role: Role = "reader", *, deleted: bool = False
) -> Collection:
    """Find a collection.

    Args:
        session: Of the database.
        actor: Who asks.
        id: Of the collection.
        role: That the actor must have in it.
        deleted: Whether one in the bin will do; what is in there is for editors.

    Raises:
        NotFoundError: If there is none, or the actor may not know of it.
        DeniedError: If the actor has less than that role.
    """
    collection = _get(session, Collection, id)
    actor.check(session, collection.id, role)
    if collection.deleted and not (deleted and _sees_bin(session, actor, id)):
        raise NotFoundError(f"collection {id} is in the bin", hint="restore it first", code="gone")
    return collection


def find_document(session: Session, actor: Actor, id: int, role: Role = "reader", *, deleted: bool = False) -> Document:
    """Find a document; see `find_collection`."""
    document = _get(session, Document, id)
    find_collection(session, actor, document.collection_id, role, deleted=deleted)
    if document.deleted and not (deleted and _sees_bin(session, actor, document.collection_id)):
        raise NotFoundError(f"document {id} is in the bin", hint="restore it first", code="gone")
    return document


def find_page(session: Session, actor: Actor, id: int, role: Role = "reader", *, deleted: bool = False) -> Page:
    """Find a page; see `find_collection`."""
    page = _get(session, Page, id)
    document = find_document(session, actor, page.document_id, role, deleted=deleted)
    if page.deleted and not (deleted and _sees_bin(session, actor, document.collection_id)):
        raise NotFoundError(f"page {id} is in the bin", hint="restore it first", code="gone")
    return page


def find_line(session: Session, actor: Actor, id: int, role: Role = "reader", *, deleted: bool = False) -> Line:
    """Find a line; see `find_collection`."""
    line = _get(session, Line, id)
    page = find_page(session, actor, line.page_id, role)
    if line.deleted and not (deleted and _sees_bin(session, actor, page.document.collection_id)):
        raise NotFoundError(f"line {id} was deleted", hint="restore it first", code="gone")
    return line


def find_region(session: Session, actor: Actor, id: int, role: Role = "reader") -> Region:
    """Find a region; see `find_collection`."""
    region = _get(session, Region, id)
    find_page(session, actor, region.page_id, role)
    return region


def is_id(id: int) -> bool:
    """Whether a number can be an id."""
    return 0 < id < _MOST_ID


def _sees_bin(session: Session, actor: Actor, collection_id: int) -> bool:
    return actor.role_in(session, collection_id) in at_least("editor")


def _get(session: Session, kind: type[_Row], id: int) -> _Row:
    row = session.get(kind, id) if is_id(id) else None
    if row is None:
        raise NotFoundError(f"there is no {kind.__name__.lower()} {id}", code="gone")
    return row
