"""The guard before all requests: where they come from, and who makes them."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from quillread.serve.access.actor import OWNER


async def guard(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
    """Let a request through with the actor that makes it."""
    request.state.actor = OWNER
    return await answer(request)
