"""Images of pages: whole in any width, thumbnails, originals, and parts by the IIIF Image API 3.0, level 1.

Specification: https://iiif.io/api/image/3.0/. Other origins are not allowed to read them, though level 1 asks for it:
the archive is private.
"""

import re
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor, at_least
from quillread.serve.api.request import TheActor, TheArchive
from quillread.serve.archive.find import find_page
from quillread.serve.archive.home import Archive
from quillread.serve.archive.views import Box
from quillread.serve.database.schema import Blob, Collection, Document, Page
from quillread.serve.faults import NotFoundError, RequestError

router = APIRouter(tags=["images"])

_TILE = 512
_CONTEXT = "http://iiif.io/api/image/3/context.json"
_SHOWN = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff", "image/heic", "image/jp2")
"""What originals may be called; others are files of no kind that a browser would open."""
_OF_ONE_PAGE = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/jp2")
"""Originals that are one page and no more."""
_REGION = re.compile(r"(\d{1,9}),(\d{1,9}),(\d{1,9}),(\d{1,9})")
_SIZE = re.compile(r"(\d{1,6})?,(\d{1,6})?")

IfNoneMatch = Annotated[str | None, Header()]
Width = Annotated[int | None, Query(ge=1, le=65_500, description="At most so many pixels wide")]
JPEG: dict[int | str, dict[str, Any]] = {200: {"content": {"image/jpeg": {}}}, 304: {"description": "As before"}}


@router.get("/pages/{page_id}/image", response_class=Response, responses=JPEG)
def get_image(
    archive: TheArchive, actor: TheActor, page_id: int, width: Width = None, if_none_match: IfNoneMatch = None
) -> Response:
    """Show a page, upright, as JPEG."""
    page, view = _find_view(archive, actor, page_id)
    if width is None or width >= page.width:
        return _send_file(archive, view, view, if_none_match)
    height = max(1, round(page.height * width / page.width))
    return _send_part(archive, view, Box(0, 0, page.width, page.height), (width, height), if_none_match)


@router.get("/pages/{page_id}/thumbnail", response_class=Response, responses=JPEG)
def get_thumbnail(archive: TheArchive, actor: TheActor, page_id: int, if_none_match: IfNoneMatch = None) -> Response:
    """Show a page as JPEG that fits into 320 x 640 pixels."""
    page, _ = _find_view(archive, actor, page_id)
    if page.thumbnail is None:
        raise NotFoundError(f"page {page_id} has no thumbnail")
    return _send_file(archive, page.thumbnail, page.thumbnail, if_none_match)


@router.get(
    "/pages/{page_id}/original", response_class=Response, responses={200: {"content": {"application/octet-stream": {}}}}
)
def get_original(archive: TheArchive, actor: TheActor, page_id: int, if_none_match: IfNoneMatch = None) -> Response:
    """Give the file that a page comes from, as it was uploaded.

    A file of several pages only to those who may see all of them, as some may have been deleted, or moved elsewhere; by
    a link never.
    """
    with archive.database.read() as session:
        page = find_page(session, actor, page_id, deleted=True)
        blob = session.get(Blob, page.source) if page.source else None
        is_shown = blob is not None and (blob.media_type in _OF_ONE_PAGE or _may_see_all(session, actor, blob))
    if blob is None or not is_shown:
        raise NotFoundError(f"page {page_id} has no original")
    media_type = blob.media_type if blob.media_type in (*_SHOWN, "application/pdf") else "application/octet-stream"
    return _send_file(archive, blob.sha256, blob.sha256, if_none_match, media_type, page.source_name or "original")


@router.get("/iiif/{page_id}", status_code=303, response_class=RedirectResponse)
def redirect_to_info(request: Request, page_id: int) -> RedirectResponse:
    """Lead to what can be asked for."""
    return RedirectResponse(str(request.url_for("get_info", page_id=page_id)), 303)


