"""The text of a line: saved, checked, restored, each time as a version of its own."""

import re
import unicodedata
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from quillread.serve.access.actor import Actor, Role
from quillread.serve.archive.events import tell
from quillread.serve.archive.find import find_line, find_page, is_id
from quillread.serve.archive.indexing import index_states
from quillread.serve.archive.layouts import NOT_TEXT, LineState, load_lines
from quillread.serve.archive.readings import DOUBTFUL
from quillread.serve.database.base import now
from quillread.serve.database.readings import pack_points
from quillread.serve.database.schema import Document, Line, LineVersion, Page, Region
from quillread.serve.faults import ConflictError, NotFoundError, RequestError, TooLargeError
from quillread.text.normalise import line_text

_TYPED = timedelta(minutes=10)
"""For so long after it was saved, a draft is one that its author is still writing."""
_LINE_ENDS = re.compile("\r\n|[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")


def clean_text(text: str, limit: int) -> str:
    """Bring a text that a person has written to the form in which lines are held.

    It is NFC and in one row: ends of lines and tabs are spaces; marks of direction, spaces without width and soft
    hyphens are dropped, as in all texts of lines.

    Args:
        text: As it came.
        limit: Characters that it may have.

    Raises:
        TooLargeError: If it is longer.
        RequestError: If it holds control characters or halves of surrogate pairs.
    """
    if len(text) > limit:
        hint = "a line has some 60 characters: split it, or write the rest into the lines below"
        message = f"the text has {len(text):,} characters, and a line may have {limit:,}"
        raise TooLargeError(message, hint=hint, code="text-too-long", has=len(text), most=limit)
    text = _LINE_ENDS.sub(" ", text)
    for index, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise RequestError(
                f"text: character {index + 1} is U+{ord(character):04X}, which is not writing",
                hint="remove control characters",
                code="text-control",
                number=index + 1,
            )
    return line_text(text)


def find_state(session: Session, actor: Actor, line_id: int) -> LineState:
    """Find a line as it is now, for one who may see it."""
    _held = _fetch(session, line_id)
    return load_lines(session, [find_line(session, actor, line_id)])[0]


def lock_page(session: Session, actor: Actor, page_id: int, role: Role = "editor") -> Page:
    """Find a page that is to be changed, and keep others from changing it, or its lines, meanwhile."""
    if is_id(page_id):
        chosen = select(Page).where(Page.id == page_id).with_for_update(of=Page)
        session.scalars(chosen.execution_options(populate_existing=True)).first()  # as it is once others have ended
    return find_page(session, actor, page_id, role)


def lock_line(session: Session, actor: Actor, line_id: int, *, deleted: bool = False) -> Line:
    """Find a line that is to be changed; its page is locked first, as whatever changes lines does."""
    if session.get_bind().dialect.name != "sqlite" and is_id(line_id):  # which has one writer
        page = select(Line.page_id).where(Line.id == line_id).scalar_subquery()
        session.execute(select(Page.id).where(Page.id == page).with_for_update(of=Page))
    _held = _fetch(session, line_id)
    return find_line(session, actor, line_id, "editor", deleted=deleted)


def save_text(
    session: Session, actor: Actor, line_id: int, text: str, revision: int, *, checked: bool = True
) -> LineState:
    """Give a line the text that a person has written, as a new version.

    Args:
        session: That changes the archive.
        actor: Whoever has written it.
        line_id: Of the line.
        text: Of `clean_text`.
        revision: Of the line as they have seen it.
        checked: Whether it is taken as right; without that it is a draft.

    Raises:
        ConflictError: If another has changed the line meanwhile.
    """
    row = lock_line(session, actor, line_id)
    state = load_lines(session, [row])[0]
    _check_revision(state, revision)
    if (row.text, row.checked) == (text, checked) and state.version is not None:
        return state
    return _write(session, actor, state, text, checked)


def restore_version(
    session: Session, actor: Actor, line_id: int, number: int, revision: int, *, as_read: bool = False
) -> LineState:
    """Give a line the text of an earlier version; it is a new version of whoever restores it.

    It counts as checked if that version was.

    Args:
        session: That changes the archive.
        actor: Whoever restores it.
        line_id: Of the line.
        number: Of the version.
        revision: Of the line as they have seen it.
        as_read: Whether what a machine has read is its reading again, rather than what a person has chosen.

    Raises:
        NotFoundError: If there is no such version.
        ConflictError: If another has changed the line meanwhile.
    """
    row = lock_line(session, actor, line_id)
    state = load_lines(session, [row])[0]
    _check_revision(state, revision)
    chosen = select(LineVersion).where(LineVersion.line_id == row.id, LineVersion.number == number)
    version = session.scalars(chosen).first()
    if version is None:
        raise NotFoundError(f"line {line_id} has no version {number}", hint="its versions are listed at /versions")
    if as_read and version.kind == "machine":
        facts = {name: getattr(version, name) for name in ("kind", "author", "reading", "fingerprint")}
        again = _add_version(session, row, version.text, version.confidence, **facts)
        return _let_count(
            session, actor, LineState(row, again, again), again, checked=False, confidence=again.confidence
        )
    is_checked = version.kind == "person" and version.confidence == 1.0
    return _write(session, actor, replace(state, version=None), version.text, is_checked)


