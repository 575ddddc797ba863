"""The task of a job of kind `export`: a file is made, and kept for some days to be downloaded."""

import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from quillread.files import naming
from quillread.serve.access.actor import Actor
from quillread.serve.archive.blobs import add_blobs, drop_blobs, store, sweep
from quillread.serve.archive.exporting import Selection, export
from quillread.serve.archive.home import Archive
from quillread.serve.database.schema import Job
from quillread.serve.jobs import claims
from quillread.serve.jobs.claims import Claim
from quillread.serve.jobs.queue import read_clock

_KEPT = timedelta(days=7)
_AT_ONCE = 100


def run_export(
    archive: Archive, claim: Claim, told: Callable[[Mapping[str, Any]], None], cancelled: Callable[[], bool]
) -> dict[str, Any] | None:
    """Make the file of an export.

    Args:
        archive: That it is of.
        claim: Of the task; its payload says of what, and in which format.
        told: Called with `done` and `total` pages.
        cancelled: Asked between pages whether to stop.

    Returns:
        `blob`, `name` and `media_type` of the file; None if it was stopped.

    Raises:
        QuillreadError: If something of it is gone, or there is no space.
    """
    given = claim.payload
    actor = Actor(claim.user_name, user_id=claim.user_id, collection_id=claim.collection_id)
    pages, documents = tuple(given.get("page_ids", ())), tuple(given.get("document_ids", ()))
    selection = Selection(pages, documents, given.get("collection_id"))
    with tempfile.TemporaryDirectory(dir=archive.config.data / "uploads", prefix=".export-") as folder:
        path = Path(folder) / "export"
        with naming(path), path.open("w+b") as file:
            exported = export(
                archive,
                actor,
                selection,
                given["format"],
                file,
                given.get("checked", False),
                cancelled,
                lambda done, total: told({"done": done, "total": total}),
            )
        if exported is None:
            return None
        kept = store(archive, path, exported.media_type)
        result = {"blob": kept.stored.sha256, **exported._asdict()}
        with archive.database.write() as session:  # the file belongs to the job from here on
            if not claims.holds(session, claim):
                return None
            add_blobs(session, archive.storage, [kept])
            session.get_one(Job, claim.job_id).result = result
    return result


def prune_exports(archive: Archive) -> None:
    """Delete exports that are old, with their files; they can be made again."""
    with archive.database.write() as session:
        old = select(Job).where(Job.kind == "export", Job.finished < read_clock(session) - _KEPT)
        jobs = list(session.scalars(old.order_by(Job.id).limit(_AT_ONCE)))
        files = [(job.result or {}).get("blob") for job in jobs]
        for job in jobs:
            session.delete(job)
        dropped = drop_blobs(session, files)
    sweep(archive, dropped)
