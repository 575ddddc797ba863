"""Who may: logging in and out, users, members of collections, the audit log."""

from datetime import datetime
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Query, Request, Response, status
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy import select

from quillread.serve.access import accounts
from quillread.serve.access.actor import Actor, Role, least
from quillread.serve.access.logins import LONGEST, log_in, log_out
from quillread.serve.access.passwords import LONGEST as LONGEST_PASSWORD
from quillread.serve.api.request import After, Limit, TheActor, TheArchive, cookie_of
from quillread.serve.archive.events import audit
from quillread.serve.archive.find import find_collection
from quillread.serve.archive.home import Archive
from quillread.serve.archive.teaching import hint_to_teach
from quillread.serve.database.schema import AuditEntry, Token, User
from quillread.serve.faults import DeniedError, EndedLinkError
from quillread.version import __version__

router = APIRouter(tags=["access"])

_Name = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Id = Annotated[int, Path(ge=1, le=2**53)]
_Password = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_PASSWORD)]


class SeenLink(BaseModel):
    """A link that was opened."""

    name: str
    collection_id: int
    expires: datetime


class Me(BaseModel):
    """Whoever asks."""

    name: str
    role: Role
    user_id: int | None
    local: bool = Field(description="Whether this is the one person on loopback, who does not log in")
    link: SeenLink | None = Field(description="If they have opened a link: what they may read")
    version: str
    can_train: bool


class Login(BaseModel):
    """Name and password."""

    name: _Name
    password: _Password


class NewPassword(BaseModel):
    """A password in place of another."""

    current: _Password
    new: _Password


class NewUser(BaseModel):
    """What an account is made of."""

    name: _Name
    password: _Password
    role: Role = "editor"


class UserChange(BaseModel):
    """What is to be another; what is not given stays."""

    role: Role | None = None
    password: _Password | None = None
    disabled: bool | None = None


class UserOut(BaseModel):
    """An account."""

    id: int
    name: str
    role: Role
    disabled: bool
    created: datetime


class UserList(BaseModel):
    """All accounts."""

    items: list[UserOut]
    next: None = None


class Member(BaseModel):
    """A user, as seen by a collection."""

    user_id: int
    name: str
    role: Role
    own: bool = Field(description="Whether the role is for this collection; else it is that in all")


class MemberList(BaseModel):
    """All users that can log in."""

    items: list[Member]
    next: None = None


class MemberChange(BaseModel):
    """The role in one collection."""

    role: Role


class AuditOut(BaseModel):
    """Who did what."""

    id: int
    time: datetime
    user_name: str
    address: str
    action: str
    collection_id: int | None
    details: dict[str, Any]


class AuditList(BaseModel):
    """Some of what was done."""

    items: list[AuditOut]
    next: int | None = Field(description="Ask for those `after` it, which are older; null if these are the last")


@router.get("/me")
def show_me(archive: TheArchive, actor: TheActor) -> Me:
    """Show who asks, and what the server can do for them."""
    return Me(
        name=actor.name,
        role=least(actor.role, actor.limit),
        user_id=actor.user_id,
        local=actor.user_id is None and not actor.is_link,
        link=_show_link(archive, actor),
        version=__version__,
        can_train=hint_to_teach() is None,
    )


@router.post("/login", status_code=status.HTTP_204_NO_CONTENT)
async def login(archive: TheArchive, request: Request, response: Response, body: Login) -> None:
    """Log in; the answer sets a cookie."""
    address = request.client.host if request.client else ""
    most = archive.config.limits.login_attempts
    secret = await log_in(archive.database, body.name, body.password, address, most)
    cookie_of(archive, request).give(response, secret, LONGEST)
    cookie_of(archive, request, "link").take(response)


@router.post("/logout", status_code=status.HTTP_204_NO_CONTENT)
def logout(archive: TheArchive, actor: TheActor, request: Request, response: Response) -> None:
    """Log out; or leave a link that was opened, which leaves a login as it is."""
    cookie_of(archive, request, "link").take(response)
    if actor.is_link:
        return
    cookie = cookie_of(archive, request)
    if secret := request.cookies.get(cookie.name):
        with archive.database.write() as session:
            log_out(session, secret)
            audit(session, actor, "logout")
    cookie.take(response)


@router.post("/me/password", status_code=status.HTTP_204_NO_CONTENT)
async def change_password(
    archive: TheArchive, actor: TheActor, request: Request, response: Response, body: NewPassword
) -> None:
    """Change one's own password. All logins with the old one end; the answer sets the cookie of a new one."""
    if actor.user_id is None or actor.token_id is not None:
        raise DeniedError("this is for users who are logged in")
    most = archive.config.limits.login_attempts
    await log_in(archive.database, actor.name, body.current, actor.address, most)  # counts attempts as logins do
    await to_thread.run_sync(_set_password, archive, actor, body.new)
    secret = await log_in(archive.database, actor.name, body.new, actor.address, most)
    cookie_of(archive, request).give(response, secret, LONGEST)


@router.get("/users")
def list_users(archive: TheArchive, actor: TheActor) -> UserList:
    """List the accounts."""
    actor.check_all("admin")
    with archive.database.read() as session:
        return UserList(items=[_show_user(user) for user in accounts.list_users(session)])


