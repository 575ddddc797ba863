"""Jobs: listed, watched, cancelled, tried again; and what exports have made."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from quillread.serve.access.actor import ROLES, Actor, Role
from quillread.serve.api.request import After, Limit, TheActor, TheArchive
from quillread.serve.archive.events import audit
from quillread.serve.database.schema import Collection, Job, Task
from quillread.serve.faults import ConflictError, DeniedError, NotFoundError
from quillread.serve.jobs import queue

router = APIRouter(tags=["jobs"])

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]


class JobOut(BaseModel):
    """A job."""

    id: int
    kind: queue.JobKind
    state: JobState
    title: str
    collection_id: int | None
    document_id: int | None
    user_name: str
    total: int
    """Tasks: pages, files."""
    done: int
    failed: int
    """Tasks that are parked with their fault."""
    cancelled: bool
    fault: dict[str, Any] | None
    """Of the last task that failed: kind, message, hint."""
    result: dict[str, Any] | None
    progress: dict[str, Any] | None
    """Of a job that is one long task."""
    created: datetime
    started: datetime | None
    finished: datetime | None
    seconds_left: float | None


class JobList(BaseModel):
    """Some jobs, the latest first."""

    items: list[JobOut]
    next: int | None = Field(description="Ask for those `after` it; null if these are the last")


def show_job(session: Session, job: Job, clock: datetime | None = None) -> JobOut:
    """Show a job as it is now."""
    clock = clock or queue.read_clock(session)
    shown = {name: getattr(job, name) for name in JobOut.model_fields if name not in ("progress", "seconds_left")}
    progress, left = None, queue.seconds_left(job, clock)
    if job.kind != "read" and job.finished is None:
        long = select(Task.progress).where(Task.job_id == job.id, Task.progress.is_not(None)).limit(1)
        progress = session.scalar(long)
        left = (progress or {}).get("seconds_left", left)
    return JobOut(**shown, progress=progress, seconds_left=left)


@router.get("/jobs")
def list_jobs(
    archive: TheArchive,
    actor: TheActor,
    collection_id: int | None = None,
    state: Annotated[list[JobState] | None, Query()] = None,
    limit: Limit = 100,
    after: After = None,
) -> JobList:
    """List the jobs that one may see, the latest first."""
    with archive.database.read() as session:
        chosen = select(Job).where(_visible(actor)).order_by(Job.id.desc()).limit(limit + 1)
        if after is not None:
            chosen = chosen.where(Job.id < after)
        if collection_id is not None:
            chosen = chosen.where(Job.collection_id == collection_id)
        if state:
            chosen = chosen.where(Job.state.in_(state))
        found = session.scalars(chosen).all()
        clock = queue.read_clock(session)
        items = [show_job(session, job, clock) for job in found[:limit]]
    return JobList(items=items, next=items[-1].id if len(found) > limit else None)


@router.get("/jobs/{job_id}")
def get_job(archive: TheArchive, actor: TheActor, job_id: int) -> JobOut:
    """Show a job."""
    with archive.database.read() as session:
        return show_job(session, find_job(session, actor, job_id))


@router.post("/jobs/{job_id}/cancel")
def cancel_job(archive: TheArchive, actor: TheActor, job_id: int) -> JobOut:
    """End a job now; what it has done stays."""
    with archive.database.write() as session:
        job = find_job(session, actor, job_id, "editor")
        queue.cancel(session, job)
        audit(session, actor, "job.cancel", job.collection_id, job=job.id)
        return show_job(session, job)


@router.post("/jobs/{job_id}/retry")
def retry_job(archive: TheArchive, actor: TheActor, job_id: int) -> JobOut:
    """Try those tasks of a job again that have failed."""
    with archive.database.write() as session:
        job = find_job(session, actor, job_id, "editor")
        queue.retry(session, job)
        audit(session, actor, "job.retry", job.collection_id, job=job.id)
        return show_job(session, job)


@router.get("/jobs/{job_id}/result", response_class=Response, responses={200: {"content": {"*/*": {}}}})
def get_result(archive: TheArchive, actor: TheActor, job_id: int) -> Response:
    """Download the file that an export has made."""
    with archive.database.read() as session:
        job = find_job(session, actor, job_id)
        result = job.result or {}
        if job.finished is None:
            raise ConflictError(f"job {job_id} has not ended", hint="wait for job.finished", state=job.state)
    if "blob" not in result:
        raise NotFoundError(f"job {job_id} has no file: {job.state}")
    return FileResponse(archive.storage.path(result["blob"]), media_type=result["media_type"], filename=result["name"])


def find_job(session: Session, actor: Actor, id: int, role: Role = "reader") -> Job:
    """Find a job.

    Args:
        session: Of the database.
        actor: Who asks.
        id: Of the job.
        role: That the actor must have in its collection, unless they have begun it themselves.

    Raises:
        NotFoundError: If there is none, or the actor may not know of it.
        DeniedError: If the actor has less than that role.
    """
    job = session.get(Job, id)
    if job is None:
        raise NotFoundError(f"there is no job {id}")
    is_own = job.user_id is not None and job.user_id == actor.user_id and ROLES.index(actor.limit) >= ROLES.index(role)
    if job.collection_id is not None:
        actor.check(session, job.collection_id, "reader" if is_own else role)
    elif not is_own:
        try:
            actor.check_all("admin")
        except DeniedError as error:
            raise NotFoundError(f"there is no job {id}") from error
    return job


def _visible(actor: Actor) -> Any:
    """The condition on jobs for those that someone may see."""
    seen = Job.collection_id.in_(select(Collection.id).where(actor.visible()))
    if actor.role == "admin" and actor.collection_id is None:
        return or_(seen, Job.collection_id.is_(None))
    return seen
