"""The queue: jobs and their tasks, in the database, so that nothing accepted is lost.

Rows are locked in the order task, page, job, so that servers never wait for each other in a circle.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Text, case, cast, func, insert, or_, select, update
from sqlalchemy.orm import Session

from quillread import config
from quillread.serve.access.actor import Actor
from quillread.serve.archive.events import tell
from quillread.serve.archive.settings import read_options
from quillread.serve.config import ServeLimits
from quillread.serve.database.base import now
from quillread.serve.database.schema import Collection, Document, Job, Page, Task
from quillread.serve.faults import BusyError, ConflictError, RequestError

JobKind = Literal["read", "import", "export", "train"]
Layout = Literal["keep", "find"]

BATCH, CHANGED, LOOKED_AT = 0, 10, 100
"""Priorities: of batches, of lines that someone has changed, of a page that someone looks at."""

_BUSY_SECONDS = 30
_AT_ONCE = 5_000


def enqueue(
    session: Session,
    actor: Actor,
    kind: JobKind,
    payloads: Sequence[Mapping[str, Any]],
    *,
    title: str,
    collection_id: int | None = None,
    document_id: int | None = None,
    page_ids: Sequence[int] = (),
    options: Mapping[str, Any] | None = None,
    priority: int = BATCH,
    is_limited: bool = True,
    uncounted: JobKind | None = None,
) -> Job:
    """Add a job.

    Args:
        session: That commits it with all it belongs to.
        actor: Who asks, and may: that has been checked.
        kind: What is to be done.
        payloads: One for each task, plain data.
        title: For people.
        collection_id: Whose readers see the job.
        document_id: If it is about one document.
        page_ids: Of the tasks, if each is about a page.
        options: Of the job, plain data.
        priority: Of its tasks.
        is_limited: Whether it is refused when too many jobs wait.
        uncounted: Kind of the jobs that do not count among these.

    Raises:
        BusyError: If too many jobs wait.
    """
    if is_limited:
        _check_room(session, uncounted)
    job = Job(
        kind=kind,
        title=title[:500],
        collection_id=collection_id,
        document_id=document_id,
        user_id=actor.user_id,
        token_id=actor.token_id,
        user_name=actor.name,
        options=dict(options or {}),
        total=len(payloads),
    )
    session.add(job)
    session.flush()
    pages: Sequence[int | None] = page_ids or [None] * len(payloads)
    rows = [
        {"job_id": job.id, "kind": kind, "page_id": page, "payload": dict(payload), "priority": priority}
        for page, payload in zip(pages, payloads, strict=True)
    ]
    for start in range(0, len(rows), _AT_ONCE):
        session.execute(insert(Task), rows[start : start + _AT_ONCE])
    tell(session, "job.created", collection_id, **facts(job, job.created))
    if not rows:
        end_job(session, job)
    return job


def enqueue_reading(
    session: Session,
    actor: Actor,
    pages: Sequence[Page],
    options: Mapping[str, Any] | None = None,
    priority: int = BATCH,
    layout: Layout | None = None,
    uncounted: JobKind | None = None,
) -> Job:
    """Let pages be read, a task each.

    Args:
        session: That commits it.
        actor: Who asks, and may.
        pages: Of one collection, at least one.
        options: `ReadOptions` in part, on top of those of the collection.
        priority: Of the tasks.
        layout: Whether to read along the lines that are there, or to find them anew. If not given, they are found
            anew unless a person or an import has drawn them or given them text.
        uncounted: See `enqueue`.

    Raises:
        RequestError: If there are no pages, they are of several collections, or options are unknown or out of range.
        BusyError: If too many jobs wait.
    """
    documents = {document.id: document for document in _documents_of(session, pages)}
    collections = {document.collection_id for document in documents.values()}
    if len(collections) != 1:
        raise RequestError(f"a job reads pages of one collection, got those of {len(collections)}")
    collection = session.get_one(Collection, collections.pop())
    merged = config.merge(collection.settings.get("options", {}), options or {})
    read_options(merged)
    only = next(iter(documents.values())) if len(documents) == 1 else None
    payload = {} if layout is None else {"layout": layout}
    ids = [page.id for page in pages]
    _set_states(session, ids, "waiting")
    return enqueue(
        session,
        actor,
        "read",
        [payload] * len(ids),
        title=only.name if only else collection.name,
        collection_id=collection.id,
        document_id=only.id if only else None,
        page_ids=ids,
        options=merged,
        priority=priority,
        uncounted=uncounted,
    )


def enqueue_lines(session: Session, actor: Actor, page: Page, line_ids: Iterable[int]) -> Job:
    """Let single lines of a page be read, which are new or were moved; never refused.

    Those of a page that wait already wait together, so that its image is decoded once.
    """
    ids = list(line_ids)
    waiting = select(Task).where(Task.page_id == page.id, Task.state == "waiting", Task.priority == CHANGED)
    for task in session.scalars(waiting.order_by(Task.id).with_for_update(skip_locked=True)):
        if "line_ids" in task.payload:
            task.payload = {"line_ids": [*dict.fromkeys([*task.payload["line_ids"], *ids])]}
            return session.get_one(Job, task.job_id)
    document = session.get_one(Document, page.document_id)
    collection = session.get_one(Collection, document.collection_id)
    return enqueue(
        session,
        actor,
        "read",
        [{"line_ids": ids}],
        title=document.name,
        collection_id=collection.id,
        document_id=document.id,
        page_ids=[page.id],
        options=collection.settings.get("options", {}),
        priority=CHANGED,
        is_limited=False,
    )


def cancel(session: Session, job: Job) -> None:
    """End a job now; what it has done stays, and whoever works on one of its tasks finds that it no longer counts.

    Raises:
        ConflictError: If the job has ended.
    """
    chosen = select(Task).where(Task.job_id == job.id, Task.state.in_(("waiting", "running"))).order_by(Task.id)
    tasks = list(session.scalars(chosen.with_for_update()))
    for task in tasks:
        task.state, task.server, task.lease = "cancelled", None, None
    session.flush()
    settle_pages(session, [task.page_id for task in tasks if task.page_id and "line_ids" not in task.payload])
    session.refresh(job, with_for_update=True)
    if job.finished is not None:
        raise ConflictError(f"job {job.id} has ended: {job.state}", code="job-ended")
    job.cancelled = True
    end_job(session, job)


def retry(session: Session, job: Job) -> None:
    """Try the parked tasks of a job again.

    Raises:
        ConflictError: If none is parked.
    """
    chosen = select(Task).where(Task.job_id == job.id, Task.state == "parked").order_by(Task.id)
    tasks = list(session.scalars(chosen.with_for_update()))
    for task in tasks:
        task.state, task.failures, task.not_before = "waiting", 0, None
    session.flush()
    _set_states(session, [task.page_id for task in tasks if task.page_id and "line_ids" not in task.payload], "waiting")
    session.refresh(job, with_for_update=True)
    if not tasks or job.cancelled:
        raise ConflictError(f"job {job.id} has no task to try again: {job.state}", code="job-nothing-to-retry")
    job.failed -= len(tasks)
    job.state, job.finished, job.fault = "waiting", None, None
    tell(session, "job.progress", job.collection_id, **facts(job, read_clock(session)))


def raise_priority(session: Session, page_ids: Sequence[int], priority: int = LOOKED_AT) -> None:
    """Let the waiting tasks of pages go before others."""
    chosen = update(Task).where(Task.page_id.in_(page_ids), Task.state == "waiting", Task.priority < priority)
    session.execute(chosen.values(priority=priority))


def settle_pages(session: Session, page_ids: Sequence[int]) -> None:
    """Set the state of pages that no task is to read any more: read, failed or new, as before."""
    for start in range(0, len(page_ids), _AT_ONCE):
        ids = page_ids[start : start + _AT_ONCE]
        others = select(Task).where(Task.page_id.in_(ids), Task.state.in_(("waiting", "running")))
        busy = {task.page_id for task in session.scalars(others) if "line_ids" not in task.payload}
        was_read = or_(Page.line_count > 0, cast(Page.provenance, Text) != "{}")
        state = case((Page.fault.is_not(None), "failed"), (was_read, "read"), else_="new")
        chosen = update(Page).where(Page.id.in_([id for id in ids if id not in busy]))
        session.execute(chosen.values(state=state), execution_options={"synchronize_session": "fetch"})


def end_job(session: Session, job: Job) -> None:
    """Note that a job has ended."""
    job.state = "cancelled" if job.cancelled else "failed" if job.failed else "done"
    job.finished = read_clock(session)
    tell(session, "job.finished", job.collection_id, **facts(job, job.finished))


def read_clock(session: Session) -> datetime:
    """The time by the clock of the database, which all servers share."""
    if session.get_bind().dialect.name == "sqlite":
        return now()
    clock: datetime = session.scalars(select(func.clock_timestamp())).one()
    return clock


def seconds_left(job: Job, clock: datetime) -> float | None:
    """How long a job will take, if it goes on as it went so far; None if nothing is known of that."""
    past = job.done + job.failed
    if job.started is None or job.finished is not None or past == 0:
        return None
    return round(max(0.0, (clock - job.started).total_seconds()) / past * (job.total - past), 1)


def facts(job: Job, clock: datetime) -> dict[str, Any]:
    """What events say of a job."""
    return {
        "job": job.id,
        "kind": job.kind,
        "state": job.state,
        "total": job.total,
        "done": job.done,
        "failed": job.failed,
        "seconds_left": seconds_left(job, clock),
    }


def _check_room(session: Session, uncounted: JobKind | None) -> None:
    limits: ServeLimits = session.info["limits"]
    unfinished = select(func.count()).select_from(Job).where(Job.state.in_(("waiting", "running")))
    if uncounted is not None:
        unfinished = unfinished.where(Job.kind != uncounted)
    count = session.scalars(unfinished).one()
    if count >= limits.queued_jobs:
        message = f"{count:,} jobs wait already, and {limits.queued_jobs:,} may"
        raise BusyError(message, retry_after=_BUSY_SECONDS)


def _documents_of(session: Session, pages: Sequence[Page]) -> Iterable[Document]:
    ids = sorted({page.document_id for page in pages})
    for start in range(0, len(ids), _AT_ONCE):
        yield from session.scalars(select(Document).where(Document.id.in_(ids[start : start + _AT_ONCE])))


def _set_states(session: Session, page_ids: Sequence[int], state: str) -> None:
    for start in range(0, len(page_ids), _AT_ONCE):
        session.execute(update(Page).where(Page.id.in_(page_ids[start : start + _AT_ONCE])).values(state=state))
