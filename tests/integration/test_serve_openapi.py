"""The whole API against its own OpenAPI document: whatever is sent, no answer is a 500, and all are as described.

Requests are made up by schemathesis in this process, the same ones each time. `EXAMPLES=5000` makes more of them.
"""

import logging
import os
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import Failure, FailureGroup, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serve_lessons import add_lesson
from starlette.types import Receive, Scope, Send

from quillread.serve.app import make_app
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig

EXAMPLES = int(os.environ.get("EXAMPLES", "300"))
"""Requests in all, shared out over the operations."""
ENDLESS = ("/api/v1/events",)
"""Streams that never end: they have tests of their own."""
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
HOST = {"Host": "127.0.0.1:8765"}


class Switch:
    """Hands requests on to the application of the archive of the moment."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._archive: Archive | None = None

    def renew(self) -> None:
        """Go on with a new archive, of pages whose ids are the first ones, so that made-up ids meet something."""
        self.close()
        self._count += 1
        self._archive = Archive(ServeConfig(data=self._folder / str(self._count)))
        add_lesson(self._archive, pages=2, lines=3)
        self._app = make_app(self._archive)

    def close(self) -> None:
        """Close the archive."""
        if self._archive is not None:
            self._archive.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await self._app(scope, receive, send)


@pytest.mark.slow
def test_no_request_is_answered_with_an_error_of_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.CRITICAL, logger="quillread")  # pages without a file are told of, a thousand times
    switch = Switch(tmp_path)
    try:
        switch.renew()
        schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", switch, headers=HOST)
        operations = [found.ok() for found in schema.get_all_operations()]
        operations = [each for each in operations if each.path not in ENDLESS]
        share = max(1, EXAMPLES // (2 * len(operations)))
        faults = []
        for operation in sorted(operations, key=lambda each: each.method != "get"):
            if operation.method != "get":
                switch.renew()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                faults += _try(operation, mode, share)
    finally:
        switch.close()
    assert not faults, "\n\n".join(faults)


def _try(operation: APIOperation, mode: GenerationMode, count: int) -> list[str]:
    """Send requests of an operation; what is wrong with an answer."""

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(mode), st.integers(1, 3))
    def send(case: Case, id: int) -> None:
        if id < 3:  # what is there is asked for more often than what is not
            for name, value in case.path_parameters.items():
                if isinstance(value, int):
                    case.path_parameters[name] = id
        answer = case.call(headers=HOST)
        case.validate_response(answer, checks=CHECKS)

    try:
        send()
    except Unsatisfiable:
        return []  # there is nothing that could be wrong with a request without parameters
    except (FailureGroup, Failure, Exception) as error:
        return [f"{operation.method.upper()} {operation.path} ({mode.value}): {error}"]
    return []
