"""The application: routes, the guard before them, and how errors are answered."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException

from quillread.errors import QuillreadError
from quillread.serve.access.guard import Guard
from quillread.serve.api import (
    access,
    collections,
    documents,
    events,
    export,
    health,
    images,
    jobs,
    layout,
    lines,
    models,
    pages,
    reading,
    resumable,
    search,
    teaching,
    tokens,
    uploads,
)
from quillread.serve.api.health import Metered
from quillread.serve.archive.home import Archive
from quillread.serve.database.engine import fault_of
from quillread.serve.faults import PROBLEM, facts_of, full_disk, headers_of, problem_body, status_of
from quillread.serve.jobs.crew import Crew
from quillread.serve.jobs.events import Feed
from quillread.serve.jobs.metrics import Metrics
from quillread.serve.jobs.uploads import drop_unfinished
from quillread.serve.web.pages import router as page_router
from quillread.version import __version__

log = logging.getLogger(__name__)

ROUTERS = (
    access.router,
    collections.router,
    documents.router,
    events.router,
    export.router,
    images.router,
    jobs.router,
    layout.router,
    lines.router,
    models.router,
    pages.router,
    reading.router,
    search.router,
    teaching.router,
    tokens.router,
    uploads.router,
)


def make_app(archive: Archive, crew: Crew | None = None) -> FastAPI:
    """Make the application that serves an archive.

    Args:
        archive: It stays open.
        crew: Works on the queue while the application lives; None leaves that to other servers.
    """
    feed = Feed(archive.database)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        drop_unfinished(archive)
        with feed, crew or nullcontext():
            yield

    app = FastAPI(
        title="Quillread",
        version=__version__,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        responses={"default": {"description": "A problem (RFC 9457)", "content": {"application/problem+json": {}}}},
    )
    metrics = crew.metrics if crew else Metrics()
    app.state.archive, app.state.crew, app.state.feed, app.state.metrics = archive, crew, feed, metrics
    app.add_middleware(Guard, database=archive.database, config=archive.config)
    app.add_middleware(Metered, metrics=metrics)  # the one that is added last is the outermost
    # One by one: each level of routers in routers takes the time of the first again.
    for router in (*ROUTERS, resumable.make_router(archive)):
        app.include_router(router, prefix="/api/v1")
    app.include_router(health.router)
    app.include_router(page_router)
    app.add_exception_handler(QuillreadError, _answer_fault)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_status)
    for kind in (OperationalError, InterfaceError, PoolTimeoutError):
        app.add_exception_handler(kind, _answer_away)
    app.add_exception_handler(IntegrityError, _answer_conflict)
    app.add_exception_handler(OSError, _answer_full)
    app.add_exception_handler(DataError, _answer_range)
    app.add_exception_handler(OverflowError, _answer_range)
    return app


def problem(request: Request, status: int, message: str, **facts: Any) -> Response:
    """Answer with a problem (RFC 9457)."""
    body = problem_body(status, message, getattr(request.state, "id", None), **facts)
    return JSONResponse(body, status, media_type=PROBLEM)


def _answer_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, QuillreadError)
    answer = problem(request, status_of(error), error.message, **facts_of(error))
    answer.headers.update(headers_of(error))
    return answer


def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [{"where": list(fault["loc"]), "message": fault["msg"]} for fault in error.errors()]
    return problem(request, 422, "the request is not of the form that is needed", code="invalid", faults=faults)


def _answer_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = problem(request, error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _answer_away(request: Request, error: Exception) -> Response:
    log.error("%s: the database cannot be used: %s", getattr(request.state, "id", None), error)
    return _answer_fault(request, fault_of(error))


def _answer_full(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    fault = full_disk(error)
    if fault is None:
        raise error
    return _answer_fault(request, fault)


def _answer_conflict(request: Request, error: Exception) -> Response:
    """Two requests at once: what the one refers to the other has deleted, or both have made the same."""
    log.warning("%s: another request was first: %s", getattr(request.state, "id", None), error)
    message = "another has changed this at the same moment"
    return problem(request, 409, message, hint="look at it again", code="changed-meanwhile")


def _answer_range(request: Request, error: Exception) -> Response:
    """A number beyond those of the database, or the character NUL in a text."""
    return problem(request, 422, "a value of the request is beyond what the database can hold", code="invalid")
