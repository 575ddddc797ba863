"""Reading: pages of the archive as jobs, and single files beside it at once."""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Depends, File, Form, Query, Request, Response, UploadFile, status
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.background import BackgroundTask

from quillread.errors import Fault, OutputError
from quillread.files import storable_name
from quillread.options import ReadOptions
from quillread.serve.access.actor import Actor
from quillread.serve.api.jobs import JobOut, show_job
from quillread.serve.api.pages import PageIds
from quillread.serve.api.request import TheActor, TheArchive
from quillread.serve.archive.events import audit
from quillread.serve.archive.find import find_collection, find_document, find_page
from quillread.serve.archive.home import Archive
from quillread.serve.archive.models import check_models, place_models
from quillread.serve.archive.settings import read_options
from quillread.serve.database.schema import Document, Page
from quillread.serve.faults import BusyError, RequestError, TooLargeError, UnreadableError
from quillread.serve.jobs import queue
from quillread.serve.jobs.crew import Crew
from quillread.serve.jobs.single_files import MEDIA_TYPES, FileResult, FileTask

router = APIRouter(tags=["reading"])

_ZIP = "application/zip"
_MOST_NAME = 200

FormatName = Literal["txt", "json", "page", "alto", "hocr", "md", "csv", "docx", "pdf"]


class NewReading(BaseModel):
    """How pages are to be read."""

    options: dict[str, Any] = Field(default_factory=dict)
    """`ReadOptions` in part, on top of those of the collection."""
    layout: queue.Layout | None = None
    """Whether to read along the lines that are there, or to find them anew. If not given, lines are found anew unless
    a person or an import has drawn them or given them text."""
    only: Literal["all", "unread", "unchecked"] = "all"
    """Which pages: `unread` are new or have failed, `unchecked` have a line that nobody has checked, or are unread."""


class NewReadingOfPages(NewReading):
    """Which pages are to be read, and how."""

    page_ids: PageIds


def _crew(request: Request) -> Crew:
    crew = cast(Crew | None, request.app.state.crew)
    if crew is None:
        raise BusyError("this server reads nothing; others do", retry_after=60)
    return crew


@router.post("/pages/{page_id}/read", status_code=status.HTTP_202_ACCEPTED)
def read_page(archive: TheArchive, actor: TheActor, page_id: int, body: NewReading | None = None) -> JobOut:
    """Read a page."""
    with archive.database.read() as session:
        page = find_page(session, actor, page_id, "editor")
        document = session.get_one(Document, page.document_id)
        pages = _chosen(session, body, Page.id == page_id)
    return _enqueue(archive, actor, pages, body, document.collection_id, document.id)


@router.post("/documents/{document_id}/read", status_code=status.HTTP_202_ACCEPTED)
def read_document(archive: TheArchive, actor: TheActor, document_id: int, body: NewReading | None = None) -> JobOut:
    """Read the pages of a document."""
    with archive.database.read() as session:
        document = find_document(session, actor, document_id, "editor")
        pages = _chosen(session, body, Page.document_id == document_id)
    return _enqueue(archive, actor, pages, body, document.collection_id, document_id)


@router.post("/collections/{collection_id}/read", status_code=status.HTTP_202_ACCEPTED)
def read_collection(archive: TheArchive, actor: TheActor, collection_id: int, body: NewReading | None = None) -> JobOut:
    """Read the pages of a collection."""
    with archive.database.read() as session:
        find_collection(session, actor, collection_id, "editor")
        pages = _chosen(session, body, Document.collection_id == collection_id)
    return _enqueue(archive, actor, pages, body, collection_id, None)


@router.post("/pages/read", status_code=status.HTTP_202_ACCEPTED)
def read_pages(archive: TheArchive, actor: TheActor, body: NewReadingOfPages) -> JobOut:
    """Read some pages of a collection, as one job."""
    with archive.database.read() as session:
        for id in body.page_ids:
            find_page(session, actor, id, "editor")
        pages = _chosen(session, body, Page.id.in_(body.page_ids))
        document = session.get_one(Document, session.get_one(Page, body.page_ids[0]).document_id)
    return _enqueue(archive, actor, pages, body, document.collection_id, None)


@router.post("/pages/{page_id}/look", status_code=status.HTTP_204_NO_CONTENT)
def look_at_page(archive: TheArchive, actor: TheActor, page_id: int) -> None:
    """Say that someone looks at a page: if it waits, it is read next."""
    with archive.database.read() as session:
        page = find_page(session, actor, page_id)
        if page.state != "waiting":
            return
    with archive.database.write() as session:
        queue.raise_priority(session, [page_id])


