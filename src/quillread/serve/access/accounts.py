"""Accounts: users, their roles, and where these differ."""

from collections.abc import Sequence
from typing import cast

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from quillread.serve.access.actor import Role
from quillread.serve.access.passwords import hash_password
from quillread.serve.config import ServeConfig
from quillread.serve.database.schema import LoginSession, Membership, User
from quillread.serve.faults import ConflictError, NotFoundError, RequestError

_LONGEST_NAME = 100


def has_accounts(session: Session) -> bool:
    """Whether there is an account, so that a login is needed."""
    return session.scalar(select(User.id).limit(1)) is not None


def is_alone(session: Session, config: ServeConfig) -> bool:
    """Whether all belongs to the one person at this machine, who does not log in."""
    return not config.needs_accounts and not has_accounts(session)


def count_admins(session: Session) -> int:
    """Number of accounts that may all and can log in."""
    admins = select(func.count(User.id)).where(User.role == "admin", ~User.disabled)
    return session.scalar(admins) or 0


def list_users(session: Session) -> Sequence[User]:
    """All accounts, by name."""
    return session.scalars(select(User).order_by(User.name)).all()


def find_user(session: Session, who: int | str) -> User:
    """Find an account by its id or name.

    Raises:
        NotFoundError: If there is none.
    """
    user = session.scalar(select(User).where((User.id if isinstance(who, int) else User.name) == who))
    if user is None:
        hint = None if isinstance(who, int) else "quill serve users list"
        raise NotFoundError(f"there is no user {who}", hint=hint, code="gone")
    return user


def add_user(session: Session, name: str, role: Role, hashed: str) -> User:
    """Make an account.

    Args:
        session: Of the database.
        name: Of the user.
        role: In all collections, unless a membership says otherwise.
        hashed: The password, by `hash_password`, which takes too long for a transaction.

    Raises:
        RequestError: If the first account is not an admin, or the name cannot be one.
        ConflictError: If there is one of that name.
    """
    if not has_accounts(session) and role != "admin":
        hint = "it is needed to make others"
        raise RequestError(f"the first account must be an admin, not {role}", hint=hint, code="first-admin")
    if session.scalar(select(User.id).where(User.name == name)) is not None:
        raise ConflictError(f"there is a user {name} already", code="user-exists", name=name)
    user = User(name=name, role=role, password_hash=hashed)
    session.add(user)
    session.flush()
    return user


def check_name(name: str) -> str:
    """A name for an account, stripped.

    Raises:
        RequestError: If it is empty, too long, or has characters that do not show.
    """
    name = name.strip()
    if not 1 <= len(name) <= _LONGEST_NAME or not name.isprintable():
        hint = f"1 to {_LONGEST_NAME} characters that show"
        raise RequestError(f"{name!r} cannot be a name", hint=hint, code="user-name", most=_LONGEST_NAME)
    return name


def make_hash(name: str, password: str) -> str:
    """Hash the password of a new account or a new password of one; see `hash_password`."""
    return hash_password(password, name)


def set_password(session: Session, user: User, hashed: str) -> None:
    """Change a password; whoever is logged in with the old one is no longer."""
    user.password_hash = hashed
    end_logins(session, user)


def set_role(session: Session, user: User, role: Role) -> None:
    """Change a role.

    Raises:
        ConflictError: If no admin would be left.
    """
    if role != "admin":
        _keep_admin(session, user)
    user.role = role


def set_disabled(session: Session, user: User, disabled: bool) -> None:
    """Let a user no longer in, or again.

    Raises:
        ConflictError: If no admin would be left.
    """
    if disabled:
        _keep_admin(session, user)
        end_logins(session, user)
    user.disabled = disabled


def remove_user(session: Session, user: User) -> None:
    """Remove an account with its tokens; what the user did keeps the name.

    Raises:
        ConflictError: If others would be left without an admin.
    """
    if session.scalar(select(func.count(User.id))) != 1:
        _keep_admin(session, user)
    session.delete(user)


def end_logins(session: Session, user: User) -> None:
    """End all logins of a user."""
    session.execute(delete(LoginSession).where(LoginSession.user_id == user.id))


def set_member(session: Session, collection_id: int, user: User, role: Role | None) -> None:
    """Give a user a role of its own in a collection; None takes it back."""
    member = session.get(Membership, (collection_id, user.id))
    if role is None:
        if member:
            session.delete(member)
    elif member:
        member.role = role
    else:
        session.add(Membership(collection_id=collection_id, user_id=user.id, role=role))


def list_members(session: Session, collection_id: int) -> list[tuple[User, Role, bool]]:
    """All users that are not disabled, with their role in a collection, and whether it is one of its own."""
    chosen = select(Membership.user_id, Membership.role).where(Membership.collection_id == collection_id)
    own = {row[0]: row[1] for row in session.execute(chosen)}
    found = []
    for user in list_users(session):
        if user.disabled:
            continue
        role = user.role if user.role == "admin" else own.get(user.id, user.role)
        found.append((user, cast(Role, role), user.id in own))
    return found


def _keep_admin(session: Session, user: User) -> None:
    if user.role == "admin" and not user.disabled and count_admins(session) == 1:
        hint = "make another one an admin first"
        message = f"{user.name} is the only admin who can log in"
        raise ConflictError(message, hint=hint, code="last-admin", name=user.name)
