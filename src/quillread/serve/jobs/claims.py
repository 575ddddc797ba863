"""Tasks in the hands of a server: claimed, renewed, ended, or taken from one that is dead.

A server claims a task, works on it outside any transaction, and commits the result with the end of the task. It has the
task by a lease, which it renews; whoever finds one that ran out gives the task to another. Each beginning has a number,
the attempt, and what an attempt brings counts only while it is the last.
"""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.orm import Session

from quillread.errors import Fault
from quillread.serve.archive.events import tell
from quillread.serve.config import ServeLimits
from quillread.serve.database.schema import Document, Job, Page, Task
from quillread.serve.jobs.queue import end_job, facts, read_clock

_LEASE = timedelta(seconds=30)
_DELAYS = (timedelta(seconds=2), timedelta(seconds=15), timedelta(seconds=60))
"""Before a task that failed is tried again; the last for all further ones."""
_LOST = 10
"""So many times `limits.attempts` a task may be begun: one that always takes its server with it ends, too."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that a server has."""

    id: int
    attempt: int
    job_id: int
    kind: str
    page_id: int | None
    payload: Mapping[str, Any]
    options: Mapping[str, Any]
    """Of the job."""
    collection_id: int | None
    user_id: int | None
    user_name: str


def claim(session: Session, kind: str, server: str) -> Claim | None:
    """Take the next task of a kind: the highest priority first, then the oldest. No two servers get the same one.

    Args:
        session: A writing one.
        kind: Of the job.
        server: Who takes it.
    """
    clock = read_clock(session)
    waits = _waits(kind, clock)
    highest = select(Task.priority).where(waits).order_by(Task.priority.desc()).limit(1)
    priority = session.scalar(highest)
    if priority is None:
        return None
    next_one = select(Task).where(waits, Task.priority == priority).order_by(Task.id).limit(1)
    task = session.scalar(next_one.with_for_update(skip_locked=True))  # SQLite has one writer, and ignores it
    if task is None:
        return None
    task.state, task.server, task.lease = "running", server, clock + _LEASE
    task.attempts += 1
    _mark_page(session, task, "reading")
    begin = update(Job).where(Job.id == task.job_id, Job.state == "waiting")
    session.execute(begin.values(state="running", started=func.coalesce(Job.started, clock)))
    job = session.get_one(Job, task.job_id)
    return Claim(
        task.id,
        task.attempts,
        task.job_id,
        task.kind,
        task.page_id,
        task.payload,
        job.options,
        job.collection_id,
        job.user_id,
        job.user_name,
    )


def waiting_kinds(session: Session, kinds: Collection[str]) -> set[str]:
    """Those of some kinds of which there is a task to claim."""
    clock = read_clock(session)
    return {kind for kind in kinds if session.scalar(select(Task.id).where(_waits(kind, clock)).limit(1)) is not None}


def holds(session: Session, claim: Claim) -> bool:
    """Whether a claim still counts; the task is locked then, until the session ends."""
    return _held(session, claim) is not None


def finish(session: Session, claim: Claim, result: Mapping[str, Any] | None = None, *, tells: bool = True) -> bool:
    """End a task that is done, if the claim still counts.

    Args:
        session: That commits all that the task has brought.
        claim: Of the task.
        result: Of the job.
        tells: Whether watchers are to know how far the job is; of its end they always are.
    """
    task = _held(session, claim)
    if task is None:
        return False
    task.state, task.server, task.lease, task.fault = "done", None, None, None
    session.flush()
    _count(session, task.job_id, done=1, result=result, tells=tells)
    return True


def fail(session: Session, claim: Claim, fault: Fault, *, may_retry: bool) -> Literal["waiting", "parked"] | None:
    """End an attempt that failed: the task is tried again later, or parked with its fault.

    Returns:
        What becomes of the task; None if the claim no longer counts.
    """
    task = _held(session, claim)
    if task is None:
        return None
    limits: ServeLimits = session.info["limits"]
    task.failures += 1
    task.fault, task.server, task.lease = asdict(fault), None, None
    if may_retry and task.failures < limits.attempts:
        delay = _DELAYS[min(task.failures, len(_DELAYS)) - 1]
        task.state, task.not_before = "waiting", read_clock(session) + delay
        _mark_page(session, task, "waiting")
        return "waiting"
    _park(session, task)
    return "parked"


def release(session: Session, claim: Claim, *, at_once: bool = True) -> bool:
    """Give a task back without counting a failure, if the claim still counts.

    Args:
        session: That commits it.
        claim: Of the task.
        at_once: Whether it may be tried again at once, rather than in a while.
    """
    task = _held(session, claim)
    if task is None:
        return False
    task.state, task.server, task.lease = "waiting", None, None
    task.not_before = None if at_once else read_clock(session) + _DELAYS[0]
    _mark_page(session, task, "waiting")
    return True