def _chosen(session: Session, body: NewReading | None, where: Any) -> list[Page]:
    chosen = select(Page).join(Document).where(where, Page.deleted.is_(None), Document.deleted.is_(None))
    unread = Page.state.in_(("new", "failed"))
    if body is not None and body.only == "unread":
        chosen = chosen.where(unread)
    elif body is not None and body.only == "unchecked":
        chosen = chosen.where(unread | (Page.checked_count < Page.line_count))
    return list(session.scalars(chosen.order_by(Document.position, Document.id, Page.position, Page.id)))


def _enqueue(
    archive: Archive,
    actor: Actor,
    pages: list[Page],
    body: NewReading | None,
    collection_id: int,
    document_id: int | None,
) -> JobOut:
    body = body or NewReading()
    with archive.database.write() as session:
        check_models(session, actor, body.options)
        if pages:
            job = queue.enqueue_reading(session, actor, pages, body.options, layout=body.layout)
        else:
            read_options(body.options)
            job = queue.enqueue(
                session, actor, "read", [], title="", collection_id=collection_id, document_id=document_id
            )
        audit(session, actor, "pages.read", collection_id, job=job.id, pages=len(pages))
        return show_job(session, job)


@router.post(
    "/read",
    response_class=Response,
    responses={200: {"content": {name: {} for name in sorted({*MEDIA_TYPES.values(), _ZIP})}}},
)
def read_file(
    archive: TheArchive,
    actor: TheActor,
    crew: Annotated[Crew, Depends(_crew)],
    file: Annotated[UploadFile, File(description="An image, PDF or TIFF")],
    format: Annotated[FormatName, Query()] = "txt",
    options: Annotated[str, Form(description="JSON of `ReadOptions`, in part")] = "{}",
    segmentation: Annotated[UploadFile | None, File(description="A PAGE or ALTO file whose lines are read")] = None,
    lexicons: Annotated[list[UploadFile] | None, File(description="Files of words, one a line")] = None,
) -> Response:
    """Read a file without the archive, and answer with what `quill read FILE --format FORMAT` prints or writes.

    Formats of one page a file come as a zip if there are several pages.
    """
    read = _options_of(archive, actor, options)
    with crew.single_files.place():
        folder = Path(tempfile.mkdtemp(prefix=".upload-", dir=archive.config.data / "uploads"))
        try:
            if segmentation is not None:
                read = replace(read, segmentation=_save_beside(archive, segmentation, folder))
            if lexicons:
                read = replace(read, lexicons=tuple(_save_beside(archive, lexicon, folder) for lexicon in lexicons))
            path = folder / ".input"
            _save(archive, file, path)
            result = crew.single_files.read(FileTask(folder, path, _name_of(file), format, read))
            return _answer(result, format, folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


def _options_of(archive: Archive, actor: Actor, text: str) -> ReadOptions:
    try:
        options = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"options: not JSON: {error}") from error
    if not isinstance(options, dict):
        raise RequestError(f"options: expected an object, got {type(options).__name__}")
    read = read_options(options, is_one_file=True)
    with archive.database.read() as session:
        check_models(session, actor, options)
        placed = place_models(archive, session, options)
    models = tuple(placed["models"]) if "models" in placed else read.models
    return replace(read, models=models, threads=1)


def _name_of(upload: UploadFile) -> str:
    """The name of an uploaded file, without the folders that some browsers send."""
    name = (upload.filename or "").replace("\\", "/").rpartition("/")[2]
    return name if name not in ("", ".", "..") else "file"


def _save_beside(archive: Archive, upload: UploadFile, folder: Path) -> Path:
    """Save a file that options name, by its name in the folder.

    Raises:
        RequestError: If no file can have its name, or another one has it.
    """
    name = storable_name(_name_of(upload))
    if not name.isprintable() or len(name.encode()) > _MOST_NAME or name.startswith(".") or (folder / name).exists():
        raise RequestError(f"{name[:_MOST_NAME]!r}: a file cannot be kept by this name", hint="rename it")
    _save(archive, upload, folder / name)
    return Path(name)


def _save(archive: Archive, upload: UploadFile, path: Path) -> None:
    """Save an uploaded file.

    Raises:
        TooLargeError: If it is too large.
        OutputError: If there is no space.
    """
    most = archive.config.limits.upload_bytes
    if (upload.size or 0) > most:
        raise TooLargeError(f"{_name_of(upload)}: has {upload.size:,} bytes, and {most:,} are allowed")
    try:
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file, 1 << 20)
    except OSError as error:
        message = f"{_name_of(upload)}: cannot be kept: {error.strerror or error}"
        raise OutputError(message, hint="the disk of the server may be full") from error


def _answer(result: FileResult, format: str, folder: Path) -> Response:
    """Answer with a file, which goes once it is sent."""
    if result.path is None:
        fault = result.faults[0] if result.faults else Fault("internal", "nothing was read")
        raise UnreadableError(fault.message, hint=fault.hint, kind=fault.kind)
    return FileResponse(
        result.path,
        media_type=_ZIP if result.is_zip else MEDIA_TYPES[format],
        filename=result.path.name,
        background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True),
    )
