"""Archives for the tests of the server: each test that asks for one runs with SQLite and with PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from postgres import Server, postgres_server

from quillread.serve.app import make_app
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with postgres_server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> ServeConfig:
    """Settings of a new archive."""
    address = None
    if request.param == "postgresql":
        address = request.getfixturevalue("postgres").make_database()
    return ServeConfig(data=tmp_path / "data", database=address)


@pytest.fixture
def archive(config: ServeConfig) -> Iterator[Archive]:
    with Archive(config) as archive:
        yield archive


@pytest.fixture
def client(archive: Archive) -> Iterator[TestClient]:
    """A client of the API, as the one person on loopback."""
    with TestClient(make_app(archive), base_url="http://127.0.0.1:8765") as client:
        yield client
