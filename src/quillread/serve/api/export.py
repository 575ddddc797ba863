"""Exports of pages, documents and collections: written, then sent; for large ones there are jobs."""

import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Annotated, BinaryIO, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from quillread.errors import OutputError
from quillread.serve.access.actor import Actor
from quillread.serve.api.request import TheActor, TheArchive
from quillread.serve.archive.exporting import Selection, export
from quillread.serve.archive.home import Archive

router = APIRouter(tags=["export"])

FormatName = Literal["txt", "json", "page", "alto", "hocr", "md", "csv", "docx", "pdf", "page-zip", "parquet", "jsonl"]
AFormat = Annotated[
    FormatName, Query(alias="format", description="A format of `quill read`, or ground truth: page-zip, parquet, jsonl")
]
Checked = Annotated[bool, Query(description="Only lines that a person has taken as right")]
_CHUNK = 1 << 20


@router.get("/pages/{page_id}/export", response_class=StreamingResponse)
def export_page(
    archive: TheArchive, actor: TheActor, page_id: int, name: AFormat = "txt", checked: Checked = False
) -> StreamingResponse:
    """Export a page."""
    return _send(archive, actor, Selection(page_ids=(page_id,)), name, checked)


@router.get("/documents/{document_id}/export", response_class=StreamingResponse)
def export_document(
    archive: TheArchive, actor: TheActor, document_id: int, name: AFormat = "txt", checked: Checked = False
) -> StreamingResponse:
    """Export a document; formats that have a file a page come as a zip."""
    return _send(archive, actor, Selection(document_ids=(document_id,)), name, checked)


@router.get("/collections/{collection_id}/export", response_class=StreamingResponse)
def export_collection(
    archive: TheArchive, actor: TheActor, collection_id: int, name: AFormat = "txt", checked: Checked = False
) -> StreamingResponse:
    """Export a collection as a zip with its documents."""
    return _send(archive, actor, Selection(collection_id=collection_id), name, checked)


def _send(archive: Archive, actor: Actor, selection: Selection, name: str, checked: bool) -> StreamingResponse:
    """Write an export into a file without a name, which goes with the answer, and send it."""
    file: BinaryIO = tempfile.TemporaryFile(dir=archive.config.data / "work")  # noqa: SIM115
    try:
        exported = export(archive, actor, selection, name, file, checked)
        assert exported is not None  # nobody cancels it
        size = file.tell()
        file.seek(0)
    except OSError as error:
        with suppress(OSError):  # it has bytes yet that do not fit
            file.close()
        raise OutputError(f"the export cannot be written: {error.strerror}", hint="check the disk space") from error
    except BaseException:
        with suppress(OSError):
            file.close()
        raise
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(exported.name)}",
        "Content-Length": str(size),
    }
    return StreamingResponse(_chunks(file), media_type=exported.media_type, headers=headers)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk
