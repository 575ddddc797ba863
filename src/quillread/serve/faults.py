"""What the server answers instead of a result: errors with a status of HTTP, written as problems (RFC 9457)."""

import errno
from http import HTTPStatus
from typing import Any, ClassVar

from quillread.errors import QuillreadError, UsageError, printable

PROBLEM = "application/problem+json"
"""Media type of what `problem_body` makes."""


class RequestError(UsageError):
    """A request that cannot be answered as it is.

    Args:
        message: What is wrong, where, and the value that was met.
        hint: What to do next.
        code: Names what users of the page can meet: it has its own words for it, `problem.CODE` of its languages, into
            which it fills the facts.
        **facts: More members of the answer, plain data.
    """

    status: ClassVar[int] = 400

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None, **facts: Any) -> None:
        super().__init__(message, hint=hint)
        self.facts = facts if code is None else {"code": code, **facts}


class LoginNeededError(RequestError):
    """Nobody knows who asks."""

    status = 401


class EndedLinkError(LoginNeededError):
    """A link that opens nothing any more; `link` in the answer is `ended`."""

    def __init__(self) -> None:
        hint = "ask whoever sent it for a new one"
        super().__init__("this link has ended or was withdrawn", hint=hint, link="ended")


class DeniedError(RequestError):
    """Whoever asks may not."""

    status = 403


class NotFoundError(RequestError):
    """There is no such thing, or whoever asks may not know of it."""

    status = 404


class ConflictError(RequestError):
    """Another has changed it meanwhile; `current` in the answer is how it is now."""

    status = 409


class TooLargeError(RequestError):
    """More than the limits allow."""

    status = 413


class UnreadableError(RequestError):
    """Nothing of what was sent can be read."""

    status = 422


class MisdirectedError(RequestError):
    """A request for another server."""

    status = 421


class PreconditionNeededError(RequestError):
    """A change without `If-Match`."""

    status = 428


class BusyError(RequestError):
    """Too much at once; `retry_after` is in seconds."""

    status = 429

    def __init__(self, message: str, *, retry_after: int, hint: str | None = None, code: str = "busy") -> None:
        hint = hint or f"try again in {retry_after} seconds"
        super().__init__(message, hint=hint, code=code, retry_after=retry_after)
        self.retry_after = retry_after


class NotReadyError(RequestError):
    """The server cannot work now."""

    status = 503


class FullError(RequestError):
    """There is no space for what the request brings."""

    status = 507


def status_of(error: QuillreadError) -> int:
    """The status of HTTP that an error of the rest of Quillread has: the request is at fault, or we are."""
    if isinstance(error, RequestError):
        return error.status
    return {"internal": 500, "crash": 500, "memory": 507, "timeout": 504, "output": 507}.get(error.kind, 422)


def full_disk(error: OSError) -> FullError | None:
    """What a request is answered with that met a full disk; None if the error is another one."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return None
    hint = "free some space, and try again"
    return FullError(f"the disk of the server is full: {error.strerror}", hint=hint, code="disk-full")


def problem_body(status: int, message: str, request_id: str | None, **facts: Any) -> dict[str, Any]:
    """A problem (RFC 9457), as the body of an answer."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": printable(message), **facts}
    return body | {"request_id": request_id}


def facts_of(error: QuillreadError) -> dict[str, Any]:
    """What a problem says of an error beside its message."""
    return {"hint": error.hint, "kind": error.kind, **(error.facts if isinstance(error, RequestError) else {})}


def headers_of(error: QuillreadError) -> dict[str, str]:
    """Headers that the answer to an error has."""
    if isinstance(error, BusyError):
        return {"Retry-After": str(error.retry_after)}
    if isinstance(error, NotReadyError):
        return {"Retry-After": "5"}
    return {"WWW-Authenticate": "Bearer"} if isinstance(error, LoginNeededError) else {}