def list_versions(session: Session, actor: Actor, line_id: int) -> list[dict[str, Any]]:
    """All versions of a line, the first one first."""
    _held = _fetch(session, line_id)
    row = find_line(session, actor, line_id, deleted=True)
    columns = (LineVersion.number, LineVersion.kind, LineVersion.author, LineVersion.text, LineVersion.confidence)
    chosen = select(*columns, LineVersion.created, LineVersion.id).where(LineVersion.line_id == row.id)
    names = ("number", "kind", "author", "text", "confidence", "created")
    return [
        dict(zip(names, values[:-1], strict=True)) | {"is_current": values[-1] == row.current_id}
        for values in session.execute(chosen.order_by(LineVersion.number))
    ]


def show_line(state: LineState) -> dict[str, Any]:
    """A line as the API gives it, plain data."""
    row, version, read = state.row, state.version, state.read
    return {
        "id": row.id,
        "page_id": row.page_id,
        "region_id": row.region_id,
        "position": row.position,
        "baseline": row.baseline,
        "polygon": row.polygon,
        "xml_id": row.xml_id,
        "printed": row.printed,
        "text": row.text,
        "confidence": row.confidence,
        "checked": row.checked,
        "revision": row.revision,
        "kind": version.kind if version else None,
        "author": version.author if version else "",
        "created": version.created.isoformat() if version else None,
        "words": [
            {
                "text": word.text,
                "start": word.start,
                "end": word.end,
                "confidence": word.confidence,
                "polygon": pack_points(word.polygon.points),
            }
            for word in state.words
        ],
        "read_text": read.text if read is not None and read.text != row.text else None,
        "alternatives": [
            {"text": other.text, "confidence": other.confidence} for other in (read.alternatives if read else ())
        ],
    }


def is_doubtful(row: Line) -> bool:
    """Whether a line counts as doubtful on its page."""
    return not row.checked and row.confidence is not None and row.confidence < DOUBTFUL


def _fetch(session: Session, line_id: int) -> Line | None:
    """Fetch a line, and all that it is part of, in one statement.

    While the line is held, so is the rest, and what is looked up next is there.
    """
    if not is_id(line_id):
        return None
    whole = joinedload(Line.page).joinedload(Page.document).joinedload(Document.collection)
    return session.scalars(select(Line).where(Line.id == line_id).options(whole)).first()


def _check_revision(state: LineState, revision: int) -> None:
    if state.row.revision != revision:
        raise ConflictError(
            f"line {state.row.id} has changed: it is at revision {state.row.revision}, not {revision}",
            hint="compare your text with `current`, and save it with that revision",
            code="changed-meanwhile",
            current=show_line(state),
        )


def _write(session: Session, actor: Actor, state: LineState, text: str, checked: bool) -> LineState:
    """Make what a person has written the version that counts; one's own last draft becomes it, if it is recent."""
    last = state.version
    sure = 1.0 if checked else None
    if last is not None and _is_same(last, actor, text):
        version = last
        version.text, version.confidence, version.created = text, sure, now()
    else:
        facts = {"kind": "person", "author": actor.name, "user_id": actor.user_id}
        version = _add_version(session, state.row, text, sure, **facts)
    if not checked and state.machine is not None:
        sure = state.machine.confidence  # a draft leaves the line in doubt until someone has checked it
    return _let_count(session, actor, state, version, checked=checked, confidence=sure)


def _let_count(
    session: Session, actor: Actor, state: LineState, version: LineVersion, *, checked: bool, confidence: float | None
) -> LineState:
    """Make a version of a line the one that counts."""
    row, state = state.row, replace(state, version=version)
    page = row.page
    document = page.document
    before = row.checked, is_doubtful(row)
    row.text, row.checked, row.current_id, row.confidence = version.text, checked, version.id, confidence
    row.revision += 1
    region = None if row.region_id is None else session.get(Region, row.region_id)
    if region is None or region.kind not in NOT_TEXT:
        page.checked_count += row.checked - before[0]
        page.doubtful_count += is_doubtful(row) - before[1]
    index_states(session, document, [state])
    told = {"page": page.id, "line": row.id, "revision": row.revision, "by": actor.name}
    tell(session, "line.changed", document.collection_id, **told)
    return state


def _is_same(last: LineVersion, actor: Actor, text: str) -> bool:
    """Whether what is written is not a version of its own: the same text, or one that is still being typed."""
    is_own = (last.kind, last.user_id, last.author) == ("person", actor.user_id, actor.name)
    is_draft = last.confidence is None and now() - last.created < _TYPED
    return is_own and (last.text == text or is_draft)


def _add_version(session: Session, row: Line, text: str, sure: float | None, **facts: Any) -> LineVersion:
    number = select(LineVersion.number).where(LineVersion.line_id == row.id).order_by(LineVersion.number.desc())
    last = session.scalars(number.limit(1)).first() or 0
    version = LineVersion(line_id=row.id, number=last + 1, text=text, confidence=sure, **facts)
    session.add(version)
    session.flush()
    return version
