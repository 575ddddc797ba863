"""Tokens of scripts, and links for readers: a secret that is shown once and kept as a hash, with a scope and an end."""

import hashlib
import secrets
from datetime import timedelta
from typing import cast

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from quillread.serve.access.actor import OWNER, Actor, Role
from quillread.serve.database.base import now
from quillread.serve.database.schema import Collection, Token, User

PREFIX = "quill_"
"""Of each token, so that scanners for secrets find those that were published."""
_NOTED = timedelta(minutes=1)
"""How often the time of its use is noted, as that is a write."""


def digest(secret: str) -> str:
    """A secret of 256 random bits as it is kept; it needs no slow hash, as nobody can guess it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def make_token(
    session: Session,
    actor: Actor,
    name: str,
    role: Role,
    collection_id: int | None,
    days: int,
    *,
    is_link: bool = False,
) -> tuple[Token, str]:
    """Make a token for the user who asks.

    Returns:
        What is kept, and the token itself, which nobody can show again.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    token = Token(
        user_id=actor.user_id,
        name=name,
        hash=digest(secret),
        role=role,
        collection_id=collection_id,
        is_link=is_link,
        expires=now() + timedelta(days=days),
    )
    session.add(token)
    session.flush()
    return token, secret


def find_token(session: Session, secret: str, *, is_alone: bool) -> tuple[Token, Actor] | None:
    """Find a token and whom it stands for; None if there is none, it has ended, or its user may not log in.

    Args:
        session: Of the database.
        secret: The token.
        is_alone: Whether nobody logs in. Tokens that were made then end when there are accounts.
    """
    token = session.scalar(select(Token).where(Token.hash == digest(secret)))
    if token is None or token.expires <= now() or (token.user_id is None and not is_alone):
        return None
    user = OWNER
    if token.user_id is not None:
        found = session.get(User, token.user_id)
        if found is None or found.disabled:
            return None
        user = Actor(found.name, cast(Role, found.role), found.id)
    if token.is_link:
        guest = _guest(session, token, user)
        return None if guest is None else (token, guest)
    limit = cast(Role, token.role)
    return token, Actor(
        user.name, user.role, user.user_id, limit=limit, collection_id=token.collection_id, token_id=token.id
    )


def _guest(session: Session, token: Token, maker: Actor) -> Actor | None:
    """Whoever has opened a link: a reader of one collection, as long as whoever made the link may see it."""
    collection = session.get(Collection, token.collection_id)
    if collection is None or collection.deleted is not None or maker.role_in(session, collection.id) == "none":
        return None
    return Actor(
        f"link {token.name}", "reader", limit="reader", collection_id=collection.id, token_id=token.id, is_link=True
    )


def is_noted(token: Token) -> bool:
    """Whether the time of its last use is near enough."""
    return token.last_used is not None and abs(now() - token.last_used) < _NOTED


def note_use(session: Session, token: Token) -> None:
    """Note that a token is used."""
    session.execute(update(Token).where(Token.id == token.id).values(last_used=now()))


def list_tokens(session: Session, user_id: int | None, *, everyones: bool) -> list[tuple[Token, str | None]]:
    """Tokens of scripts with the names of their users: one's own, or everyone's."""
    chosen = _with_names().where(~Token.is_link)
    if not everyones:
        chosen = chosen.where(Token.user_id.is_(None) if user_id is None else Token.user_id == user_id)
    return [(row[0], row[1]) for row in session.execute(chosen)]


def list_links(session: Session, collection_id: int) -> list[tuple[Token, str | None]]:
    """Links of a collection with the names of those who made them."""
    chosen = _with_names().where(Token.is_link, Token.collection_id == collection_id)
    return [(row[0], row[1]) for row in session.execute(chosen)]


def _with_names() -> Select[Token, str]:
    return select(Token, User.name).outerjoin(User, User.id == Token.user_id).order_by(Token.id)
