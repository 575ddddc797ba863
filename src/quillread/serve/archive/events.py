"""What happened, noted with what it is about in one transaction, for those who watch."""

from typing import Any

from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor
from quillread.serve.database.schema import AuditEntry, Event


def tell(session: Session, kind: str, collection_id: int | None, /, **data: Any) -> None:
    """Note an event.

    Args:
        session: That makes the change: the event is seen if and when the change is.
        kind: Such as `page.read`.
        collection_id: Whose readers may know of it; None: all.
        **data: Ids and numbers; no text of pages.
    """
    session.add(Event(kind=kind, collection_id=collection_id, data=data))


def audit(session: Session, actor: Actor, action: str, collection_id: int | None = None, **details: Any) -> None:
    """Note who did what.

    Args:
        session: That makes the change.
        actor: Who did it.
        action: Such as `document.delete`.
        collection_id: Where, if in one.
        **details: Ids, names and numbers; no text of pages.
    """
    entry = AuditEntry(
        user_name=actor.name, address=actor.address, action=action, collection_id=collection_id, details=details
    )
    session.add(entry)
