"""Teaching a collection's model its hand: what there is to learn from, the job, and which lines to correct."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, status
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from quillread.errors import MissingExtraError
from quillread.models.catalog import AUTO
from quillread.serve.api.jobs import JobOut, show_job
from quillread.serve.api.request import TheActor, TheArchive
from quillread.serve.archive.events import audit
from quillread.serve.archive.find import find_collection
from quillread.serve.archive.models import models_of
from quillread.serve.archive.suggesting import suggest_lines
from quillread.serve.archive.teaching import (
    CURVE,
    FEWEST,
    checked_lines,
    choose_review,
    hint_to_teach,
    hold_back,
    taught_before,
)
from quillread.serve.database.schema import Document, Job, Page
from quillread.serve.faults import ConflictError
from quillread.serve.jobs.queue import enqueue
from quillread.serve.jobs.training import check_base, check_enough

router = APIRouter(prefix="/collections/{collection_id}", tags=["teaching"])


class CurvePoint(BaseModel):
    """What some lines of one hand brought where it was measured."""

    lines: int
    cer_factor: float
    """Errors left, as a share of those before."""


class TeachOut(BaseModel):
    """What a collection can teach."""

    checked_lines: int
    held_back: int
    """Of these, to measure with."""
    fewest: int
    """Checked lines below which it is refused."""
    can_train: bool
    hint: str | None = None
    """What to install, if it cannot."""
    curve: list[CurvePoint]
    """Measured on one hand; others fall by other amounts."""
    running_job: int | None
    model: str | None
    """That the collection is read with, and that is taught; None if it is read with several, or one a page."""


class NewLesson(BaseModel):
    """How to teach."""

    minutes: float | None = Field(default=None, ge=0.1, le=600, description="4 if not given")


class SuggestedLine(BaseModel):
    """A line that teaches much if it is corrected."""

    line_id: int
    page_id: int
    document_id: int
    document_name: str
    text: str
    expected_error: float


class SuggestedLines(BaseModel):
    """Lines to correct next, in this order: some of one page, then some of the next."""

    items: list[SuggestedLine]
    next: None = None


class ReviewOut(BaseModel):
    """Lines to proofread so that the others hold at most an error rate, in reading order."""

    lines: list[int]
    expected_error_before: float
    """Character error rate to be expected of the lines that nobody has checked."""
    expected_error_after: float
    """Of those of them that are not listed."""


@router.get("/teach")
def show_lesson(archive: TheArchive, actor: TheActor, collection_id: int) -> TeachOut:
    """Tell how many checked lines there are, and what more would bring."""
    hint = hint_to_teach()
    with archive.database.read() as session:
        collection = find_collection(session, actor, collection_id)
        lines = checked_lines(session, collection_id)
        held = hold_back(lines, taught_before(session, collection_id))[1] if len(lines) > 1 else []
        names = models_of(collection)
        return TeachOut(
            checked_lines=len(lines),
            held_back=len(held),
            fewest=FEWEST,
            can_train=hint is None,
            hint=hint,
            curve=[CurvePoint(lines=count, cer_factor=factor) for count, factor in CURVE],
            running_job=_running(session, collection_id),
            model=names[0] if len(names) == 1 and names[0] != AUTO else None,
        )


@router.post("/teach", status_code=status.HTTP_202_ACCEPTED)
def teach(archive: TheArchive, actor: TheActor, collection_id: int, body: NewLesson | None = None) -> JobOut:
    """Teach the collection's model its hand, with a fifth of the checked lines held back to measure with."""
    hint = hint_to_teach()
    if hint is not None:
        raise MissingExtraError("teaching needs packages that are not installed", hint=hint)
    with archive.database.write() as session:
        collection = find_collection(session, actor, collection_id, "editor")
        session.refresh(collection, with_for_update=True)  # two requests at once make one job
        if running := _running(session, collection_id):
            message = f"job {running} teaches this collection already"
            raise ConflictError(message, code="teaching-already", job_id=running)
        check_base(models_of(collection))
        check_enough(checked_lines(session, collection_id))
        options: dict[str, Any] = {"minutes": body.minutes} if body and body.minutes else {}
        job = enqueue(
            session, actor, "train", [{}], title=collection.name, collection_id=collection_id, options=options
        )
        audit(session, actor, "collection.teach", collection_id, job=job.id)
        return show_job(session, job)


@router.get("/suggest")
def suggest(
    archive: TheArchive,
    actor: TheActor,
    collection_id: int,
    limit: Annotated[int, Query(ge=1, le=500, description="At most so many")] = 20,
) -> SuggestedLines:
    """Suggest the lines to correct next, where they teach most."""
    with archive.database.read() as session:
        find_collection(session, actor, collection_id)
        lines = suggest_lines(session, collection_id, limit)
        places = select(Page.id, Document.id, Document.name).join(Document, Document.id == Page.document_id)
        ids = {line.page_id for line in lines}
        by_page = {page: (id, name) for page, id, name in session.execute(places.where(Page.id.in_(ids)))}
    items = [
        SuggestedLine(
            line_id=line.id,
            page_id=line.page_id,
            document_id=by_page[line.page_id][0],
            document_name=by_page[line.page_id][1],
            text=line.text,
            expected_error=round(line.expected_error, 4),
        )
        for line in lines
    ]
    return SuggestedLines(items=items)


@router.get("/review")
def review(
    archive: TheArchive,
    actor: TheActor,
    collection_id: int,
    target: Annotated[float, Query(ge=0, le=1, description="Error rate that the other lines may hold")] = 0.05,
) -> ReviewOut:
    """Choose the fewest lines to proofread so that the others hold at most an error rate."""
    with archive.database.read() as session:
        find_collection(session, actor, collection_id)
        chosen = choose_review(session, collection_id, target)
    return ReviewOut(lines=chosen.line_ids, expected_error_before=chosen.before, expected_error_after=chosen.after)


def _running(session: Session, collection_id: int) -> int | None:
    chosen = select(Job.id).where(Job.collection_id == collection_id, Job.kind == "train")
    return session.scalar(chosen.where(Job.state.in_(("waiting", "running"))).limit(1))
