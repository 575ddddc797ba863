"""Tokens of scripts, and links that let readers without an account see one collection.

A link is a token whose secret stands in the fragment of an address, which browsers send to nobody: the page exchanges
it for a cookie. That cookie is the token itself, so it ends with it.
"""

from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import APIRouter, Path, Request, Response, status
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy.orm import Session

from quillread.serve.access import tokens
from quillread.serve.access.accounts import is_alone
from quillread.serve.access.actor import Actor, Role, least
from quillread.serve.api.request import TheActor, TheArchive, cookie_of
from quillread.serve.archive.events import audit
from quillread.serve.archive.find import find_collection
from quillread.serve.database.base import now
from quillread.serve.database.schema import Token
from quillread.serve.faults import DeniedError, EndedLinkError, NotFoundError

router = APIRouter(tags=["access"])

_Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
_LinkName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")
]
_Id = Annotated[int, Path(ge=1, le=2**53)]
_Days = Annotated[int, Field(ge=1, le=3660, description="How long it holds")]


class NewToken(BaseModel):
    """What a token is made of."""

    name: _Name
    role: Role = Field("reader", description="What it allows at most")
    collection_id: int | None = Field(None, ge=1, le=2**53, description="The only collection that it is for")
    days: _Days = 90


class TokenOut(BaseModel):
    """A token, without its secret."""

    id: int
    name: str
    user_name: str | None
    role: Role
    collection_id: int | None
    created: datetime
    expires: datetime
    last_used: datetime | None


class MadeToken(TokenOut):
    """A token with its secret, which is shown only now."""

    token: str


class TokenList(BaseModel):
    """All tokens of whoever asks; of everyone for an admin."""

    items: list[TokenOut]
    next: None = None


class NewLink(BaseModel):
    """What a link is made of."""

    name: _LinkName = Field(description="For whom it is")
    days: _Days = 30


class LinkOut(BaseModel):
    """A link, without its secret."""

    id: int
    name: str
    user_name: str | None = Field(description="Who made it; null for the one person on loopback")
    created: datetime
    expires: datetime
    last_used: datetime | None


class MadeLink(LinkOut):
    """A link with its secret, which is shown only now: `/#/link/SECRET` opens it."""

    token: str


class LinkList(BaseModel):
    """All links of a collection."""

    items: list[LinkOut]
    next: None = None


class LinkSecret(BaseModel):
    """The secret of a link."""

    token: Annotated[str, StringConstraints(min_length=1, max_length=100)]


class OpenedLink(BaseModel):
    """What a link opens."""

    collection_id: int


@router.get("/tokens")
def list_tokens(archive: TheArchive, actor: TheActor) -> TokenList:
    """List one's tokens; an admin sees everyone's."""
    with archive.database.read() as session:
        found = tokens.list_tokens(session, actor.user_id, everyones=_is_admin(actor))
        return TokenList(items=[TokenOut(**_show_token(token, name)) for token, name in found])


@router.post("/tokens", status_code=status.HTTP_201_CREATED)
def make_token(archive: TheArchive, actor: TheActor, body: NewToken) -> MadeToken:
    """Make a token for scripts: `Authorization: Bearer quill_...`. It is shown only in this answer."""
    if actor.token_id is not None:
        raise DeniedError("a token cannot make tokens", hint="log in")
    with archive.database.write() as session:
        if body.collection_id is not None:
            find_collection(session, actor, body.collection_id)
        token, secret = tokens.make_token(session, actor, body.name, body.role, body.collection_id, body.days)
        audit(session, actor, "token.create", body.collection_id, token=token.id, role=body.role, days=body.days)
        name = None if actor.user_id is None else actor.name
        return MadeToken(token=secret, **_show_token(token, name))


@router.delete("/tokens/{token_id}", status_code=status.HTTP_204_NO_CONTENT)
def remove_token(archive: TheArchive, actor: TheActor, token_id: _Id) -> None:
    """End a token: one's own, or as an admin anyone's. A token with less than all of an admin ends only itself."""
    with archive.database.write() as session:
        token = session.get(Token, token_id)
        is_own = token is not None and token.user_id == actor.user_id and actor.token_id in (None, token_id)
        if token is None or not (is_own or _is_admin(actor)):
            raise NotFoundError(f"there is no token {token_id}")
        session.delete(token)
        audit(session, actor, "token.remove", token.collection_id, token=token_id)


@router.get("/collections/{collection_id}/links")
def list_links(archive: TheArchive, actor: TheActor, collection_id: _Id) -> LinkList:
    """List the links that open a collection for readers, those that have ended included."""
    with archive.database.read() as session:
        find_collection(session, actor, collection_id, "admin")
        found = tokens.list_links(session, collection_id)
        return LinkList(items=[LinkOut(**_show_token(token, name)) for token, name in found])


@router.post("/collections/{collection_id}/links", status_code=status.HTTP_201_CREATED)
def make_link(archive: TheArchive, actor: TheActor, collection_id: _Id, body: NewLink) -> MadeLink:
    """Make a link that lets readers without an account see a collection. It is shown only in this answer."""
    if actor.token_id is not None:
        raise DeniedError("a token cannot make links", hint="log in")
    with archive.database.write() as session:
        find_collection(session, actor, collection_id, "admin")
        token, secret = tokens.make_token(session, actor, body.name, "reader", collection_id, body.days, is_link=True)
        audit(session, actor, "link.create", collection_id, link=token.id, days=body.days)
        name = None if actor.user_id is None else actor.name
        return MadeLink(token=secret, **_show_token(token, name))


@router.delete("/collections/{collection_id}/links/{link_id}", status_code=status.HTTP_204_NO_CONTENT)
def withdraw_link(archive: TheArchive, actor: TheActor, collection_id: _Id, link_id: _Id) -> None:
    """Withdraw a link: it opens nothing any more, and whoever has it open sees nothing more."""
    with archive.database.write() as session:
        find_collection(session, actor, collection_id, "admin")
        token = session.get(Token, link_id)
        if token is None or not token.is_link or token.collection_id != collection_id:
            raise NotFoundError(f"there is no link {link_id}")
        session.delete(token)
        audit(session, actor, "link.remove", collection_id, link=link_id)


@router.post("/link")
def open_link(archive: TheArchive, request: Request, response: Response, body: LinkSecret) -> OpenedLink:
    """Open a link; the answer sets a cookie, unless whoever asks may see the collection by a login of their own."""
    cookie = cookie_of(archive, request, "link")
    with archive.database.read() as session:
        found = tokens.find_token(session, body.token, is_alone=is_alone(session, archive.config))
        if found is None or not found[1].is_link:
            raise EndedLinkError()
        token = found[0]
        opened = OpenedLink.model_validate(token, from_attributes=True)
        has_own = _sees(session, cast(Actor | None, request.state.actor), opened.collection_id)
    if has_own:
        cookie.take(response)
    else:
        cookie.give(response, body.token, token.expires - now())
    return opened


def _sees(session: Session, actor: Actor | None, collection_id: int) -> bool:
    return actor is not None and actor.role_in(session, collection_id) != "none"


def _is_admin(actor: Actor) -> bool:
    """Whether they are admin of the whole archive."""
    return least(actor.role, actor.limit) == "admin" and actor.collection_id is None


def _show_token(token: Token, user_name: str | None) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "user_name": user_name,
        "role": cast(Role, token.role),
        "collection_id": token.collection_id,
        "created": token.created,
        "expires": token.expires,
        "last_used": token.last_used,
    }