@router.post("/users", status_code=status.HTTP_201_CREATED)
def add_user(archive: TheArchive, actor: TheActor, body: NewUser) -> UserOut:
    """Make an account. Once there is one, everybody has to log in, on loopback, too."""
    actor.check_all("admin")
    name = accounts.check_name(body.name)
    hashed = accounts.make_hash(name, body.password)
    with archive.database.write() as session:
        user = accounts.add_user(session, name, body.role, hashed)
        audit(session, actor, "user.create", user=name, role=body.role)
        return _show_user(user)


@router.patch("/users/{user_id}")
def change_user(archive: TheArchive, actor: TheActor, user_id: _Id, body: UserChange) -> UserOut:
    """Change the role or the password of a user, or let them no longer in."""
    actor.check_all("admin")
    with archive.database.read() as session:
        name = accounts.find_user(session, user_id).name
    hashed = accounts.make_hash(name, body.password) if body.password is not None else None
    with archive.database.write() as session:
        user = accounts.find_user(session, user_id)
        if body.role is not None:
            accounts.set_role(session, user, body.role)
        if body.disabled is not None:
            accounts.set_disabled(session, user, body.disabled)
        if hashed is not None:
            accounts.set_password(session, user, hashed)
        told = body.model_dump(include={"role", "disabled"}, exclude_none=True)
        audit(session, actor, "user.change", user=user.name, password=hashed is not None, **told)
        return _show_user(user)


@router.delete("/users/{user_id}", status_code=status.HTTP_204_NO_CONTENT)
def remove_user(archive: TheArchive, actor: TheActor, user_id: _Id) -> None:
    """Remove an account; what the user did keeps the name."""
    actor.check_all("admin")
    with archive.database.write() as session:
        user = accounts.find_user(session, user_id)
        if archive.config.needs_accounts and user.role == "admin" and accounts.count_admins(session) == 1:
            message = f"{user.name} is the only admin, and this server needs one"
            raise DeniedError(message, code="last-admin", name=user.name)
        accounts.remove_user(session, user)
        audit(session, actor, "user.remove", user=user.name)


@router.get("/collections/{collection_id}/members")
def list_members(archive: TheArchive, actor: TheActor, collection_id: _Id) -> MemberList:
    """List the users with their roles in a collection."""
    with archive.database.read() as session:
        find_collection(session, actor, collection_id, "admin")
        found = accounts.list_members(session, collection_id)
        items = [Member(user_id=user.id, name=user.name, role=role, own=own) for user, role, own in found]
        return MemberList(items=items)


@router.put("/collections/{collection_id}/members/{user_id}", status_code=status.HTTP_204_NO_CONTENT)
def set_member(archive: TheArchive, actor: TheActor, collection_id: _Id, user_id: _Id, body: MemberChange) -> None:
    """Give a user a role of its own in a collection; `none` hides it from them."""
    _set_member(archive, actor, collection_id, user_id, body.role)


@router.delete("/collections/{collection_id}/members/{user_id}", status_code=status.HTTP_204_NO_CONTENT)
def remove_member(archive: TheArchive, actor: TheActor, collection_id: _Id, user_id: _Id) -> None:
    """Let the role of a user in all collections hold in this one."""
    _set_member(archive, actor, collection_id, user_id, None)


@router.get("/audit")
def list_audit(
    archive: TheArchive,
    actor: TheActor,
    limit: Limit = 100,
    after: After = None,
    collection_id: Annotated[int | None, Query(ge=1, le=2**53)] = None,
) -> AuditList:
    """List who did what, the latest first; of one collection for its admins."""
    with archive.database.read() as session:
        chosen = select(AuditEntry).order_by(AuditEntry.id.desc()).limit(limit + 1)
        if collection_id is None:
            actor.check_all("admin")
        else:
            find_collection(session, actor, collection_id, "admin", deleted=True)
            chosen = chosen.where(AuditEntry.collection_id == collection_id)
        if after is not None:
            chosen = chosen.where(AuditEntry.id < after)
        found = session.scalars(chosen).all()
        items = [AuditOut.model_validate(entry, from_attributes=True) for entry in found[:limit]]
    return AuditList(items=items, next=items[-1].id if len(found) > limit else None)


def _show_link(archive: Archive, actor: Actor) -> SeenLink | None:
    if not actor.is_link:
        return None
    with archive.database.read() as session:
        token = session.get(Token, actor.token_id)
        if token is None:  # withdrawn at this moment
            raise EndedLinkError()
        return SeenLink.model_validate(token, from_attributes=True)


def _set_password(archive: Archive, actor: Actor, password: str) -> None:
    hashed = accounts.make_hash(actor.name, password)
    with archive.database.write() as session:
        accounts.set_password(session, accounts.find_user(session, actor.name), hashed)
        audit(session, actor, "user.password", user=actor.name)


def _set_member(archive: Archive, actor: Actor, collection_id: int, user_id: int, role: Role | None) -> None:
    with archive.database.write() as session:
        find_collection(session, actor, collection_id, "admin")
        user = accounts.find_user(session, user_id)
        accounts.set_member(session, collection_id, user, role)
        audit(session, actor, "member.change", collection_id, user=user.name, role=role)


def _show_user(user: User) -> UserOut:
    return UserOut.model_validate(user, from_attributes=True)
