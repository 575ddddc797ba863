"""Uploads in parts that go on after a lost connection: the tus protocol 1.0, by tuspyserver.

The library speaks the protocol; whose an upload is, where it lies and what becomes of it is decided here. Uploads are
begun here, too: the library would take their first bytes into memory, and not look at their size.

Specification: https://tus.io/protocols/resumable-upload
"""

import asyncio
import base64
import binascii
import errno
import json
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Request, Response, status
from tuspyserver import create_tus_router
from tuspyserver.storage import TusStorage

from quillread.serve.access.actor import Actor
from quillread.serve.api.request import TheActor, TheArchive
from quillread.serve.api.uploads import file_name
from quillread.serve.archive.home import Archive
from quillread.serve.faults import NotFoundError, RequestError, TooLargeError
from quillread.serve.jobs.uploads import Target, Upload, accept_files, check_target

_VERSION = "1.0.0"
_PART = "application/offset+octet-stream"
_KEPT_DAYS = 7
_ID = re.compile(r"(\d{1,18})-[0-9a-f]{32}")
_FOLDER = "resumable"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UploadFolder(TusStorage):  # type: ignore[misc]  # the library has no types
    """Keeps uploads in a folder: `ID` with the bytes that have come, `ID.json` with what is known of it.

    How far an upload is, is the size of its file: whatever happens, no byte that came in order is lost. Whoever goes
    on with an upload takes it over from a connection that may hang.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._turns: dict[str, asyncio.Lock] = {}
        self._holders: dict[str, asyncio.Task[Any] | None] = {}
        folder.mkdir(exist_ok=True)

    def path(self, uid: str) -> Path:
        """Where the bytes are."""
        return self._folder / uid

    def location(self, uid: str) -> str:
        """The same, for the library."""
        return str(self.path(uid))

    def know(self, uid: str) -> dict[str, Any] | None:
        """What is known of an upload; None if there is none."""
        try:
            known: dict[str, Any] = json.loads(self._about(uid).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        if "job" not in known:
            known["offset"] = self.path(uid).stat().st_size if self.path(uid).exists() else 0
        return known

    def note(self, uid: str, known: Mapping[str, Any]) -> None:
        """Keep what is known of an upload."""
        part = self._folder / f"{uid}.part"
        with part.open("w", encoding="utf-8") as file:
            json.dump(known, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._about(uid))

    def expire(self) -> None:
        """Drop files of uploads that nobody has written to for a week: by then they take no more."""
        before = time.time() - _KEPT_DAYS * 86_400
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()

    async def create(self, uid: str) -> None:
        """Begin an empty upload."""
        await asyncio.to_thread(self.path(uid).touch)

    async def exists(self, uid: str) -> bool:
        """Whether there is such an upload, be it whole and imported."""
        return await asyncio.to_thread(self._about(uid).exists)

    async def size(self, uid: str) -> int:
        """Bytes that have come."""
        known = await asyncio.to_thread(self.know, uid)
        return int(known["offset"]) if known else 0

    async def append(self, uid: str, chunk: bytes) -> None:
        """Write bytes behind those that have come; refused if another request goes on with the upload."""
        async with self._turn(uid):
            if self._holders.get(uid) is not asyncio.current_task():
                raise HTTPException(423, "another request goes on with this upload")
            try:
                await asyncio.to_thread(self._write, uid, chunk)
            except OSError as error:
                answer = 507 if error.errno in _NO_SPACE else 500
                raise HTTPException(answer, f"the upload cannot be kept: {error.strerror}") from error

    async def flush(self, uid: str) -> None:
        """Let all bytes be on the disk."""
        await asyncio.to_thread(self._sync, uid)

    async def finalize(self, uid: str) -> None:
        """Nothing is to be done for a whole file."""

    async def read(self, uid: str) -> bytes | None:
        """All bytes; the library asks for them nowhere."""
        return await asyncio.to_thread(self.path(uid).read_bytes)

    async def delete(self, uid: str) -> None:
        """Drop an upload."""
        for path in (self.path(uid), self._about(uid)):
            await asyncio.to_thread(path.unlink, missing_ok=True)

    async def read_info(self, uid: str) -> dict[str, Any] | None:
        """What is known of an upload."""
        return await asyncio.to_thread(self.know, uid)

    async def write_info(self, uid: str, data: Mapping[str, Any]) -> None:
        """Keep what the library knows of an upload."""
        before = await asyncio.to_thread(self.know, uid) or {}
        job = {"job": before["job"]} if "job" in before else {}
        await asyncio.to_thread(self.note, uid, {**data, **job})

    async def list_uids(self) -> list[str]:
        """All uploads."""
        return [path.stem for path in self._folder.glob("*.json")]

    @asynccontextmanager
    async def lock(self, uid: str) -> AsyncIterator[None]:
        """Go on with an upload; a request that did so before is over with its next byte."""
        async with self._turn(uid):
            self._holders[uid] = asyncio.current_task()
        try:
            yield
        finally:
            if self._holders.get(uid) is asyncio.current_task():
                del self._holders[uid]
                self._turns.pop(uid, None)

    def _turn(self, uid: str) -> asyncio.Lock:
        return self._turns.setdefault(uid, asyncio.Lock())

    def _about(self, uid: str) -> Path:
        return self._folder / f"{uid}.json"

    def _write(self, uid: str, chunk: bytes) -> None:
        with self.path(uid).open("ab", buffering=0) as file:
            rest = memoryview(chunk)
            while rest:
                rest = rest[file.write(rest) or 0 :]

    def _sync(self, uid: str) -> None:
        with suppress(FileNotFoundError), self.path(uid).open("rb") as file:
            os.fsync(file.fileno())


def make_router(archive: Archive) -> APIRouter:
    """Make the routes of `/uploads`, which keep what comes in the data folder of an archive."""
    folder = UploadFolder(archive.config.data / "uploads" / _FOLDER)
    folder.expire()
    router = APIRouter(prefix="/uploads", tags=["uploads"])
    _add_beginning(router, folder)

    def known(request: Request, response: Response, actor: TheActor) -> None:
        """Refuse all but the one who has begun an upload; tell its job, if it is imported."""
        uid = request.path_params.get("uuid", "")
        owner = _ID.fullmatch(uid)
        found = folder.know(uid) if owner and owner[1] == _owner(actor) else None
        if found is None or actor.collection_id not in (None, _target_of(found["metadata"]).collection_id):
            raise NotFoundError(f"there is no upload {uid[:60]!r}", hint="begin a new one")
        if request.method == "PATCH":
            _check_part(request)
        if "job" in found:
            response.headers["X-Job"] = str(found["job"])

    def completing(request: Request, response: Response, actor: TheActor) -> Callable[[str, Any], Any]:
        async def complete(_: str, __: Any) -> None:
            job = await asyncio.to_thread(_accept, archive, folder, actor, request.path_params["uuid"])
            response.headers["X-Job"] = str(job)

        return complete

    library = create_tus_router(
        prefix="uploads",
        max_size=archive.config.limits.upload_bytes,
        days_to_keep=_KEPT_DAYS,
        upload_complete_dep=completing,
        tags=["uploads"],
        storage=folder,
    )
    library.routes[:] = [route for route in library.routes if "{uuid}" in getattr(route, "path", "")]
    both = APIRouter()
    both.include_router(router)
    # Not described: clients know the protocol, and a Content-Length that is made up is waited for.
    both.include_router(library, dependencies=[Depends(known)], include_in_schema=False)
    return both


def _add_beginning(router: APIRouter, folder: UploadFolder) -> None:
    """Add the routes by which uploads are begun."""

    @router.options("", status_code=status.HTTP_204_NO_CONTENT)
    def tell_protocol(archive: TheArchive, actor: TheActor) -> Response:
        """Tell what of the tus protocol is spoken."""
        headers = {"Tus-Version": _VERSION, "Tus-Extension": "creation,expiration,termination"}
        headers["Tus-Max-Size"] = str(archive.config.limits.upload_bytes)
        return Response(status_code=204, headers={**headers, "Tus-Resumable": _VERSION})

    @router.post("", status_code=status.HTTP_201_CREATED, response_class=Response)
    def begin_upload(
        request: Request,
        archive: TheArchive,
        actor: TheActor,
        upload_length: Annotated[int, Header(ge=1, lt=1 << 62)],
        tus_resumable: Annotated[str, Header()],
        upload_metadata: Annotated[str, Header(description="collection_id, filename, read, document_id; base64")],
    ) -> Response:
        """Begin an upload by the tus protocol; its address is in `Location`, and takes HEAD, PATCH and DELETE."""
        if tus_resumable != _VERSION:
            raise HTTPException(412, f"tus {_VERSION} is spoken here", headers={"Tus-Version": _VERSION})
        if int(request.headers.get("content-length") or 0) > 0 or "upload-concat" in request.headers:
            raise RequestError("bytes come by PATCH, in one upload", hint="creation-with-upload is not supported")
        metadata = _read_metadata(upload_metadata)
        if upload_length > archive.config.limits.upload_bytes:
            message = f"{upload_length:,} bytes are more than the limit of {archive.config.limits.upload_bytes:,}"
            raise TooLargeError(message, hint="cut it into several", code="file-too-large", name=metadata["filename"])
        with archive.database.read() as session:
            check_target(session, actor, _target_of(metadata))
        folder.expire()
        uid, expires = f"{_owner(actor)}-{uuid.uuid4().hex}", datetime.now(UTC) + timedelta(days=_KEPT_DAYS)
        folder.path(uid).touch()
        told = format_datetime(expires, usegmt=True)
        known = {"metadata": metadata, "size": upload_length, "created_at": str(datetime.now(UTC)), "expires": told}
        folder.note(uid, known)
        headers = {"Location": f"{request.url_for('begin_upload').path}/{uid}", "Upload-Expires": told}
        return Response(status_code=201, headers={**headers, "Tus-Resumable": _VERSION})


def _check_part(request: Request) -> None:
    """Refuse a part before any of it is kept; the library would keep it first and refuse it then."""
    if request.headers.get("tus-resumable") != _VERSION:
        raise HTTPException(412, f"tus {_VERSION} is spoken here", headers={"Tus-Version": _VERSION})
    if request.headers.get("content-type") != _PART:
        raise HTTPException(415, f"the Content-Type of a part is {_PART}")


def _accept(archive: Archive, folder: UploadFolder, actor: Actor, uid: str) -> int:
    """Begin the import of a whole upload; once, however often it is asked for."""
    known = folder.know(uid)
    if known is None:
        raise NotFoundError(f"there is no upload {uid}")
    if "job" in known:
        return int(known["job"])
    metadata = known["metadata"]
    upload = Upload(file_name(metadata["filename"]), folder.path(uid))
    job = accept_files(archive, actor, _target_of(metadata), [upload], upload_id=uid)
    folder.note(uid, {**known, "job": job, "offset": known["size"]})
    folder.path(uid).unlink(missing_ok=True)
    return job


def _owner(actor: Actor) -> str:
    return str(actor.user_id or 0)


def _read_metadata(header: str) -> dict[str, str]:
    """Names and values of `Upload-Metadata`."""
    found = {}
    for pair in header.split(","):
        name, _, value = pair.strip().partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise RequestError(f"Upload-Metadata: {name[:50]!r} is not base64 of UTF-8") from error
    if not found.get("filename"):
        raise RequestError("Upload-Metadata has no filename")
    return {"filetype": "application/octet-stream", **found}


def _target_of(metadata: Mapping[str, str]) -> Target:
    numbers = {}
    for name in ("collection_id", "document_id"):
        text = metadata.get(name, "")
        if text and not (text.isdecimal() and len(text) <= 18):
            raise RequestError(f"Upload-Metadata: {name} is not a number: {text[:50]!r}")
        numbers[name] = int(text) if text else None
    if (collection_id := numbers["collection_id"]) is None:
        raise RequestError("Upload-Metadata has no collection_id")
    return Target(collection_id, numbers["document_id"], metadata.get("read", "true").lower() not in ("false", "0"))
