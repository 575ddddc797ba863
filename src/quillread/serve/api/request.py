"""What every request has: the archive, who asks, and their cookies."""

from typing import Annotated, Literal, cast

from fastapi import Depends, Header, Query, Request

from quillread.serve.access.actor import Actor
from quillread.serve.access.logins import Cookie
from quillread.serve.archive.home import Archive
from quillread.serve.faults import LoginNeededError, PreconditionNeededError, RequestError


def _archive(request: Request) -> Archive:
    return cast(Archive, request.app.state.archive)


def _actor(request: Request) -> Actor:
    actor = cast(Actor | None, request.state.actor)  # the guard has put it there, or refused the request
    if actor is None:
        raise LoginNeededError("a login is needed")
    return actor


def _revision(
    if_match: Annotated[str | None, Header(description="Entity tag of the state that is changed")] = None,
) -> int:
    """The revision that `If-Match` names."""
    if if_match is None:
        raise PreconditionNeededError("a change needs If-Match", hint="send the ETag that came with it")
    tag = if_match.removeprefix("W/").strip('"')
    if not tag.isdecimal() or len(tag) > 9:
        raise RequestError(f"If-Match: {if_match!r} is not an entity tag of ours")
    return int(tag)


def cookie_of(archive: Archive, request: Request, of: Literal["login", "link"] = "login") -> Cookie:
    """The cookie of a login or a link, as this request has it."""
    return Cookie(request.scope["scheme"] == "https", archive.config.root_path, of)


TheArchive = Annotated[Archive, Depends(_archive)]
TheActor = Annotated[Actor, Depends(_actor)]
IfMatch = Annotated[int, Depends(_revision)]
Limit = Annotated[int, Query(ge=1, le=1000, description="At most so many")]
After = Annotated[int | None, Query(ge=0, lt=1 << 62, description="`next` of the answer before")]
Purge = Annotated[bool, Query(description="Delete for good what is in the bin; for admins")]
