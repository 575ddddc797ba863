"""Whoever makes a request, and what they may do."""

from dataclasses import dataclass
from typing import Literal, cast

from sqlalchemy import ColumnElement, false, select, true
from sqlalchemy.orm import Session

from quillread.serve.database.schema import Collection, Membership
from quillread.serve.faults import DeniedError, NotFoundError

Role = Literal["none", "reader", "editor", "admin"]
ROLES: tuple[Role, ...] = ("none", "reader", "editor", "admin")
"""Rising: each may do all that those before it may."""


def least(first: Role, second: Role) -> Role:
    """The one that allows less."""
    return min(first, second, key=ROLES.index)


def at_least(role: Role) -> tuple[Role, ...]:
    """A role and those that allow more."""
    return ROLES[ROLES.index(role) :]


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever makes a request: the one person on loopback, a user who is logged in, a token, or a link."""

    name: str
    role: Role = "admin"
    """In all collections, unless a membership says otherwise; of a token at most that of the token."""
    user_id: int | None = None
    """None: the one person on loopback, or whoever has opened a link."""
    limit: Role = "admin"
    """What a token allows at most."""
    collection_id: int | None = None
    """The only collection that a token is for."""
    address: str = ""
    """Network address, for the audit log."""
    token_id: int | None = None
    """The token that stands for them, if one does."""
    is_link: bool = False
    """Whether that token is a link for readers, which stands for nobody in particular."""

    def role_in(self, session: Session, collection_id: int) -> Role:
        """The role in one collection."""
        if self.collection_id not in (None, collection_id):
            return "none"
        role = self.role
        if self.user_id is not None and role != "admin":
            member = session.get(Membership, (collection_id, self.user_id))
            role = cast(Role, member.role) if member else role
        return least(role, self.limit)

    def check(self, session: Session, collection_id: int, role: Role) -> None:
        """Refuse whoever has less than a role in a collection.

        Raises:
            NotFoundError: If they may not even know of it.
            DeniedError: If they may see it, but not this.
        """
        has = self.role_in(session, collection_id)
        if has == "none":
            raise NotFoundError(f"there is no collection {collection_id}", code="gone")
        if has not in at_least(role):
            raise DeniedError(f"{self.name} is {has} of this collection, and {role} is needed", code="denied")

    def check_all(self, role: Role) -> None:
        """Refuse whoever has less than a role in the whole archive.

        Raises:
            DeniedError: If they have less.
        """
        has = least(self.role, self.limit) if self.collection_id is None else "none"
        if has not in at_least(role):
            who = f"the token is for collection {self.collection_id}" if self.collection_id else f"{self.name} is {has}"
            if has == "none" and not self.collection_id:
                who = f"{self.name} has no role in the archive as a whole"
            raise DeniedError(f"{who}, and {role} of all collections is needed", code="denied")

    def visible(self, role: Role = "reader") -> ColumnElement[bool]:
        """The condition on `Collection` for those that they may see, or have more of a role in."""
        enough = at_least(role)
        if self.limit not in enough:
            return false()
        own = true() if self.collection_id is None else Collection.id == self.collection_id
        if self.user_id is None or self.role == "admin":
            return own if self.role in enough else false()
        mine = select(Membership.collection_id).where(Membership.user_id == self.user_id)
        if self.role not in enough:
            return own & Collection.id.in_(mine.where(Membership.role.in_(enough)))
        return own & ~Collection.id.in_(mine.where(Membership.role.not_in(enough)))


OWNER = Actor("owner")
"""The one person on loopback."""
