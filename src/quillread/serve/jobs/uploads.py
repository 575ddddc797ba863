"""Taking files and addresses in: looked at, kept, and given to an import. What was answered is on the disk then."""

import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from quillread.images.web import parse_address
from quillread.serve.access.actor import Actor
from quillread.serve.archive.blobs import HEAD_BYTES, NewFile, add_blobs, media_type_of
from quillread.serve.archive.events import audit
from quillread.serve.archive.find import find_collection, find_document
from quillread.serve.archive.home import Archive
from quillread.serve.archive.unpacking import check_zip
from quillread.serve.database.schema import Collection, Job
from quillread.serve.faults import DeniedError, RequestError, TooLargeError
from quillread.serve.jobs.queue import enqueue

_SUPPORTED = (
    "JPEG, PNG, TIFF, PDF, HEIC, WebP, JPEG 2000, BMP and GIF, IIIF manifests, PAGE and ALTO, and zips of these"
)
_LONGEST_NAME = 500


class Upload(NamedTuple):
    """A file that came in."""

    name: str
    path: Path
    """Where it is until it is kept."""


class Target(NamedTuple):
    """Where files are to go."""

    collection_id: int
    document_id: int | None = None
    """One that is there; else they become documents of their own."""
    is_read: bool = True
    """Whether their pages are to be read."""


def check_target(session: Session, actor: Actor, target: Target) -> None:
    """Refuse whoever may not put anything there.

    Raises:
        NotFoundError: If there is no such collection or document.
        DeniedError: If the actor may not.
        RequestError: If the document is in another collection.
    """
    find_collection(session, actor, target.collection_id, "editor")
    if target.document_id is not None:
        document = find_document(session, actor, target.document_id, "editor")
        if document.collection_id != target.collection_id:
            raise RequestError(f"document {document.id} is not in collection {target.collection_id}")


def drop_unfinished(archive: Archive) -> None:
    """Drop what uploads, imports and models have left that were cut off with the server; before it serves."""
    data = archive.config.data
    for pattern in ("uploads/.upload-*", "uploads/.import-*", "uploads/.export-*", "models/.new-*"):
        for folder in data.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)
    for pattern in ("models/.pack-*", "work/*/.pack-*"):
        for path in data.glob(pattern):
            path.unlink(missing_ok=True)
    for path in (data / "fetched").glob("*.part"):
        path.unlink(missing_ok=True)


def accept_files(
    archive: Archive, actor: Actor, target: Target, uploads: Sequence[Upload], *, upload_id: str | None = None
) -> int:
    """Keep files, and begin their import.

    Args:
        archive: Where they go.
        actor: Who brings them.
        target: Where they are to go.
        uploads: The files, in their order.
        upload_id: Of an upload in parts: it begins one import, however often it is accepted.

    Returns:
        Id of the job.

    Raises:
        RequestError: If one is of no kind that can be imported, or a zip that must not be unpacked.
        TooLargeError: If one is too large.
        OutputError: If there is no space.
        BusyError: If too many jobs wait.
    """
    files = [_keep(archive, upload, _look_at(archive, upload)) for upload in uploads]
    described = [
        {"name": upload.name, "blob": file.stored.sha256, "size": file.stored.size, "type": file.media_type}
        for upload, file in zip(uploads, files, strict=True)
    ]
    with archive.database.write() as session:
        check_target(session, actor, target)
        if upload_id is not None:
            # Two requests that end it at once begin one import.
            session.get_one(Collection, target.collection_id, with_for_update=True)
            if (job := _find_accepted(session, target.collection_id, upload_id)) is not None:
                return job
        add_blobs(session, archive.storage, files)
        options = {"upload": upload_id, "files": len(uploads)}
        return _begin(session, actor, target, {"files": described}, uploads[0].name, options)


def accept_address(archive: Archive, actor: Actor, target: Target, address: str) -> int:
    """Begin the import of an address of the web: a IIIF manifest, an image or a PDF.

    Returns:
        Id of the job.

    Raises:
        ImageError: If it is not an address.
        DeniedError: If this server asks nobody in the web.
        BusyError: If too many jobs wait.
    """
    if archive.config.web.allow == "off":
        hint = "download the file, and upload it"
        raise DeniedError("this server asks nothing of the web", hint=hint, code="web-off")
    parse_address(address)
    with archive.database.write() as session:
        check_target(session, actor, target)
        return _begin(session, actor, target, {"address": address}, address, {})


def _begin(
    session: Session, actor: Actor, target: Target, what: Mapping[str, Any], title: str, options: Mapping[str, Any]
) -> int:
    payload = {"key": uuid.uuid4().hex, "read": target.is_read, "document_id": target.document_id, **what}
    collection_id = target.collection_id
    job = enqueue(
        session,
        actor,
        "import",
        [payload],
        title=title,
        collection_id=collection_id,
        document_id=target.document_id,
        options=options,
    )
    audit(session, actor, "import.begin", collection_id, job=job.id, title=title[:_LONGEST_NAME])
    return job.id


def _look_at(archive: Archive, upload: Upload) -> str:
    """Tell by its content what a file is."""
    limits = archive.config.limits
    size = upload.path.stat().st_size
    if size > limits.upload_bytes:
        message = f"{upload.name}: has {size:,} bytes, more than the limit of {limits.upload_bytes:,}"
        raise TooLargeError(message, hint="cut it into several", code="file-too-large", name=upload.name)
    with upload.path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        message = f"{upload.name}: is empty (0 bytes)"
        raise RequestError(message, hint="copy or export it again", code="file-empty", name=upload.name)
    media_type = media_type_of(head)
    if media_type is None:
        message = f"{upload.name}: is of no kind that can be imported"
        raise RequestError(message, hint=f"{_SUPPORTED} can", code="file-kind", name=upload.name)
    if media_type == "application/zip":
        check_zip(upload.path, limits)
    return media_type


def _keep(archive: Archive, upload: Upload, media_type: str) -> NewFile:
    return NewFile(archive.storage.take(upload.path), media_type, upload.path)


def _find_accepted(session: Session, collection_id: int, upload_id: str) -> int | None:
    jobs = select(Job.id).where(Job.collection_id == collection_id, Job.kind == "import")
    return session.scalar(jobs.where(Job.options["upload"].as_string() == upload_id))
