"""Jobs: listed, watched, cancelled, tried again; and what exports have made."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query, Response, status
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field, model_validator
from sqlalchemy import select
from sqlalchemy.orm import Session

from quillread.serve.access.actor import ROLES, Actor, Role
from quillread.serve.api.export import FormatName
from quillread.serve.api.request import After, Limit, TheActor, TheArchive
from quillread.serve.archive.events import audit
from quillread.serve.archive.find import find_collection, find_document, find_page
from quillread.serve.database.schema import Collection, Document, Job, Task
from quillread.serve.faults import ConflictError, DeniedError, NotFoundError, RequestError
from quillread.serve.jobs import queue

router = APIRouter(tags=["jobs"])

Id = Annotated[int, Field(ge=1, lt=1 << 62)]
_MOST_IDS = 10_000

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]


class JobOut(BaseModel):
    """A job."""

    id: int
    kind: queue.JobKind
    state: JobState
    title: str
    files: int | None
    """Of an import of files: how many they are; the title is the name of the first."""
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


class NewExport(BaseModel):
    """What is to be exported: a collection, or documents, or pages of one."""

    collection_id: Id | None = None
    document_ids: Annotated[list[Id], Field(min_length=1, max_length=_MOST_IDS)] | None = None
    page_ids: Annotated[list[Id], Field(min_length=1, max_length=_MOST_IDS)] | None = None
    format: FormatName
    checked: bool = False
    """Whether ground truth has only lines that a person has taken as right."""

    @model_validator(mode="after")
    def _name_one_kind(self) -> Self:
        if sum(given is not None for given in (self.collection_id, self.document_ids, self.page_ids)) != 1:
            raise ValueError("name one of collection_id, document_ids and page_ids")
        return self


class JobList(BaseModel):
    """Some jobs, the latest first."""

    items: list[JobOut]
    next: int | None = Field(description="Ask for those `after` it; null if these are the last")


def show_job(session: Session, job: Job, clock: datetime | None = None) -> JobOut:
    """Show a job as it is now."""
    clock = clock or queue.read_clock(session)
    worked_out = ("files", "progress", "seconds_left")
    shown = {name: getattr(job, name) for name in JobOut.model_fields if name not in worked_out}
    progress, left = None, queue.seconds_left(job, clock)
    if job.kind != "read" and job.finished is None:
        long = select(Task.progress).where(Task.job_id == job.id, Task.progress.is_not(None)).limit(1)
        progress = session.scalar(long)
        left = (progress or {}).get("seconds_left", left)
    return JobOut(**shown, files=job.options.get("files"), progress=progress, seconds_left=left)


@router.get("/jobs")
def list_jobs(
    archive: TheArchive,
    actor: TheActor,
    collection_id: int | None = None,
    state: Annotated[list[JobState] | None, Query()] = None,
    kind: queue.JobKind | None = None,
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
        if kind is not None:
            chosen = chosen.where(Job.kind == kind)
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


@router.post("/exports", status_code=status.HTTP_202_ACCEPTED)
def export(archive: TheArchive, actor: TheActor, body: NewExport) -> JobOut:
    """Let a file be made of a collection, of documents or of pages; its job says when it can be downloaded."""
    with archive.database.read() as session:
        collection_id, title = _find_exported(session, actor, body)
    documents = body.document_ids or []
    with archive.database.write() as session:
        job = queue.enqueue(
            session,
            actor,
            "export",
            [body.model_dump(exclude_none=True)],
            title=title,
            collection_id=collection_id,
            document_id=documents[0] if len(documents) == 1 else None,
        )
        audit(session, actor, "export.begin", collection_id, job=job.id, format=body.format)
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
    if job is None or (actor.is_link and job.token_id != actor.token_id):
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


def _find_exported(session: Session, actor: Actor, body: NewExport) -> tuple[int, str]:
    """The collection that an export is of, and a title for it.

    Raises:
        NotFoundError: If something of it does not exist, is in the bin, or the actor may not know of it.
        RequestError: If it is of several collections.
    """
    if body.collection_id is not None:
        return body.collection_id, find_collection(session, actor, body.collection_id).name
    if body.document_ids is not None:
        documents = [find_document(session, actor, id) for id in body.document_ids]
    else:
        pages = [find_page(session, actor, id) for id in body.page_ids or ()]
        documents = [session.get_one(Document, id) for id in {page.document_id for page in pages}]
    collections = {document.collection_id for document in documents}
    if len(collections) != 1:
        raise RequestError(f"an export is of one collection, got things of {len(collections)}")
    name = documents[0].name if len(documents) == 1 else session.get_one(Collection, documents[0].collection_id).name
    return collections.pop(), name


def _visible(actor: Actor) -> Any:
    """The condition on jobs for those that someone may see."""
    seen = Job.collection_id.in_(select(Collection.id).where(actor.visible()))
    return seen & (Job.token_id == actor.token_id) if actor.is_link else seen
