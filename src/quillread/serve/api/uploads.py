"""Uploads in one request, and imports of addresses: files go to the disk as they come, however large they are."""

import re
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Annotated, BinaryIO, TypeVar

from fastapi import APIRouter, Request, status
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from quillread.errors import OutputError
from quillread.serve.api.jobs import JobOut, show_job
from quillread.serve.api.request import TheActor, TheArchive
from quillread.serve.archive.home import Archive
from quillread.serve.archive.importing import plain_name
from quillread.serve.config import ServeLimits
from quillread.serve.database.schema import Job
from quillread.serve.faults import RequestError, TooLargeError
from quillread.serve.jobs.uploads import Target, Upload, accept_address, accept_files, check_target

router = APIRouter(tags=["imports"])

_MOST_BOUNDARY = 256
"""Bytes; RFC 2046 allows 70, the parser these."""
_MOST_FIELD = 10_000
_MOST_FILES = 5_000
_BUFFER = 1 << 20
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "array", "items": {"type": "string", "format": "binary"}},
                        "read": {"type": "boolean", "default": True},
                        "document_id": {"type": "integer"},
                        "upload": {"type": "string", "description": "Random, by which it is known if it is sent again"},
                    },
                }
            }
        },
    }
}
_Result = TypeVar("_Result")


class JobsOut(BaseModel):
    """The jobs that an upload has begun."""

    jobs: list[JobOut]


class NewImport(BaseModel):
    """An address to import."""

    address: Annotated[str, Field(min_length=1, max_length=8192)]
    """Of a IIIF manifest, an image or a PDF; http or https."""
    read: bool = True
    document_id: Annotated[int, Field(ge=1, lt=1 << 62)] | None = None


@router.post("/collections/{collection_id}/uploads", status_code=status.HTTP_202_ACCEPTED, openapi_extra=_FORM)
async def upload_files(request: Request, archive: TheArchive, actor: TheActor, collection_id: int) -> JobsOut:
    """Upload files: images, PDFs, TIFFs, HEIC, zips of images with PAGE or ALTO, or PAGE and ALTO beside images.

    Each file, and each folder of a zip, becomes a document, unless a `document_id` is given. When this is answered,
    the files are kept and their import is begun: once, however often it is sent with the same `upload`.
    """

    def check(target: Target) -> None:
        with archive.database.read() as session:
            check_target(session, actor, target)

    await run_in_threadpool(check, Target(collection_id))
    with await run_in_threadpool(_Form, archive, request.headers.get("content-type", "")) as form:
        try:
            async for chunk in request.stream():
                await run_in_threadpool(form.write, chunk)
        except ClientDisconnect as error:
            raise RequestError("the upload was cut off", hint="upload it again", code="upload-cut-off") from error
        await run_in_threadpool(form.finish)
        target = Target(collection_id, form.number("document_id"), form.switch("read"))
        begin = partial(accept_files, archive, actor, target, form.uploads, upload_id=form.key("upload"))
        job_id = await run_in_threadpool(begin)
    return JobsOut(jobs=[await run_in_threadpool(_show, archive, job_id)])


@router.post("/collections/{collection_id}/imports", status_code=status.HTTP_202_ACCEPTED)
def import_address(archive: TheArchive, actor: TheActor, collection_id: int, body: NewImport) -> JobOut:
    """Import a IIIF manifest, an image or a PDF from the web."""
    job_id = accept_address(archive, actor, Target(collection_id, body.document_id, body.read), body.address)
    return _show(archive, job_id)


def _show(archive: Archive, job_id: int) -> JobOut:
    with archive.database.read() as session:
        return show_job(session, session.get_one(Job, job_id))


