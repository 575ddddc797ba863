"""The application: routes, the guard before them, and how errors are answered."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from quillread.errors import QuillreadError, printable
from quillread.serve.access.guard import guard
from quillread.serve.api import collections, jobs, models, teaching
from quillread.serve.archive.home import Archive
from quillread.serve.faults import BusyError, RequestError, status_of
from quillread.serve.jobs.crew import Crew
from quillread.serve.jobs.events import Feed
from quillread.version import __version__

log = logging.getLogger(__name__)

ROUTERS = (collections.router, jobs.router, models.router, teaching.router)


def make_app(archive: Archive, crew: Crew | None = None) -> FastAPI:
    """Make the application that serves an archive.

    Args:
        archive: It stays open.
        crew: Works on the queue while the application lives; None leaves that to other servers.
    """
    feed = Feed(archive.database)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        with feed, crew or nullcontext():
            yield

    app = FastAPI(
        title="Quillread",
        version=__version__,
        root_path=archive.config.root_path,
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        responses={"default": {"description": "A problem (RFC 9457)", "content": {"application/problem+json": {}}}},
    )
    app.state.archive, app.state.crew, app.state.feed = archive, crew, feed
    app.middleware("http")(guard)
    api = APIRouter(prefix="/api/v1")
    for router in ROUTERS:
        api.include_router(router)
    app.include_router(api)
    app.add_exception_handler(QuillreadError, _answer_fault)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_status)
    app.add_exception_handler(OperationalError, _answer_away)
    app.add_exception_handler(Exception, _answer_bug)
    return app


def problem(request: Request, status: int, message: str, **facts: Any) -> Response:
    """Answer with a problem (RFC 9457)."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": printable(message), **facts}
    body["request_id"] = getattr(request.state, "id", None)
    return JSONResponse(body, status, media_type="application/problem+json")


def _answer_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, QuillreadError)
    facts = error.facts if isinstance(error, RequestError) else {}
    answer = problem(request, status_of(error), error.message, hint=error.hint, kind=error.kind, **facts)
    if isinstance(error, BusyError):
        answer.headers["Retry-After"] = str(error.retry_after)
    return answer


def _answer_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [{"where": list(fault["loc"]), "message": fault["msg"]} for fault in error.errors()]
    return problem(request, 422, "the request is not of the form that is needed", faults=faults)


def _answer_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = problem(request, error.status_code, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


def _answer_away(request: Request, error: Exception) -> Response:
    log.error("%s: the database cannot be used: %s", getattr(request.state, "id", None), error)
    answer = problem(request, 503, "the database cannot be reached", hint="try again in a moment")
    answer.headers["Retry-After"] = "5"
    return answer


def _answer_bug(request: Request, error: Exception) -> Response:
    log.error("%s: internal error", getattr(request.state, "id", None), exc_info=error)
    return problem(request, 500, "an internal error, which the log of the server describes")
