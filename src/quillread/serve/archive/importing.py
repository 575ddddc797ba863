"""What rows come of files: documents and pages, each made once however often an import runs."""

from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from quillread import types
from quillread.errors import Fault, InputError
from quillread.serve.access.actor import Actor
from quillread.serve.archive.blobs import NewFile, add_blobs
from quillread.serve.archive.documents import create_document
from quillread.serve.archive.events import tell
from quillread.serve.archive.home import Archive
from quillread.serve.archive.pages import next_position
from quillread.serve.archive.readings import add_import
from quillread.serve.database.schema import Collection, Document, Page, Task

_LONGEST_LABEL = 200
_LONGEST_NAME = 500
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class NewPage:
    """A page that an import brings."""

    origin: str
    """Which it is of the import: a page of the same origin is not made twice."""
    name: str
    """Of its file, or its address."""
    index: int = 0
    """Of the page in the original, from 0."""
    label: str = ""
    size: tuple[int, int] = (0, 0)
    """Width and height in pixels; none if it could not be decoded."""
    source: NewFile | None = None
    view: NewFile | None = None
    thumbnail: NewFile | None = None
    fault: Fault | None = None
    notes: tuple[str, ...] = ()
    layout: types.Page | None = None
    """Of a PAGE or ALTO file."""
    author: str = ""
    """Name of that file."""


def find_origins(session: Session, key: str, document_id: int | None) -> set[str]:
    """Origins of the pages that an import has made already, in documents of its own or in one that was there."""
    own = select(Document.id).where(Document.origin.startswith(f"{key}/"))
    chosen = select(Page.origin).where(or_(Page.document_id.in_(own), Page.document_id == document_id))
    return {origin for origin in session.scalars(chosen.where(Page.origin.startswith(f"{key}/"))) if origin}


def find_unread(session: Session, key: str) -> list[list[Page]]:
    """The pages that an import has made and that were never to be read, by the document that they are in by now."""
    chosen = select(Page).where(Page.state == "new", Page.origin.startswith(f"{key}/"), Page.deleted.is_(None))
    # Its reading may have been cancelled; that of single lines is another thing.
    was_asked = select(Task.id).where(Task.page_id == Page.id, Task.payload["line_ids"].as_string().is_(None))
    pages = session.scalars(chosen.where(~was_asked.exists()).order_by(Page.document_id, Page.position, Page.id))
    return [list(some) for _, some in groupby(pages, key=lambda page: page.document_id)]


def begin_document(archive: Archive, actor: Actor, collection_id: int, name: str, origin: str) -> int | None:
    """Make the document of an import, or find the one that it has made before.

    Returns:
        Its id; None if there is no such collection any more.
    """
    try:
        with archive.database.write() as session:
            known = session.scalar(select(Document.id).where(Document.origin == origin))
            if known is not None:
                return known
            if session.get(Collection, collection_id) is None:
                return None
            return create_document(session, actor, collection_id, plain_name(name, _LONGEST_NAME), origin=origin).id
    except IntegrityError:  # another server works on the same import, whose turn it is no longer
        with archive.database.read() as session:
            return session.scalar(select(Document.id).where(Document.origin == origin))


def add_page(archive: Archive, document_id: int, new: NewPage, user_id: int | None) -> None:
    """Put a page at the end of a document, with the lines that its PAGE or ALTO file has; one that is there stays.

    Raises:
        InputError: If the document was deleted for good.
    """
    files = [file for file in (new.source, new.view, new.thumbnail) if file is not None]
    try:
        with archive.database.write() as session:
            document = session.get(Document, document_id)
            if document is None:
                raise InputError("the document was deleted while pages were put into it", hint="import it again")
            if session.scalar(select(Page.id).where(Page.origin == new.origin)) is not None:
                return
            add_blobs(session, archive.storage, files)
            page = Page(position=next_position(session, document_id), document_id=document_id, **_columns(new))
            session.add(page)
            session.flush()
            if new.layout is not None:
                add_import(session, page, new.layout, new.author, user_id)
            tell(session, "page.created", document.collection_id, page=page.id, document=document_id)
    except IntegrityError as error:  # another server has made it, whose turn it is no longer; or the document goes
        with archive.database.read() as session:
            if session.scalar(select(Page.id).where(Page.origin == new.origin)) is None:
                message = "the document was deleted while pages were put into it"
                raise InputError(message, hint="import it again") from error


def _columns(new: NewPage) -> dict[str, Any]:
    return {
        "origin": new.origin,
        "source_name": plain_name(new.name, _LONGEST_NAME),
        "source_index": new.index,
        "label": plain_name(new.label, _LONGEST_LABEL),
        "width": new.size[0],
        "height": new.size[1],
        "source": new.source and new.source.stored.sha256,
        "view": new.view and new.view.stored.sha256,
        "thumbnail": new.thumbnail and new.thumbnail.stored.sha256,
        "state": "failed" if new.fault else "new",
        "fault": asdict(new.fault) if new.fault else None,
        "notes": list(new.notes),
    }


def plain_name(name: str, most: int) -> str:
    """A name of a manifest or a file without characters that do not show, some of which no database keeps.

    The joiners stay: Persian, Hindi and families of emoji are not the same without them.
    """
    plain = "".join(letter if letter.isprintable() or letter in _JOINERS else " " for letter in name)
    return plain[:most].strip()