class _Form(AbstractContextManager["_Form"]):
    """A form of files (RFC 7578), taken apart as it comes; its files go when it is closed."""

    def __init__(self, archive: Archive, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not 0 < len(options.get(b"boundary", b"")) <= _MOST_BOUNDARY:
            raise RequestError(f"the upload is {content_type[:100]!r}", hint="send multipart/form-data, field file")
        self.uploads: list[Upload] = []
        self._limits: ServeLimits = archive.config.limits
        self._folder = tempfile.TemporaryDirectory(dir=archive.config.data / "uploads", prefix=".upload-")
        self._fields: dict[str, bytearray] = {}
        self._header = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._file: BinaryIO | None = None
        self._field: bytearray | None = None
        self._size = self._total = 0
        self._has_ended = False
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begin_part,
                "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._begin_content,
                "on_part_data": self._add,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop the files, which are kept elsewhere by then or not wanted."""
        if self._file is not None:
            self._file.close()
        self._folder.cleanup()

    def write(self, chunk: bytes) -> None:
        """Take the next part of the request.

        Raises:
            RequestError: If it is not a form.
            TooLargeError: If a file, or all together, are too large.
            OutputError: If there is no space.
        """
        self._telling(lambda: self._parser.write(chunk))

    def finish(self) -> None:
        """Note that the request has ended.

        Raises:
            RequestError: If the form has not, or has no file.
        """
        self._telling(self._parser.finalize)
        if not self._has_ended:
            raise RequestError("the upload was cut off", hint="upload it again", code="upload-cut-off")
        if not self.uploads:
            raise RequestError("the upload has no file", hint="send files in the field file")

    def number(self, name: str) -> int | None:
        """A field that is a number, if there is one."""
        text = self._text(name)
        if text is None or text in ("", "null"):
            return None
        if not text.isdecimal() or len(text) > 18:
            raise RequestError(f"{name}: expected a number, got {text[:50]!r}")
        return int(text)

    def switch(self, name: str, *, default: bool = True) -> bool:
        """A field that is true or false."""
        text = self._text(name)
        if text is None:
            return default
        known = {"true": True, "1": True, "on": True, "false": False, "0": False, "off": False}
        if text.lower() not in known:
            raise RequestError(f"{name}: expected true or false, got {text[:50]!r}")
        return known[text.lower()]

    def key(self, name: str) -> str | None:
        """A field by which a form is known when it is sent again; apart from the names of uploads in parts."""
        text = self._text(name)
        if text is not None and not re.fullmatch(r"[A-Za-z0-9_-]{16,64}", text):
            raise RequestError(f"{name}: expected 16 to 64 letters and digits, got {text[:70]!r}")
        return None if text is None else f"form-{text}"

    def _text(self, name: str) -> str | None:
        value = self._fields.get(name)
        return None if value is None else value.decode("utf-8", "replace").strip()

    def _telling(self, action: Callable[[], _Result]) -> _Result:
        try:
            return action()
        except FormParserError as error:
            raise RequestError(f"the upload is not a form: {error}", hint="send multipart/form-data") from error
        except OSError as error:
            message = f"the upload cannot be kept: {error.strerror or error}"
            raise OutputError(message, hint="the disk of the server may be full") from error

    def _begin_part(self) -> None:
        self._headers = {}

    def _end_header(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        self._size, self._field = 0, None
        if b"filename" not in options:
            self._field = self._fields.setdefault(name, bytearray())
            if len(self._fields) > 100:
                raise TooLargeError("the upload has more than 100 fields")
            return
        if len(self.uploads) >= _MOST_FILES:
            raise TooLargeError(f"an upload may have {_MOST_FILES:,} files", hint="make several of it")
        path = Path(self._folder.name) / str(len(self.uploads))
        self._file = path.open("wb", buffering=_BUFFER)
        self.uploads.append(Upload(file_name(options[b"filename"].decode("utf-8", "replace")), path))

    def _add(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        self._total += end - start
        if self._field is not None:
            if len(self._field) + end - start > _MOST_FIELD:  # of all parts of its name
                raise TooLargeError(f"a field may have {_MOST_FIELD:,} bytes")
            self._field += data[start:end]
        elif self._file is not None:
            limits = self._limits
            if self._size > limits.upload_bytes:
                name = self.uploads[-1].name
                message = f"{name}: is larger than the limit of {limits.upload_bytes:,} bytes"
                raise TooLargeError(message, hint="cut it into several", code="file-too-large", name=name)
            if self._total > max(limits.archive_bytes, limits.upload_bytes):
                raise TooLargeError(f"an upload may have {limits.archive_bytes:,} bytes", hint="make several of it")
            self._file.write(data[start:end])

    def _end_part(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _end(self) -> None:
        self._has_ended = True


def file_name(given: str) -> str:
    """The name of an uploaded file as it is kept: without its folders, control characters, and beyond 500 letters."""
    bare = given.replace("\\", "/").rstrip("/").rpartition("/")[2]
    plain = plain_name(bare, len(bare))
    if len(plain) > 500:
        stem, dot, suffix = plain.rpartition(".")
        plain = f"{stem[: 499 - len(suffix)]}{dot}{suffix}" if dot and len(suffix) <= 10 else plain[:500]
    return plain or "file"
