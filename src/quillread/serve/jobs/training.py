"""The task of a job of kind `train`: teach the model of a collection its hand, measure it, and keep it if it is better.

A training that was stopped goes on where it was when the collection is taught again, unless its lines have changed.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from quillread.errors import ModelError, TrainingError, UsageError
from quillread.files import write_json
from quillread.models.catalog import AUTO, describe
from quillread.options import ReadOptions
from quillread.serve.access.actor import Actor
from quillread.serve.archive.home import Archive
from quillread.serve.archive.models import PREFIX, free_name, models_of, place_models, store_model
from quillread.serve.archive.settings import read_options
from quillread.serve.archive.teaching import (
    FEWEST,
    Checked,
    checked_lines,
    hold_back,
    taught_before,
    work_folder,
)
from quillread.serve.database.schema import Collection, Model
from quillread.serve.jobs.claims import Claim
from quillread.serve.jobs.evaluation import Evaluation, evaluate
from quillread.serve.jobs.running import Run, Told, end_other, quantise, run_training, tell_measuring
from quillread.serve.jobs.training_lines import (
    TRAIN,
    VALIDATION,
    TrainingLine,
    clear,
    digest_of,
    find_training_lines,
    write_training_lines,
)

MINUTES = 4.0
"""Length of a training, without start, measuring and saving: with 100 lines all takes less than five."""


def train(archive: Archive, claim: Claim, told: Told, cancelled: Callable[[], bool]) -> dict[str, Any] | None:
    """Teach the model of a collection.

    Args:
        archive: Where it is.
        claim: Of the task; `options` of the job may say `minutes`.
        told: Called with `step`, `steps`, `cer_before`, `cer`, `seconds_left` and `history`, now and then, and
            with `measuring` once the training itself is done.
        cancelled: Asked now and then whether to stop; what was learnt so far stays for the next time.

    Returns:
        The result of the job: `model_id` and `name` of the new model, None if it is not better, and its `card`. None if
        it was stopped.

    Raises:
        QuillreadError: If there is nothing to learn from, the training fails or is ended from outside, or there is no
            space.
    """
    if claim.collection_id is None:
        raise UsageError("a training belongs to a collection")
    if done := _earlier(archive, claim):
        return done
    course = _prepare(archive, claim)
    taught, evaluation = course.folder / "taught", None
    run = Run(course.folder, course.base, course.name, course.minutes)
    if run_training(run, told, cancelled):
        tell_measuring(run, told)
        quantise(run, taught)
        evaluation = evaluate(course.options, course.base, taught, course.folder / "lines", cancelled)
    if evaluation is None:
        _drop_if_gone(archive, claim.collection_id)
        if not cancelled():  # by us: as a machine goes down, its processes end one by one
            raise TrainingError("the training was ended by a signal", hint="it goes on where it was")
        return None
    result = _keep(archive, claim, course, taught, evaluation)
    clear(course.folder)
    return result


@dataclass(frozen=True, slots=True)
class _Course:
    """A training: what is taught, from which model, and where."""

    folder: Path
    base: str
    """The model that it starts from, and that the collection is read with: a name, or the path of a folder."""
    base_name: str
    """As options name it."""
    name: str
    """Of the new model."""
    options: ReadOptions
    """That the collection is read with, but for the model."""
    minutes: float
    taught: Sequence[TrainingLine]
    held: Sequence[TrainingLine]
    by: str
    """What was held back whole: page or line."""


def _earlier(archive: Archive, claim: Claim) -> dict[str, Any] | None:
    """The result of this job if it is done but for the note of it, as when the server was killed just then."""
    with archive.database.read() as session:
        for model in session.scalars(select(Model).where(Model.collection_id == claim.collection_id)):
            if model.card.get("_job") == claim.job_id:
                return _result(model)
    return None


def _drop_if_gone(archive: Archive, collection_id: int) -> None:
    """Leave nothing of the lines of a collection that was deleted for good meanwhile."""
    with archive.database.read() as session:
        is_there = session.get(Collection, collection_id) is not None
    if not is_there:
        clear(work_folder(archive.config.data, collection_id))


def _prepare(archive: Archive, claim: Claim) -> _Course:
    """Find out what is to be taught, and cut out its lines, unless that was done before."""
    collection_id = claim.collection_id or 0
    with archive.database.read() as session:
        collection = session.get_one(Collection, collection_id)
        options = collection.settings.get("options", {})
        names = models_of(collection)
        check_base(names)
        base = place_models(archive, session, {"models": names})["models"][0]
        lines = checked_lines(session, collection_id)
        check_enough(lines)
        parts = hold_back(lines, taught_before(session, collection_id))
        taught, held = (find_training_lines(session, [line.id for line in part]) for part in parts)
        name = free_name(session, collection.name)
    if describe(base).info.family != "compact":
        hint = "train TrOCR with quill train on a GPU, and upload the model"
        raise ModelError(f"{names[0]}: is a TrOCR model, and compact ones are taught here", hint=hint)
    course = _Course(
        folder=work_folder(archive.config.data, collection_id),
        base=base,
        base_name=names[0],
        name=name,
        options=read_options({key: value for key, value in options.items() if key != "models"}),
        minutes=float(claim.options.get("minutes") or MINUTES),
        taught=taught,
        held=held,
        by="page" if len({line.page_id for line in lines}) > 1 else "line",
    )
    return _cut_out(archive, course)


def _cut_out(archive: Archive, course: _Course) -> _Course:
    """Write the lines of a course, unless they are there from before; those that cannot be cut out are dropped."""
    crop, note = course.options.crop, course.folder / "lesson.json"
    digest = digest_of(course.taught, course.held, base=course.base, minutes=course.minutes, crop=repr(crop))
    known = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
    if known.get("digest") != digest:
        end_other(course.folder)
        clear(course.folder)
        written = {
            split: [line.id for line in write_training_lines(archive, part, crop, course.folder / "lines", split)]
            for split, part in ((TRAIN, course.taught), (VALIDATION, course.held))
        }
        if not all(written.values()):
            raise TrainingError("the lines cannot be cut out of their pages", hint="see the log of the server")
        known = {"digest": digest, "name": course.name, **written}
        write_json(note, known)  # last: with it the lesson is whole
    there = {*known[TRAIN], *known[VALIDATION]}
    taught, held = ([line for line in part if line.id in there] for part in (course.taught, course.held))
    return replace(course, name=known["name"], taught=taught, held=held)


def check_base(names: Sequence[str]) -> None:
    """Refuse to teach a collection that is read with several models, or with one that is chosen for each page.

    Raises:
        UsageError: If it is.
    """
    if AUTO in names:
        message = "for each page of the collection a model is chosen"
        raise UsageError(message, hint="take one of them for the collection, and teach that")
    if len(names) > 1:
        raise UsageError(f"the collection is read with {len(names)} models", hint="choose one of them to be taught")


def check_enough(lines: Sequence[Checked]) -> None:
    """Refuse to teach a few lines.

    Raises:
        UsageError: If there are too few.
    """
    if len(lines) < FEWEST:
        hint = "correct more lines, or take them as right"
        raise UsageError(f"{len(lines)} lines are checked, and teaching needs {FEWEST}", hint=hint)


def _keep(archive: Archive, claim: Claim, course: _Course, taught: Path, evaluation: Evaluation) -> dict[str, Any]:
    """Keep the model if it is better, with a card of what it learnt."""
    card = {
        "lines": len(course.taught),
        "held_back": len(course.held),
        "by": course.by,
        "start": course.base_name,
        "minutes": course.minutes,
        **evaluation.figures,
        "better": evaluation.is_better,
    }
    if not evaluation.is_better:
        return {"model_id": None, "name": None, "card": card}
    with archive.database.read() as session:
        name = free_name(session, course.name)
        # What its base was taught it has learnt, too, even when that is deleted.
        own = Model.name == course.base_name.removeprefix(PREFIX)
        base = session.scalar(select(Model).where(own)) if course.base_name.startswith(PREFIX) else None
        known = base.card.get("_taught", []) if base is not None else []
    hidden = {"_job": claim.job_id, "_taught": sorted({*known, *(line.id for line in course.taught)})}
    model = Model(name=name, family="compact", collection_id=claim.collection_id, card=card | hidden)
    actor = Actor(claim.user_name, user_id=claim.user_id)
    return _result(store_model(archive, actor, taught, model))


def _result(model: Model) -> dict[str, Any]:
    shown = {key: value for key, value in model.card.items() if not key.startswith("_")}
    return {"model_id": model.id, "name": f"archive:{model.name}", "card": shown}
