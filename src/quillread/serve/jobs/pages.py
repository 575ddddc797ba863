"""Before and after a page is read: what to read is looked up in the archive, and the result is put into it."""

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from quillread.errors import InputError
from quillread.models.catalog import describe
from quillread.options import ReadOptions
from quillread.serve.archive.cutting import find_outlines
from quillread.serve.archive.home import Archive
from quillread.serve.archive.layouts import read_layout
from quillread.serve.archive.models import place_models
from quillread.serve.archive.readings import apply_reading
from quillread.serve.archive.settings import read_options
from quillread.serve.database.schema import Collection, Document, Line, LineVersion, Page
from quillread.serve.jobs.claims import Claim
from quillread.serve.jobs.reading import PageResult, PageTask

ALTERNATIVES = 5
"""Other readings of each line, to choose from and to search; those of a compact model cost nothing."""


def find_task(archive: Archive, session: Session, claim: Claim) -> PageTask | None:
    """Look up what a task is about; None if there is nothing to read any more.

    Raises:
        InputError: If the original is missing.
        RequestError: If options are not of this version.
        NotFoundError: If a model was deleted.
    """
    page = session.get(Page, claim.page_id) if claim.page_id is not None else None
    if page is None or _is_binned(session, page):
        return None
    if page.source is None:
        raise InputError(f"page {page.id}: has no image", hint="upload it again")
    given = place_models(archive, session, claim.options)
    options = replace(read_options(claim.options), threads=1)
    if "models" in given:
        options = replace(options, models=tuple(given["models"]))
    options = _with_alternatives(options)
    path, line_ids = archive.storage.path(page.source), claim.payload.get("line_ids")
    name = page.source_name or f"page {page.id}"
    task = PageTask(path, name, page.source_index, (page.width, page.height), options)
    names = dict(zip(given.get("models", ()), claim.options.get("models", ()), strict=True))
    task = replace(task, names={folder: name for folder, name in names.items() if folder != name})
    if line_ids is None and not _keeps(session, page, claim):
        return task
    layout = read_layout(session, page, line_ids)
    if layout.line_ids:
        outlines = find_outlines(session, page, options.crop.outline)
        along = tuple(outlines[id] for id in layout.line_ids)
        return replace(task, known=layout.page, line_ids=layout.line_ids, along=along)
    return task if line_ids is None else None


def store_result(session: Session, claim: Claim, task: PageTask, result: PageResult) -> None:
    """Put what was read into the archive."""
    page = session.get_one(Page, claim.page_id)
    if page.width == 0:
        page.width, page.height = result.page.width, result.page.height
        session.flush()  # the page is read from the database again
    apply_reading(session, page, result.page, result.provenance, result.fingerprint, task.line_ids)


def _with_alternatives(options: ReadOptions) -> ReadOptions:
    is_compact = all(describe(name).info.family == "compact" for name in options.loaded)
    if options.generate.alternatives is not None or not is_compact:
        return options
    return replace(options, generate=replace(options.generate, alternatives=ALTERNATIVES))


def _is_binned(session: Session, page: Page) -> bool:
    document = session.get_one(Document, page.document_id)
    collection = session.get_one(Collection, document.collection_id)
    return any(thing.deleted is not None for thing in (page, document, collection))


def _keeps(session: Session, page: Page, claim: Claim) -> bool:
    """Whether to read along the lines that are there."""
    if layout := claim.payload.get("layout"):
        return bool(layout == "keep")
    own = select(LineVersion.id).join(Line).where(Line.page_id == page.id, LineVersion.kind != "machine").limit(1)
    return page.drawn or session.scalar(own) is not None
