"""Archives for the tests of the server: each test that asks for one runs with SQLite and with PostgreSQL."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from postgres import Server, postgres_server
from serve_readers import frail

from quillread.serve.access import accounts, passwords
from quillread.serve.access.actor import Role
from quillread.serve.app import make_app
from quillread.serve.archive.blobs import add_blobs, store
from quillread.serve.archive.home import DATABASE_NAME, Archive
from quillread.serve.archive.views import make_view
from quillread.serve.config import ServeConfig
from quillread.serve.database.engine import Database, sqlite_address
from quillread.serve.database.migrate import migrate
from quillread.serve.database.schema import Page
from quillread.serve.jobs.crew import Crew
from quillread.types import UInt8Image


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def new_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SQLite file of a new archive, to be copied: making its tables takes longer than most tests."""
    path = tmp_path_factory.mktemp("new") / DATABASE_NAME
    _make_tables(Database(sqlite_address(path)))
    return path


@pytest.fixture(scope="session")
def new_database(postgres: Server) -> str:
    """The PostgreSQL database of a new archive, likewise."""
    address = postgres.make_database()
    _make_tables(Database(address))
    return address


def _make_tables(database: Database) -> None:
    migrate(database)
    database.close()


@pytest.fixture
def make_database(postgres: Server) -> Iterator[Callable[..., str]]:
    """Make a PostgreSQL database, as `Server.make_database` does; it goes after the test."""
    made: list[str] = []

    def make(like: str | None = None) -> str:
        made.append(postgres.make_database(like))
        return made[-1]

    yield make
    for address in made:
        postgres.drop_database(address)


@pytest.fixture(params=["sqlite", "postgresql"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> ServeConfig:
    """Settings of a new archive."""
    data = tmp_path / "data"
    data.mkdir()
    address = None
    if request.param == "postgresql":
        address = request.getfixturevalue("make_database")(request.getfixturevalue("new_database"))
    else:
        shutil.copy(request.getfixturevalue("new_file"), data)
    return ServeConfig(data=data, database=address)


@pytest.fixture
def archive(config: ServeConfig) -> Iterator[Archive]:
    with Archive(config) as archive:
        yield archive


@pytest.fixture
def client(archive: Archive) -> Iterator[TestClient]:
    """A client of the API, as the one person on loopback."""
    with TestClient(make_app(archive), base_url="http://127.0.0.1:8765") as client:
        yield client


@pytest.fixture
def collection(client: TestClient) -> int:
    """A collection without documents."""
    return int(client.post("/api/v1/collections", json={"name": "Letters"}).json()["id"])


@pytest.fixture
def make_page(archive: Archive) -> Callable[..., int]:
    """Make a page of a document with an image, as an import does."""

    def make(document_id: int, image: UInt8Image | None = None, **columns: Any) -> int:
        image = np.full((300, 200, 3), 200, np.uint8) if image is None else image
        view = make_view(image, None)
        files = [store(archive, content, "image/jpeg") for content in (view.jpeg, view.thumbnail)]
        with archive.database.write() as session:
            add_blobs(session, archive.storage, files)
            page = Page(document_id=document_id, width=view.width, height=view.height, **columns)
            page.source = page.view = files[0].stored.sha256
            page.thumbnail = files[1].stored.sha256
            session.add(page)
            session.flush()
            return page.id

    return make


@pytest.fixture
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that take no time, for tests that are not about them."""
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


PASSWORD = "correct horse"


@pytest.fixture
def users(archive: Archive, cheap_passwords: None) -> dict[str, int]:
    """Accounts named as their roles, with ids; the password of each is `PASSWORD`."""
    ids = {}
    with archive.database.write() as session:
        for role in ("admin", "editor", "reader", "none"):
            hashed = accounts.make_hash(role, PASSWORD)
            ids[role] = accounts.add_user(session, role, cast(Role, role), hashed).id
    return ids


LogIn = Callable[[str], TestClient]


@pytest.fixture
def log_in(archive: Archive, users: dict[str, int]) -> Iterator[LogIn]:
    """Make clients that are logged in as a user."""
    with ExitStack() as stack:

        def make(name: str) -> TestClient:
            client = stack.enter_context(TestClient(make_app(archive), base_url="http://127.0.0.1:8765"))
            answer = client.post("/api/v1/login", json={"name": name, "password": PASSWORD})
            assert answer.status_code == 204, answer.text
            return client

        yield make


@pytest.fixture
def crew(archive: Archive) -> Crew:
    """A crew that reads the same text on all pages, when it is told to: `crew.work_off()`."""
    return Crew(archive, readers=frail, is_apart=False)
