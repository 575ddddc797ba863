"""The guard before all requests: where they come from, who makes them, how much they send, and what the log says."""

import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

from anyio import to_thread
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quillread.errors import QuillreadError
from quillread.serve.access.accounts import is_alone
from quillread.serve.access.actor import OWNER, Actor
from quillread.serve.access.beside import answer_either
from quillread.serve.access.caller import believe_proxy, check_host, check_origin, headers
from quillread.serve.access.logins import Cookie, find_login, is_fresh, renew
from quillread.serve.access.tokens import find_token, is_noted, note_use
from quillread.serve.config import ServeConfig
from quillread.serve.database.engine import Database, fault_of, is_away
from quillread.serve.faults import (
    PROBLEM,
    DeniedError,
    EndedLinkError,
    LoginNeededError,
    facts_of,
    headers_of,
    problem_body,
    status_of,
)

log = logging.getLogger(__name__)
access_log = logging.getLogger("quillread.serve.access")

GUARDED = ("/api", "/iiif", "/metrics")
"""Paths that need a login where there are accounts; the others are the pages' own files and signs of life."""
OPENS_LINK = "/api/v1/link"
OPEN = frozenset({"/api/v1/login", OPENS_LINK})
"""Paths among them that do not."""
_LINKED = {
    "GET": re.compile(
        r"/api/v1/(me|search|events|jobs(/[^/]+(/result)?)?|collections(/[^/]+(/(documents|pages|export))?)?"
        r"|(documents|pages|iiif)/.+|lines/[^/]+(/image)?)/?"
    ),
    "POST": re.compile(r"/api/v1/(logout|exports|pages/[^/]+/look)/?"),
}
"""All that whoever has opened a link may ask for; the routes see to it that it is of the one collection."""
_LEAVES = "/api/v1/logout"
"""Ends the link first where one is open beside a login."""

_OWN_HEAD = ("/api/v1/uploads", "/api/v1/events")
"""Paths that answer HEAD by themselves, or not at all."""