@router.get("/iiif/{page_id}/info.json")
def get_info(
    request: Request, archive: TheArchive, actor: TheActor, page_id: int, accept: Annotated[str, Header()] = ""
) -> JSONResponse:
    """Tell what can be asked for: the size of a page, its tiles and sizes."""
    page, _ = _find_view(archive, actor, page_id)
    factors = [1 << power for power in range(8) if _TILE << power < 2 * max(page.width, page.height, _TILE)]
    info = {
        "@context": _CONTEXT,
        "id": str(request.url_for("redirect_to_info", page_id=page_id)),
        "type": "ImageService3",
        "protocol": "http://iiif.io/api/image",
        "profile": "level1",
        "width": page.width,
        "height": page.height,
        "tiles": [{"width": _TILE, "height": _TILE, "scaleFactors": factors}],
        "sizes": [{"width": -(-page.width // by), "height": -(-page.height // by)} for by in reversed(factors)],
    }
    is_linked = "application/ld+json" in accept
    media_type = f'application/ld+json;profile="{_CONTEXT}"' if is_linked else "application/json"
    return JSONResponse(info, media_type=media_type, headers={"Vary": "Accept"})


@router.get("/iiif/{page_id}/{region}/{size}/{rotation}/{quality}.{format}", response_class=Response, responses=JPEG)
def get_part(
    archive: TheArchive,
    actor: TheActor,
    page_id: int,
    region: str,
    size: str,
    rotation: str,
    quality: str,
    format: str,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Show a part of a page in a size."""
    for name, value, known in (("rotation", rotation, ("0",)), ("quality", quality, ("default", "color"))):
        if value not in known:
            raise RequestError(f"{name}: {value!r} is not supported", hint=f"ask for {' or '.join(known)}")
    if format != "jpg":
        raise RequestError(f"format: {format!r} is not supported", hint="ask for jpg")
    page, view = _find_view(archive, actor, page_id)
    box = _read_region(region, page)
    return _send_part(archive, view, box, _read_size(size, box), if_none_match)


def _find_view(archive: Archive, actor: Actor, page_id: int) -> tuple[Page, str]:
    with archive.database.read() as session:
        page = find_page(session, actor, page_id, deleted=True)
    if page.view is None:
        reason = (page.fault or {}).get("message", "it could not be decoded")
        raise NotFoundError(f"page {page_id} has no image: {reason}")
    return page, page.view


def _may_see_all(session: Session, actor: Actor, original: Blob) -> bool:
    """Whether somebody sees each page of an original in some collection; those in the bin are for editors."""
    if actor.is_link:
        return False
    is_binned = or_(Page.deleted.is_not(None), Document.deleted.is_not(None), Collection.deleted.is_not(None))
    chosen = select(Page.source_index, Collection.id, is_binned).join(Page.document).join(Document.collection)
    pages = session.execute(chosen.where(Page.source == original.sha256).distinct()).all()
    roles = {id: actor.role_in(session, id) for id in {id for _, id, _ in pages}}
    seen = {i for i, id, binned in pages if roles[id] in at_least("editor" if binned else "reader")}
    return all(i in seen for i, _, _ in pages)


def _read_region(region: str, page: Page) -> Box:
    """The part of a page that a request names, cut off at its edges."""
    if region == "full":
        return Box(0, 0, page.width, page.height)
    if region == "square":
        side = min(page.width, page.height)
        return Box((page.width - side) // 2, (page.height - side) // 2, side, side)
    if not (found := _REGION.fullmatch(region)):
        raise RequestError(f"region: {region!r} is not supported", hint="ask for full, square or x,y,width,height")
    x, y, width, height = map(int, found.groups())
    width, height = min(width, page.width - x), min(height, page.height - y)
    if width < 1 or height < 1:
        raise RequestError(f"region: {region!r} is not on the page of {page.width} x {page.height} pixels")
    return Box(x, y, width, height)


def _read_size(size: str, box: Box) -> tuple[int, int]:
    """Width and height that a request names for a part."""
    if size == "max":
        return box.width, box.height
    found = _SIZE.fullmatch(size)
    if not found or found.groups() == (None, None):
        raise RequestError(f"size: {size!r} is not supported", hint="ask for max, w, or ,h or w,h")
    width, height = (int(value) if value else None for value in found.groups())
    if width is None:
        assert height is not None
        width = max(1, round(box.width * height / box.height))
    if height is None:
        height = max(1, round(box.height * width / box.width))
    if not (1 <= width <= box.width and 1 <= height <= box.height):
        raise RequestError(f"size: {size!r} is not within the {box.width} x {box.height} pixels of the part")
    return width, height


def _send_part(archive: Archive, view: str, box: Box, size: tuple[int, int], if_none_match: str | None) -> Response:
    tag = "-".join(map(str, (view[:32], box.x, box.y, box.width, box.height, *size)))
    headers = _headers(tag)
    if is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    content = archive.views.part(archive.storage.path(view), view, box, *size)
    return Response(content, media_type="image/jpeg", headers=headers)


def _send_file(
    archive: Archive,
    sha256: str,
    tag: str,
    if_none_match: str | None,
    media_type: str = "image/jpeg",
    name: str | None = None,
) -> Response:
    headers = _headers(tag)
    if name is not None:
        # Saved, not shown; the name is quoted whatever is in it.
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name.rsplit('/', 1)[-1], safe='')}"
    if is_known(headers["ETag"], if_none_match):
        return Response(status_code=304, headers=headers)
    return FileResponse(archive.storage.path(sha256), media_type=media_type, headers=headers)


def _headers(tag: str) -> dict[str, str]:
    """Of an image, which never changes; whoever may not see it must not get it from a shared cache."""
    return {
        "ETag": f'"{tag}"',
        "Cache-Control": "private, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def is_known(tag: str, if_none_match: str | None) -> bool:
    """Whether whoever asks has what an entity tag, quotes included, is of."""
    known = {value.strip().removeprefix("W/") for value in (if_none_match or "").split(",")}
    return tag in known or "*" in known
