"""Keeping the index of texts: what each line is found by, and where it is."""

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.orm import Session

from quillread.serve.archive.folding import fold_line
from quillread.serve.archive.layouts import LineState
from quillread.serve.database.engine import upsert
from quillread.serve.database.schema import Document, Line, LineSearch, Page


def collection_scope(collection_id: int) -> str:
    """The word of the index that lines of a collection have; nobody writes it."""
    return f"xqc{collection_id}"


def document_scope(document_id: int) -> str:
    """The word of the index that lines of a document have."""
    return f"xqd{document_id}"


def index_lines(session: Session, document: Document, lines: Sequence[tuple[int, str, Iterable[str]]]) -> None:
    """Note what lines are found by.

    Args:
        session: That changes them.
        document: Whose they are.
        lines: Each its id, its text, and doubtful readings that it is found by, too.
    """
    if not lines:
        return
    scope = _scope(document)
    rows = [{"line_id": id, "scope": scope, "folded": fold_line(text, others)} for id, text, others in lines]
    new = upsert(session, LineSearch)
    changed = {"folded": new.excluded.folded, "scope": new.excluded.scope}
    session.connection().execute(new.on_conflict_do_update(index_elements=["line_id"], set_=changed), rows)


def index_states(session: Session, document: Document, states: Iterable[LineState]) -> None:
    """Note what lines are found by as they are now: doubtful readings count while nobody has written a text."""
    lines = []
    for state in states:
        is_read = state.version is not None and state.version is state.machine
        others = state.read.alternatives if is_read and state.read else ()
        lines.append((state.row.id, state.row.text, [other.text for other in others]))
    index_lines(session, document, lines)


def unindex_lines(session: Session, line_ids: Iterable[int]) -> None:
    """Forget lines that were deleted; those of deleted pages are sorted out when they are found."""
    session.execute(delete(LineSearch).where(LineSearch.line_id.in_(list(line_ids))))


def rescope_pages(session: Session, document: Document, pages: ColumnElement[bool]) -> None:
    """Note that pages are in a document now, or that it is in another collection.

    Args:
        session: That changes it.
        document: As it is now.
        pages: The condition on `Page`.
    """
    session.flush()
    lines = select(Line.id).join(Page, Page.id == Line.page_id).where(pages)
    moved = update(LineSearch).where(LineSearch.line_id.in_(lines), LineSearch.scope != _scope(document))
    session.execute(moved.values(scope=_scope(document)), execution_options={"synchronize_session": False})


def _scope(document: Document) -> str:
    return f"{collection_scope(document.collection_id)} {document_scope(document.id)}"
