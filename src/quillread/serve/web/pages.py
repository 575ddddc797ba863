"""Serves the page in the browser: `index.html` and the files that it is made of.

There is no build step: the browser gets the files as they are in `static/`. Their addresses hold a stamp of the content
of all of them, so a browser keeps them for good, and one that still shows an older page asks for what is gone (404)
rather than for modules that do not fit together.
"""

import gzip
import re
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from quillread.serve.faults import NotFoundError

router = APIRouter(include_in_schema=False)

_ROOT = Path(__file__).parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
_FOREVER = "public, max-age=31536000, immutable"
_IMPORT = re.compile(rb"""^(?:import|export)\s[^"']*?["'](\./|\.\./)([^"']+)["']""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file of the page."""

    content: bytes
    media_type: str
    tag: str
    """Entity tag, quotes included."""

    @classmethod
    def of(cls, content: bytes, suffix: str) -> "StaticFile":
        """Describe content."""
        return cls(content, _TYPES.get(suffix, "application/octet-stream"), f'"{_digest(content)}"')


@cache
def static_files() -> dict[str, StaticFile]:
    """All files that browsers may ask for, by their paths below `static/`."""
    paths = (path for path in sorted(_ROOT.rglob("*")) if path.suffix in _TYPES and path.is_file())
    return {path.relative_to(_ROOT).as_posix(): StaticFile.of(path.read_bytes(), path.suffix) for path in paths}


@cache
def stamp() -> str:
    """The part of addresses that changes whenever any file does."""
    return _digest(b"".join(name.encode() + b"\0" + file.content for name, file in static_files().items()))


@cache
def index() -> StaticFile:
    """The page itself, which names its files by the stamp and asks for all first modules at once."""
    preloads = "".join(f'<link rel="modulepreload" href="static/{name}">\n' for name in _modules("js/main.js"))
    text = (_ROOT / "index.html").read_text(encoding="utf-8").replace("<!-- modules -->\n", preloads)
    return StaticFile.of(text.replace('"static/', f'"static/{stamp()}/').encode(), ".html")


def _modules(first: str) -> list[str]:
    """The modules that one imports, and those that they import: relative, at the top of a line."""
    found, todo = [], [first]
    while todo:
        name = todo.pop(0)
        if name in found:
            continue
        found.append(name)
        folder = (_ROOT / name).parent
        for dots, rest in _IMPORT.findall((_ROOT / name).read_bytes()):
            path = (folder / (dots + rest).decode()).resolve()
            todo.append(path.relative_to(_ROOT.resolve()).as_posix())
    return found


@router.api_route("/", methods=["GET", "HEAD"])
def show_index(request: Request) -> Response:
    """The page; asked for anew each time, and answered with 304 while it is the same."""
    return _answer(request, index(), "no-cache")


@router.api_route("/static/{of}/{name:path}", methods=["GET", "HEAD"])
def show_file(request: Request, of: str, name: str) -> Response:
    """A file of the page."""
    file = static_files().get(name) if of == stamp() else None
    if file is None:
        raise NotFoundError("there is no such file of this page", hint="reload the page: the server may be a newer one")
    return _answer(request, file, _FOREVER)


def _answer(request: Request, file: StaticFile, kept: str) -> Response:
    headers = {"ETag": file.tag, "Cache-Control": kept, "Vary": "Accept-Encoding"}
    known = request.headers.get("if-none-match", "")
    if file.tag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    content = file.content
    if file.media_type != _TYPES[".woff2"] and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        content = _gzip(file)
    return Response(content, headers=headers, media_type=file.media_type)


@cache
def _gzip(file: StaticFile) -> bytes:
    return gzip.compress(file.content, 9, mtime=0)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:16]
