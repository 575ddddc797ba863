"""Comparing the database with the files, and mending what can be."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import case, func, or_, select, text
from sqlalchemy.orm import Session

from quillread.errors import InputError
from quillread.serve.archive.blobs import drop_blobs, find_unused, sweep
from quillread.serve.archive.home import Archive
from quillread.serve.archive.layouts import is_ignored
from quillread.serve.archive.readings import DOUBTFUL, recount
from quillread.serve.database.schema import Blob, Job, Line, LineVersion, Model, Page
from quillread.serve.storage import Stored

Progress = Callable[[int, int], None]
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong."""

    kind: Literal["database", "missing", "damaged", "unused", "count", "text"]
    message: str
    mended: bool = False


def check(
    archive: Archive, *, quick: bool = False, mends: bool = False, progress: Progress = lambda done, total: None
) -> Iterator[Finding]:
    """Compare the database with the files, and what pages say of their lines with the lines.

    Args:
        archive: It may be in use; a file that is being uploaded may be found to be unused.
        quick: Whether the sizes of files will do, in place of their content.
        mends: Whether to count anew what is counted wrong, and to delete files that nothing refers to.
        progress: Told how many files of how many are compared.
    """
    yield from _check_database(archive)
    yield from _check_counts(archive, mends)
    with archive.database.read() as session:
        yield from _check_texts(session)
    stored = {file.sha256: file.size for file in archive.storage.list()}
    with archive.database.read() as session:  # after the files: a row that stands now may have had no file then
        blobs = [(row[0], row[1]) for row in session.execute(select(Blob.sha256, Blob.size).order_by(Blob.sha256))]
        yield from _check_results(session)
    for done, (sha256, size) in enumerate(blobs):
        progress(done, len(blobs))
        yield from _check_file(archive, sha256, size, stored.get(sha256), quick)
    progress(len(blobs), len(blobs))
    yield from _check_unused(archive, [Stored(*item) for item in stored.items()], mends)


def _check_database(archive: Archive) -> Iterator[Finding]:
    """Let SQLite look at its file; PostgreSQL looks after its own."""
    if not archive.database.is_sqlite:
        return
    with archive.database.read() as session:
        for row in session.execute(text("PRAGMA quick_check")):
            if row[0] != "ok":
                yield Finding("database", f"the database file is damaged: {row[0]}")
        for row in session.execute(text("PRAGMA foreign_key_check")):
            yield Finding("database", f"row {row[1]} of {row[0]} refers to what is not in {row[2]}")


def _check_counts(archive: Archive, mends: bool) -> Iterator[Finding]:
    is_doubtful = ~Line.checked & (Line.confidence < DOUBTFUL)
    counts = (
        select(
            Line.page_id,
            func.count(Line.id).label("lines"),
            func.sum(case((Line.checked, 1), else_=0)).label("checked"),
            func.sum(case((is_doubtful, 1), else_=0)).label("doubtful"),
        )
        .where(Line.deleted.is_(None), ~is_ignored())
        .group_by(Line.page_id)
        .subquery()
    )
    pairs = (
        (Page.line_count, func.coalesce(counts.c.lines, 0)),
        (Page.checked_count, func.coalesce(counts.c.checked, 0)),
        (Page.doubtful_count, func.coalesce(counts.c.doubtful, 0)),
    )
    chosen = select(Page.id, *(column for pair in pairs for column in pair)).outerjoin(
        counts, counts.c.page_id == Page.id
    )
    with archive.database.read() as session:
        wrong = session.execute(chosen.where(or_(*(kept != real for kept, real in pairs)))).all()
    for id, *values in wrong:
        if mends:
            with archive.database.write() as session:
                page = session.get(Page, id, with_for_update=True)
                if page is not None:
                    recount(session, page)
        told = f"{values[0]} lines, {values[2]} checked, {values[4]} doubtful"
        real = f"{values[1]}, {values[3]} and {values[5]}"
        yield Finding("count", f"page {id} says that it has {told}, and has {real}", mended=mends)


def _check_texts(session: Session) -> Iterator[Finding]:
    """Each line that says which of its versions counts has that version."""
    lost = (
        select(Line.id)
        .outerjoin(LineVersion, (LineVersion.id == Line.current_id) & (LineVersion.line_id == Line.id))
        .where(Line.current_id.is_not(None), LineVersion.id.is_(None))
    )
    for id in session.scalars(lost):
        yield Finding("text", f"line {id} has lost the version that its text is of")


def _check_results(session: Session) -> Iterator[Finding]:
    """What exports have made is referred to by plain data, which the database does not keep whole."""
    for id, result in session.execute(select(Job.id, Job.result).where(Job.kind == "export", Job.result.is_not(None))):
        blob = (result or {}).get("blob")
        if blob and session.get(Blob, blob) is None:
            yield Finding("missing", f"job {id}: the file {blob} that it has made is not in the archive")


def _check_file(archive: Archive, sha256: str, size: int, found: int | None, quick: bool) -> Iterator[Finding]:
    if found is None and not archive.storage.has(sha256):
        yield Finding("missing", f"file {sha256} is missing: {_users_of(archive, sha256)}")
    elif found is not None and found != size:
        yield Finding("damaged", f"file {sha256} has {found:,} bytes, not {size:,}: {_users_of(archive, sha256)}")
    elif not quick:
        digest = hashlib.sha256()
        try:
            with archive.storage.open(sha256) as file:
                while part := file.read(_CHUNK):
                    digest.update(part)
        except (InputError, OSError) as error:
            yield Finding("missing", f"file {sha256} cannot be read: {error}: {_users_of(archive, sha256)}")
            return
        if digest.hexdigest() != sha256:
            yield Finding("damaged", f"file {sha256} has another content: {_users_of(archive, sha256)}")


def _users_of(archive: Archive, sha256: str) -> str:
    """What a file is, for those who have to find another copy of it."""
    with archive.database.read() as session:
        for column, role in ((Page.source, "original"), (Page.view, "view"), (Page.thumbnail, "thumbnail")):
            found = session.execute(select(Page.id, Page.source_name).where(column == sha256).limit(1)).first()
            if found:
                return f"{role} of page {found[0]} ({found[1] or 'without a name'})"
        name = session.scalar(select(Model.name).where(Model.blob == sha256).limit(1))
        return f"model {name}" if name else "of a job, or nothing refers to it"


def _check_unused(archive: Archive, stored: list[Stored], mends: bool) -> Iterator[Finding]:
    """Files without a row, and rows that nothing refers to."""
    sizes = {file.sha256: file.size for file in stored}
    with archive.database.read() as session:
        known = set(session.scalars(select(Blob.sha256)))
        unused = (sizes.keys() - known) | find_unused(session, known)
    if mends:
        with archive.database.write() as session:
            dropped = drop_blobs(session, unused & known)
        sweep(archive, [*dropped, *(file for file in stored if file.sha256 in unused - known)])
    for sha256 in sorted(unused):
        yield Finding("unused", f"nothing refers to the file {sha256} ({sizes.get(sha256, 0):,} bytes)", mended=mends)