_BODY = 1_000_000
"""Bytes that requests may send that are not uploads."""
_UPLOADS = re.compile(r"/api/v1/((?P<many>collections/[^/]+/uploads)|uploads(/.*)?|read|models)/?")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Stands before the application (ASGI), so that streams go through it as they come.

    Args:
        app: What it guards.
        database: Of the archive.
        config: Of the server.
    """

    def __init__(self, app: ASGIApp, database: Database, config: ServeConfig) -> None:
        self._app = app
        self._database = database
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})
            return
        exchange = _Exchange(scope, receive, send)
        root = self._config.root_path
        is_bare = bool(root) and scope["path"] == root
        try:
            await self._let_in(exchange)
            if is_bare:  # the page names its files from the folder that it is in
                await RedirectResponse(f"{root}/", 308)(scope, receive, exchange.send)
                return
            exchange.answer_head()
            if exchange.guest is None:
                await self._app(scope, exchange.receive, exchange.send)
            else:
                await answer_either(self._app, scope, exchange.receive, exchange.send, exchange.guest)
        except Exception as error:
            if exchange.status:
                raise  # it is too late for another answer
            await exchange.refuse(error)
        finally:
            exchange.end()

    async def _let_in(self, exchange: "_Exchange") -> None:
        scope, config = exchange.scope, self._config
        if config.behind_proxy:
            believe_proxy(scope)
        path = exchange.path = exchange.find_path(config.root_path)
        exchange.is_guarded = path.startswith(GUARDED)
        exchange.bound(self._most_bytes(path))
        check_origin(scope, check_host(scope, config))
        where = path.rstrip("/")
        if exchange.is_guarded and (where not in OPEN or where == OPENS_LINK):
            scope["state"]["actor"], exchange.guest = await self._identify(scope, path)

    async def _identify(self, scope: Scope, path: str) -> tuple[Actor | None, Actor | None]:
        """Who asks, None if nobody knows or needs to; and the link that is open beside a login, if it counts."""
        secure, root = scope["scheme"] == "https", self._config.root_path
        login = _cookie_of(scope, Cookie(secure, root).name)
        token = link = None
        opens_link = path.rstrip("/") == OPENS_LINK
        if not opens_link:  # there a login of one's own alone counts
            token, link = _bearer_of(scope), _cookie_of(scope, Cookie(secure, root, "link").name)
        scope["state"]["find_actor"] = partial(self._find_again, token, login, link)
        try:
            found = await to_thread.run_sync(self._find_actors, token, login, link)
        except LoginNeededError:
            if opens_link:
                return None, None
            raise
        address = (scope.get("client") or ("", 0))[0]
        actors = [replace(actor, address=address) for actor in found]
        is_linked = _is_linked(scope["method"], path)
        if path.rstrip("/") == _LEAVES:
            return actors[-1], None
        if actors[0].is_link and not is_linked:
            raise DeniedError("a link is for reading one collection, and this is not part of it", link="open")
        return actors[0], actors[1] if len(actors) > 1 and is_linked else None

    def _most_bytes(self, path: str) -> int:
        limits, found = self._config.limits, _UPLOADS.fullmatch(path)
        if found is None:
            return _BODY
        # Only forms of files are written where the archive is; others come into the folder for temporary files first.
        is_many = found["many"] is not None
        return (max(limits.upload_bytes, limits.archive_bytes) if is_many else limits.upload_bytes) + _BODY

    def _find_actors(self, token: str | None, login: str | None, link: str | None) -> list[Actor]:
        with self._database.read() as session:
            found = self._find(session, token, login, link)
        notes = [note for _, note in found if note is not None]
        if notes:
            try:
                with self._database.write() as session:
                    for note in notes:
                        note(session)
            except DBAPIError as error:  # such as a full disk: who only reads goes on
                log.warning("when %s was last seen is not noted: %s", found[0][0].name, error.orig)
        return [actor for actor, _ in found]

    def _find(self, session: Session, token: str | None, login: str | None, link: str | None) -> list["_Found"]:
        alone = is_alone(session, self._config)
        if token is not None:
            return [_by_token(session, token, alone)]
        return [(OWNER, None)] if alone else _by_cookies(session, login, link)

    def _find_again(
        self, token: str | None, login: str | None, link: str | None, session: Session, before: Actor
    ) -> Actor:
        """Who asked, for what goes on long after: roles change, logins and links end."""
        for actor, _ in self._find(session, token, login, link):
            if actor.is_link == before.is_link:
                return actor
        raise LoginNeededError("the login or the link has ended")


_Found = tuple[Actor, Callable[[Session], None] | None]
"""Who it is, and what is to be noted of it."""


def _by_token(session: Session, secret: str, alone: bool) -> _Found:
    known = find_token(session, secret, is_alone=alone)
    if known is None:
        raise LoginNeededError("the token is not valid", hint="it may have ended: make a new one")
    token, actor = known
    return actor, None if is_noted(token) else lambda session: note_use(session, token)


def _by_cookies(session: Session, login: str | None, link: str | None) -> list[_Found]:
    """By a login, by a link that was opened, or by both, the login first; one that has ended is in nobody's way."""
    found: list[_Found] = []
    if login and (known := find_login(session, login)) is not None:
        kept, actor = known
        found.append((actor, None if is_fresh(kept) else lambda session: renew(session, kept)))
    opened = find_token(session, link, is_alone=False) if link else None
    if opened is not None and opened[1].is_link:
        token, guest = opened
        found.append((guest, None if is_noted(token) else lambda session: note_use(session, token)))
    if not found and link:
        raise EndedLinkError()
    if not found:
        raise LoginNeededError("a login is needed", hint="POST /api/v1/login, or send a token")
    return found


def _is_linked(method: str, path: str) -> bool:
    allowed = _LINKED.get("GET" if method == "HEAD" else method)
    return allowed is not None and allowed.fullmatch(path) is not None


