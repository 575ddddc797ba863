"""What happens, as it happens: server-sent events that resume after a lost connection."""

import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, cast

from anyio import to_thread
from fastapi import APIRouter, Depends, Header, Request
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.types import Message, Receive, Scope, Send

from quillread.serve.access.actor import Actor
from quillread.serve.api.request import TheActor, TheArchive
from quillread.serve.archive.find import find_collection
from quillread.serve.archive.home import Archive
from quillread.serve.faults import BusyError
from quillread.serve.jobs.events import Feed, Told, Watcher

router = APIRouter(tags=["events"])

_SEND_SECONDS = 20.0
"""A browser that takes nothing for so long is dropped."""
_STREAM_SECONDS = 900.0
"""Then a stream ends and the browser comes back, so that a login that is used does not end."""
_WATCHERS = 500


def _feed(request: Request) -> Feed:
    return cast(Feed, request.app.state.feed)


@router.get("/events", response_class=EventSourceResponse)
async def stream_events(
    request: Request,
    archive: TheArchive,
    actor: TheActor,
    feed: Annotated[Feed, Depends(_feed)],
    collection_id: int | None = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> EventSourceResponse:
    """Tell of what happens in the collections that one may see, or in one of them.

    The first event is `ready`; `reset` in its place says that events were lost, and all is to be loaded anew.
    """
    if collection_id is not None:
        await to_thread.run_sync(partial(_check, archive, actor, collection_id))
    if len(feed) >= _WATCHERS:
        raise BusyError(f"{_WATCHERS} streams of events are open already", retry_after=30)
    after = int(last_event_id) if last_event_id and last_event_id.isdecimal() and len(last_event_id) < 18 else None
    events = _events(feed, Watcher(actor, collection_id, request.state.find_actor), after)
    return _Stream(events, send_timeout=_SEND_SECONDS, sep="\n")


class _Stream(EventSourceResponse):
    """Ends whole when the server ends, as uvicorn logs an error of a stream that has no end."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        is_open = False

        async def watched(message: Message) -> None:
            nonlocal is_open
            is_open = message["type"] == "http.response.start" or message.get("more_body", False)
            await send(message)

        await super().__call__(scope, receive, watched)
        if is_open:
            await send({"type": "http.response.body", "body": b""})


def _check(archive: Archive, actor: Actor, collection_id: int) -> None:
    with archive.database.read() as session:
        find_collection(session, actor, collection_id)


async def _events(feed: Feed, watcher: Watcher, after: int | None) -> AsyncIterator[ServerSentEvent]:
    end = time.monotonic() + _STREAM_SECONDS
    try:
        for told in await to_thread.run_sync(feed.watch, watcher, after):
            yield _shown(told)
        while not watcher.is_dropped and time.monotonic() < end:
            new = await watcher.next(5.0)
            if new is not None:
                yield _shown(new)
    finally:
        feed.leave(watcher)


def _shown(told: Told) -> ServerSentEvent:
    return ServerSentEvent(json.dumps(told.data), event=told.kind, id=str(told.id), retry=2000)
