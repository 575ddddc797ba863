"""Rows of files: one stands for each file that something refers to, and a file is deleted only when its row is gone."""

from collections.abc import Collection as Some
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from quillread.serve.archive.home import Archive
from quillread.serve.database.engine import upsert
from quillread.serve.database.schema import Blob, Job, Model, Page, Task
from quillread.serve.storage import Storage, Stored

_LOCK = 7_219_401
"""Of PostgreSQL's advisory locks: rows of files are made under it together, files deleted under it alone."""
_MEDIA_TYPES = {
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/tiff": (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/bmp": (b"BM",),
    "image/jp2": (b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    "application/zip": (b"PK\x03\x04", b"PK\x05\x06"),
}
_BRANDS = b"ftyp"
HEAD_BYTES = 1024
"""Of a file, by which `media_type_of` knows it."""


class NewFile(NamedTuple):
    """A file that the storage has, and whose row is to be."""

    stored: Stored
    media_type: str
    content: bytes | Path
    """To store it again if it was deleted meanwhile."""


def media_type_of(head: bytes) -> str | None:
    """Tell by the beginning of a file what it is, never by its name; None if it is nothing that can be imported."""
    for media_type, beginnings in _MEDIA_TYPES.items():
        if head.startswith(beginnings):
            return media_type
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:8] == _BRANDS:
        return "image/heic"
    if b"%PDF-" in head:
        return "application/pdf"
    text = head.replace(b"\x00", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")  # XML may come as UTF-16
    if text.startswith(b"<") and not text[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "application/xml"
    return "application/json" if text.startswith(b"{") else None


def store(archive: Archive, content: bytes | Path, media_type: str) -> NewFile:
    """Put a file into the storage; its row is made by `add_blobs`, with what refers to it.

    Raises:
        OutputError: If there is no space.
    """
    return NewFile(archive.storage.add(content), media_type, content)


def add_blobs(session: Session, storage: Storage, files: Iterable[NewFile]) -> None:
    """Make the rows of files, and make sure that the files are there when the transaction ends.

    A deletion that goes on meanwhile has either seen the row or deleted the file before: see `sweep`.
    """
    _lock(session, "pg_advisory_xact_lock_shared")
    for stored, media_type, content in files:
        row = {"sha256": stored.sha256, "size": stored.size, "media_type": media_type}
        session.execute(upsert(session, Blob).values(row).on_conflict_do_nothing())
        if not storage.has(stored.sha256):
            storage.add(content)


def drop_blobs(session: Session, candidates: Iterable[str | None]) -> list[Stored]:
    """Delete the rows of those files that nothing refers to any more; the files go by `sweep`, after the commit.

    Args:
        session: Which has deleted what referred to them.
        candidates: SHA-256 of files.
    """
    _lock(session, "pg_advisory_xact_lock")
    session.flush()
    dropped: list[Stored] = []
    for part in _parts(find_unused(session, candidates)):
        gone = delete(Blob).where(Blob.sha256.in_(part)).returning(Blob.sha256, Blob.size)
        dropped += [Stored(*row) for row in session.execute(gone)]
    return dropped


def find_unused(session: Session, candidates: Iterable[str | None]) -> set[str]:
    """Find those files that nothing refers to."""
    left = {sha256 for sha256 in candidates if sha256}
    for column in (Page.source, Page.view, Page.thumbnail, Model.blob):
        for part in _parts(left):
            left -= {used for used in session.scalars(select(column).where(column.in_(part))) if used}
    return left - _used_by_jobs(session) if left else left


def sweep(archive: Archive, dropped: Iterable[Stored]) -> None:
    """Delete files whose rows are gone for good; one that was uploaded again meanwhile stays."""
    names = [stored.sha256 for stored in dropped]
    if not names:
        return
    with archive.database.write() as session:
        _lock(session, "pg_advisory_xact_lock")
        for part in _parts(names):
            known = set(session.scalars(select(Blob.sha256).where(Blob.sha256.in_(part))))
            for sha256 in part:
                if sha256 not in known:
                    archive.storage.delete(sha256)


def _used_by_jobs(session: Session) -> set[str]:
    """Files that wait for their import, and those that exports have made."""
    used = set()
    waiting = select(Task.payload).join(Job, Job.id == Task.job_id)
    for payload in session.scalars(
        waiting.where(Job.kind == "import", Task.state.in_(("waiting", "running", "parked")))
    ):
        used |= {file.get("blob") for file in payload.get("files", ())}
    for result in session.scalars(select(Job.result).where(Job.kind == "export", Job.result.is_not(None))):
        used.add((result or {}).get("blob"))
    return {sha256 for sha256 in used if sha256}


def _parts(names: Some[str]) -> Iterator[list[str]]:
    """Cut names into as many as a statement takes."""
    ordered = sorted(names)
    for start in range(0, len(ordered), 500):
        yield ordered[start : start + 500]


def _is_postgres(session: Session) -> bool:
    return session.get_bind().dialect.name == "postgresql"


def _lock(session: Session, function: str) -> None:
    """SQLite needs none: it has one writer at a time."""
    if _is_postgres(session):
        session.execute(select(getattr(func, function)(_LOCK)))