class _Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.status = 0
        """Of the answer; 0 until it is begun."""
        self.is_guarded = False
        self.guest: Actor | None = None
        """Whoever has opened a link beside the login that asks, if that may ask for this."""
        self._receive, self._send = receive, send
        self._begun = time.perf_counter()
        self._most = self._taken = 0
        self._is_head = False
        self.path = ""
        given = headers(scope, "x-request-id")
        self.id = given[0] if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) else uuid.uuid4().hex[:16]
        scope.setdefault("state", {}).update(id=self.id, actor=None)

    def find_path(self, root: str) -> str:
        """The path below the root path, which a proxy takes away or leaves; the application sees it with it (ASGI)."""
        path = str(self.scope["path"])
        if not root:
            return path
        if not path.startswith(f"{root}/"):
            path = root + ("/" if path == root else path)
            self.scope["path"] = path
            self.scope["raw_path"] = quote(path).encode("ascii")
        self.scope["root_path"] = root
        return path[len(root) :]

    def bound(self, most: int) -> None:
        """Take so many bytes of the body.

        Raises:
            HTTPException: If it says that it has more.
        """
        self._most = most
        lengths = headers(self.scope, "content-length")
        if lengths and lengths[0].isdecimal() and int(lengths[0][:20]) > most:
            raise self._too_large()

    def answer_head(self) -> None:
        """Let the application answer HEAD as GET; the body is not sent. Where it never ends, HEAD is not answered."""
        if self.scope["method"] == "HEAD" and not self.path.startswith(_OWN_HEAD):
            self._is_head = True
            self.scope["method"] = "GET"

    def end(self) -> None:
        """Note what was asked and answered."""
        if self._is_head:
            self.scope["method"] = "HEAD"
        self.log()

    async def receive(self) -> Message:
        """Give the application the next part of the body."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            if self._taken > self._most:
                raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        """Send the next part of the answer."""
        if message["type"] == "http.response.start":
            if self._taken > self._most and message["status"] != 413:
                raise self._too_large()  # which the application has taken for a body that is malformed
            self.status = message["status"]
            self._add_headers(MutableHeaders(scope=message))
        elif self._is_head:
            message = {**message, "body": b""}
        await self._send(message)

    async def refuse(self, error: Exception) -> None:
        """Answer with a problem."""
        facts: Mapping[str, Any] = {}
        more: Mapping[str, str] = {}
        if is_away(error):
            log.error("%s: the database cannot be used: %s", self.id, error)
            error = fault_of(error)
        if isinstance(error, QuillreadError):
            status, message, facts, more = status_of(error), error.message, facts_of(error), headers_of(error)
        elif isinstance(error, HTTPException):
            status, message = error.status_code, str(error.detail)
        else:
            log.error("%s: internal error", self.id, exc_info=error)
            status, message = 500, "an internal error, which the log of the server describes"
        body = problem_body(status, message, self.id, **facts)
        answer = JSONResponse(body, status, headers=dict(more), media_type=PROBLEM)
        self._taken = 0
        await answer(self.scope, self.receive, self.send)

    def log(self) -> None:
        """Write a line into the log of requests: no query and no name of a file, which may hold text of pages."""
        actor = self.scope["state"].get("actor")
        milliseconds = round(1000 * (time.perf_counter() - self._begun), 1)
        facts = {
            "request_id": self.id,
            "method": self.scope["method"],
            "route": _template_of(self.scope),
            "status": self.status or None,
            "milliseconds": milliseconds,
            "user": actor.name if actor else None,
        }
        access_log.info(
            "%(method)s %(route)s %(status)s in %(milliseconds)s ms, user %(user)s, request %(request_id)s",
            facts,
            extra={"facts": facts},
        )

    def _add_headers(self, answer: MutableHeaders) -> None:
        for name, value in _SECURITY.items():
            answer.setdefault(name, value)
        answer["X-Request-Id"] = self.id
        if self.is_guarded:
            answer.setdefault("Cache-Control", "private, no-cache")
        if self.scope["scheme"] == "https":
            answer.setdefault("Strict-Transport-Security", "max-age=31536000")

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body may have {self._most:,} bytes")


def _template_of(scope: Scope) -> str:
    """The path with the names of its parameters in place of their values."""
    if "route" not in scope:
        return "-"
    names = {str(value): f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    for value in sorted((value for value in names if "/" in value), key=len, reverse=True):
        path = path.replace(value, names[value])
    return "/".join(names.get(part, part) for part in path.split("/"))


def _bearer_of(scope: Scope) -> str | None:
    for value in headers(scope, "authorization"):
        kind, _, secret = value.partition(" ")
        if kind.lower() == "bearer":
            return secret.strip()
    return None


def _cookie_of(scope: Scope, name: str) -> str | None:
    for value in headers(scope, "cookie"):
        for part in value.split(";"):
            key, _, secret = part.strip().partition("=")
            if key == name:
                return secret
    return None