def note_progress(session: Session, claim: Claim, progress: Mapping[str, Any]) -> None:
    """Keep how far a long task is, and tell watchers."""
    task = _held(session, claim)
    if task is not None:
        task.progress = dict(progress)
        job = session.get_one(Job, task.job_id)
        tell(session, "job.progress", job.collection_id, **facts(job, read_clock(session)), progress=dict(progress))


def renew(session: Session, server: str, in_hand: Collection[int]) -> None:
    """Renew the leases of the tasks that a server works on."""
    lease = read_clock(session) + _LEASE
    own = update(Task).where(Task.state == "running", Task.server == server, Task.id.in_(in_hand))
    session.execute(own.values(lease=lease))


def held_by(session: Session, server: str) -> set[tuple[int, int]]:
    """Tasks that a server still has, with their attempts: those missing were cancelled, or given to another."""
    found = session.execute(select(Task.id, Task.attempts).where(Task.state == "running", Task.server == server))
    return {(id, attempt) for id, attempt in found}


def recover(session: Session, server: str, in_hand: Collection[int], *, is_alone: bool = False) -> int:
    """Let tasks wait again whose server is dead; those that were begun too often are parked.

    Args:
        session: A writing one.
        server: Who asks.
        in_hand: Ids of the tasks that it works on, whatever their leases say.
        is_alone: Whether there is no other server, so that all other tasks are of dead ones.

    Returns:
        How many there were.
    """
    clock = read_clock(session)
    # A lease that lasts longer than leases do is of before the clock was put back.
    ran_out: ColumnElement[bool] = or_(Task.lease.is_(None), Task.lease < clock, Task.lease > clock + 2 * _LEASE)
    lost = or_(ran_out, Task.server != server) if is_alone else ran_out
    chosen = select(Task).where(Task.state == "running", Task.id.not_in(in_hand), lost).order_by(Task.id)
    tasks = list(session.scalars(chosen.with_for_update(skip_locked=True)))
    limits: ServeLimits = session.info["limits"]
    for task in tasks:
        task.state, task.server, task.lease = "waiting", None, None
        if task.attempts < _LOST * limits.attempts:
            _mark_page(session, task, "waiting")
        else:
            message = f"the server ended {task.attempts} times while it worked on this"
            task.fault = asdict(Fault("crash", message, "see its log, and whether the machine has enough memory"))
            _park(session, task)
    return len(tasks)


def end_stranded(session: Session) -> None:
    """End jobs that have no task left to do, because pages of theirs were deleted for good."""
    left = select(Task.id).where(Task.job_id == Job.id, Task.state.in_(("waiting", "running"))).exists()
    stranded = select(Job).where(Job.state.in_(("waiting", "running")), ~left).order_by(Job.id)
    for job in session.scalars(stranded.with_for_update(skip_locked=True)):
        job.total = job.done + job.failed
        end_job(session, job)


def _waits(kind: str, clock: datetime) -> ColumnElement[bool]:
    # One that is to wait for longer than it can is of before the clock was put back.
    is_due = or_(Task.not_before.is_(None), Task.not_before <= clock, Task.not_before > clock + _DELAYS[-1])
    return and_(Task.state == "waiting", Task.kind == kind, is_due)


def _held(session: Session, claim: Claim) -> Task | None:
    last = select(Task).where(Task.id == claim.id, Task.state == "running", Task.attempts == claim.attempt)
    return session.scalar(last.with_for_update())


def _park(session: Session, task: Task) -> None:
    task.state, task.not_before = "parked", None
    _mark_page(session, task, "failed")
    _count(session, task.job_id, failed=1, fault=task.fault)


def _mark_page(session: Session, task: Task, state: str) -> None:
    """Set the state of the page that a task reads as a whole, and tell watchers what became of it."""
    session.flush()
    if task.page_id is None or "line_ids" in task.payload:
        return
    values = {"state": state, **({"fault": task.fault} if state == "failed" else {})}
    session.execute(update(Page).where(Page.id == task.page_id).values(values))
    place = select(Document.id, Document.collection_id).join(Page).where(Page.id == task.page_id)
    document, collection = session.execute(place).one()
    if state == "failed":
        tell(session, "page.failed", collection, page=task.page_id, document=document, fault=task.fault)
    elif state == "reading":
        tell(session, "page.reading", collection, page=task.page_id, document=document)


def _count(
    session: Session,
    job_id: int,
    *,
    done: int = 0,
    failed: int = 0,
    result: Mapping[str, Any] | None = None,
    fault: Mapping[str, Any] | None = None,
    tells: bool = True,
) -> None:
    counted = update(Job).where(Job.id == job_id).values(done=Job.done + done, failed=Job.failed + failed)
    session.execute(counted.execution_options(synchronize_session=False))  # locks the job until the end
    job = session.get_one(Job, job_id, populate_existing=True)
    job.result = dict(result) if result is not None else job.result
    job.fault = dict(fault) if fault is not None else job.fault
    if job.done + job.failed >= job.total:
        end_job(session, job)
    elif tells:
        tell(session, "job.progress", job.collection_id, **facts(job, read_clock(session)))
