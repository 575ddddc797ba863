"""A login with a link that is open beside it in the same browser: the login answers, the link where it finds nothing.

A browser sends both cookies with every request, and only the application knows which collection a request is about. So
it is asked as the login first; if that finds nothing, it is asked again as the link. Neither gains by the other.
"""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quillread.serve.access.actor import Actor


async def answer_either(app: ASGIApp, scope: Scope, receive: Receive, send: Send, guest: Actor) -> None:
    """Let the application answer a request of a login beside which a link is open.

    Args:
        app: The application (ASGI).
        scope: Of the request; its state has the login as `actor`, and in the end whoever was answered.
        receive: For the body, which is small and kept.
        send: For the answer: that to the link if it finds something that the login does not find.
        guest: Whoever has opened the link. They may ask for this.
    """
    state, again = scope["state"], {**scope}  # into which the application writes
    taken: list[Message] = []

    async def keep() -> Message:
        taken.append(await receive())
        return taken[-1]

    async def repeat() -> Message:
        return taken.pop(0) if taken else await receive()

    first = _Sieve(send, lambda status: status == 404)
    await app(scope, keep, first)
    if not first.withheld:
        return
    login, state["actor"] = state["actor"], guest
    second = _Sieve(send, lambda status: status >= 400)
    await app(again, repeat, second)
    if second.withheld:
        state["actor"] = login
        for message in first.withheld:
            await send(message)


class _Sieve:
    """Sends an answer, or withholds it by its status."""

    def __init__(self, send: Send, is_withheld: Callable[[int], bool]) -> None:
        self._send = send
        self._is_withheld = is_withheld
        self.withheld: list[Message] = []

    async def __call__(self, message: Message) -> None:
        """Send the next part, or withhold it."""
        is_first = message["type"] == "http.response.start"
        if self.withheld or (is_first and self._is_withheld(message["status"])):
            self.withheld.append(message)
        else:
            await self._send(message)
