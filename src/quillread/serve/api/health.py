"""Signs of life, for whoever watches over the server."""

import time
from typing import Annotated, cast

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import func, select, text
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from quillread.serve.api.request import TheActor, TheArchive
from quillread.serve.database.schema import Job, Task
from quillread.serve.faults import NotReadyError
from quillread.serve.jobs.crew import Crew
from quillread.serve.jobs.events import Feed
from quillread.serve.jobs.metrics import Metrics

router = APIRouter(tags=["health"])

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STATES = ("waiting", "running", "parked")


def _metrics(request: Request) -> Metrics:
    return cast(Metrics, request.app.state.metrics)


def _crew(request: Request) -> Crew | None:
    return cast(Crew | None, request.app.state.crew)


def _feed(request: Request) -> Feed:
    return cast(Feed, request.app.state.feed)


@router.get("/healthz")
def is_alive() -> dict[str, str]:
    """Say that the server answers."""
    return {"status": "ok"}


@router.get("/readyz")
def is_ready(archive: TheArchive, crew: Annotated[Crew | None, Depends(_crew)]) -> dict[str, str]:
    """Say whether the server can work: its database can be reached, and its workers run; 503 if not."""
    with archive.database.read() as session:
        session.execute(text("SELECT 1"))
    if crew is not None and not crew.is_at_work:
        raise NotReadyError("the workers do not run", hint="see the log, and start the server again")
    return {"status": "ready"}


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def show_metrics(
    archive: TheArchive,
    actor: TheActor,
    metrics: Annotated[Metrics, Depends(_metrics)],
    feed: Annotated[Feed, Depends(_feed)],
) -> Response:
    """Show figures for Prometheus."""
    actor.check_all("admin")
    with archive.database.read() as session:
        counted = select(Task.state, func.count()).where(Task.state.in_(_STATES)).group_by(Task.state)
        counts = {state: count for state, count in session.execute(counted)}
        unfinished = select(func.count()).select_from(Job).where(Job.state.in_(("waiting", "running")))
        metrics.jobs_unfinished.set(session.scalars(unfinished).one())
    for state in _STATES:
        metrics.tasks.labels(state).set(counts.get(state, 0))
    metrics.watchers.set(len(feed))
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


class Metered:
    """Counts requests by route, and the time until their answers begin (ASGI).

    Args:
        app: Answers them.
        metrics: Counts them.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = _route_of(scope)
                method = scope["method"] if scope["method"] in _METHODS else "other"
                self._metrics.requests.labels(method, route, str(message["status"])).inc()
                self._metrics.request_seconds.labels(method, route).observe(time.perf_counter() - begun)
            await send(message)

        await self._app(scope, receive, counted)


def _route_of(scope: Scope) -> str:
    """The path of a route with its parameters by name, as those of paths as they are would have no end."""
    route = scope.get("route")
    return getattr(route, "path", "other") if route is not None else "other"
