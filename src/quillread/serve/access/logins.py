"""Logins of browsers: a cookie whose hash is kept, and limits on attempts, which all servers of a database share."""

import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from anyio import to_thread
from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session
from starlette.responses import Response

from quillread.serve.access.actor import Actor, Role
from quillread.serve.access.passwords import is_password
from quillread.serve.access.tokens import digest
from quillread.serve.database.base import now
from quillread.serve.database.engine import Database
from quillread.serve.database.schema import AuditEntry, LoginFailure, LoginSession, User
from quillread.serve.faults import BusyError, LoginNeededError

LONGEST = timedelta(days=90)
"""After which a login ends however much it is used."""
_IDLE = timedelta(days=14)
"""Unused for so long, it ends."""
_RENEWED = timedelta(hours=1)
"""How often its end is put off, as that is a write."""
_WINDOW = timedelta(minutes=15)
_LOCK = 0x7175696C
"""Held on PostgreSQL while an attempt is counted."""
_WRONG = "the name or the password is wrong"


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt to log in that is under way."""

    user_id: int | None
    hashed: str | None
    """None if there is no such user."""
    audit_id: int
    failure_ids: list[int]
    name_key: str


@dataclass(frozen=True, slots=True)
class Cookie:
    """How the cookie of a login, or of a link that was opened, is sent.

    Under TLS its name says that no other host or path, and no connection without TLS, can have set it.

    Args:
        secure: Whether browsers speak TLS with the server, or with a proxy before it.
        root_path: Path below which the server is shown.
        of: What it stands for. A login and a link are kept side by side.
    """

    secure: bool
    root_path: str
    of: Literal["login", "link"] = "login"

    @property
    def name(self) -> str:
        """The name."""
        base = "quill" if self.of == "login" else "quill-link"
        if not self.secure:
            return base
        return f"__Secure-{base}" if self.root_path else f"__Host-{base}"

    @property
    def path(self) -> str:
        """Where browsers send it."""
        return self.root_path or "/"

    def give(self, response: Response, secret: str, most: timedelta) -> None:
        """Let an answer set it: kept from scripts and from other sites."""
        seconds = int(min(most, LONGEST).total_seconds())
        response.set_cookie(self.name, secret, max_age=seconds, **self._bounds())

    def take(self, response: Response) -> None:
        """Let an answer delete it."""
        response.delete_cookie(self.name, **self._bounds())

    def _bounds(self) -> dict[str, Any]:
        return {"path": self.path, "secure": self.secure, "httponly": True, "samesite": "strict"}


async def log_in(database: Database, name: str, password: str, address: str, most: int) -> str:
    """Log in.

    Args:
        database: Of the archive.
        name: Of the user.
        password: As it was typed.
        address: Of whoever tries.
        most: Attempts of a name or an address in a quarter of an hour.

    Returns:
        The secret for the cookie.

    Raises:
        LoginNeededError: If name or password is wrong, or the user is disabled; one cannot tell which.
        BusyError: If there were too many attempts.
    """
    keys = (f"name:{name}", f"address:{_network(address)}")

    def begin() -> _Attempt:
        with database.read() as session:  # those beyond the limit, who may be many, do not write
            _check_limit(session, keys, most)
        with database.write() as session:
            return _begin_attempt(session, name, address, keys, most)

    def end() -> str:
        with database.write() as session:
            return _end_attempt(session, attempt)

    attempt = await to_thread.run_sync(begin)
    if not await is_password(password, attempt.hashed):
        raise LoginNeededError(_WRONG)
    return await to_thread.run_sync(end)


def find_login(session: Session, secret: str) -> tuple[LoginSession, Actor] | None:
    """Find a login and whose it is; None if there is none, it has ended, or the user is disabled."""
    found = session.execute(
        select(LoginSession, User)
        .join(User, User.id == LoginSession.user_id)
        .where(LoginSession.hash == digest(secret))
    ).first()
    if found is None:
        return None
    login, user = found
    if user.disabled or login.expires <= now():
        return None
    return login, Actor(user.name, cast(Role, user.role), user.id)


def is_fresh(login: LoginSession) -> bool:
    """Whether its end was put off lately, or cannot be any more."""
    return login.expires - now() > _IDLE - _RENEWED or login.expires >= login.created + LONGEST


def renew(session: Session, login: LoginSession) -> None:
    """Put off the end of a login that is used."""
    found = session.get(LoginSession, login.hash)
    if found:
        found.expires = _end_of(found.created)


def log_out(session: Session, secret: str) -> None:
    """End a login."""
    session.execute(delete(LoginSession).where(LoginSession.hash == digest(secret)))


def _end_of(begun: datetime) -> datetime:
    return min(now() + _IDLE, begun + LONGEST)


def _check_limit(session: Session, keys: Sequence[str], most: int) -> None:
    for key in keys:
        chosen = select(LoginFailure.time).where(LoginFailure.key == key, _is_recent())
        times = session.scalars(chosen.order_by(LoginFailure.id.desc()).limit(most)).all()
        if len(times) >= most:
            wait = (times[-1] + _WINDOW - now()).total_seconds()
            message = "there were too many attempts to log in"
            raise BusyError(message, retry_after=max(1, int(wait)), code="too-many-logins")


def _begin_attempt(session: Session, name: str, address: str, keys: Sequence[str], most: int) -> _Attempt:
    """Count an attempt as a failure before it is one, so that of many at once no more pass than may."""
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer anyway
        session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    session.execute(delete(LoginFailure).where(~_is_recent()))
    _check_limit(session, keys, most)
    failures = [LoginFailure(key=key) for key in keys]
    user = session.scalar(select(User).where(User.name == name))
    # A name that is not ours may be a password in the wrong field.
    noted = AuditEntry(user_name=user.name if user else "(unknown)", address=address, action="login.failed")
    session.add_all([*failures, noted])
    session.flush()
    known = user if user and not user.disabled else None
    return _Attempt(
        user_id=known.id if known else None,
        hashed=known.password_hash if known else None,
        audit_id=noted.id,
        failure_ids=[failure.id for failure in failures],
        name_key=keys[0],
    )


def _end_attempt(session: Session, attempt: _Attempt) -> str:
    user = session.get(User, attempt.user_id)
    if user is None or user.disabled or user.password_hash != attempt.hashed:  # changed meanwhile
        raise LoginNeededError(_WRONG)
    of_name = LoginFailure.key == attempt.name_key
    session.execute(delete(LoginFailure).where(LoginFailure.id.in_(attempt.failure_ids) | of_name))
    session.execute(delete(LoginSession).where(LoginSession.expires <= now()))
    session.execute(update(AuditEntry).where(AuditEntry.id == attempt.audit_id).values(action="login"))
    secret = secrets.token_urlsafe(32)
    session.add(LoginSession(hash=digest(secret), user_id=user.id, expires=_end_of(now())))
    return secret


def _is_recent() -> ColumnElement[bool]:
    # Bounded on both sides: a clock that was ahead must not lock anybody out for longer.
    return LoginFailure.time.between(now() - _WINDOW, now() + _WINDOW)


def _network(address: str) -> str:
    """What counts as one address: of IPv6 the network, whose addresses anyone has without end."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else address
