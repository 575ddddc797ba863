"""A database that is away for a while loses nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient
from postgres import Server, postgres_server
from serve_readers import add_scans, frail, wait_for
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from quillread.serve.access.actor import OWNER
from quillread.serve.app import make_app
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig
from quillread.serve.database.schema import Job, LineVersion, Task
from quillread.serve.jobs import queue, work_state
from quillread.serve.jobs.crew import Crew


@pytest.fixture
def own_postgres() -> Iterator[Server]:
    """A server of the test's own, as it is stopped."""
    with postgres_server() as server:
        yield server


def test_a_result_waits_in_the_hand_until_the_database_is_back(
    own_postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TMPDIR_OF_TEST", str(tmp_path))
    mark = tmp_path / "wait-for-it"
    config = ServeConfig(tmp_path / "data", database=own_postgres.make_database(), workers=1)
    with Archive(config) as archive:
        pages = add_scans(archive, ["wait-for-it.png", "after.png"])
        crew = Crew(archive, readers=frail, runs={}, is_apart=False)
        with TestClient(make_app(archive, crew), base_url="http://127.0.0.1:8765") as client:
            with archive.database.write() as session:
                id = queue.enqueue_reading(session, OWNER, pages).id
            wait_for(mark.exists)
            own_postgres.stop()
            try:
                mark.unlink()
                answer = client.get(f"/api/v1/jobs/{id}")
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
                assert client.get("/readyz").status_code == 503
                assert client.get("/healthz").status_code == 200
            finally:
                own_postgres.start()
            wait_for(lambda: client.get(f"/api/v1/jobs/{id}").json()["state"] == "done")
            assert client.get("/readyz").status_code == 200
        with archive.database.read() as session:
            assert list(session.scalars(select(Task.attempts))) == [1, 1]
            assert len(list(session.scalars(select(LineVersion.id)))) == 4


def test_a_change_is_made_again_as_a_whole_if_its_commit_failed(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(work_state, "_AWAY_SECONDS", 0.0)
    pages = add_scans(archive, ["a.png"])
    with archive.database.write() as session:
        id = queue.enqueue_reading(session, OWNER, pages).id
    real, broken = archive.database.write, iter([False, True, True])  # the claim works, two ends of it do not

    @contextmanager
    def write() -> Iterator[Session]:
        with real() as session:
            yield session
            if next(broken, False):
                raise OperationalError("COMMIT", {}, Exception("the disk is full"))

    monkeypatch.setattr(archive.database, "write", write)
    assert Crew(archive, readers=frail, is_apart=False).work_off() == 1
    with archive.database.read() as session:
        assert session.get_one(Job, id).state == "done"
        assert session.scalars(select(Task.attempts)).one() == 1
        assert len(list(session.scalars(select(LineVersion.id)))) == 2


def test_an_end_that_was_committed_though_its_answer_was_lost_counts_once(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(work_state, "_AWAY_SECONDS", 0.0)
    pages = add_scans(archive, ["a.png", "b.png"])
    with archive.database.write() as session:
        id = queue.enqueue_reading(session, OWNER, pages).id
    real, lost = archive.database.write, iter([False, True])

    @contextmanager
    def write() -> Iterator[Session]:
        with real() as session:
            yield session
        if next(lost, False):
            raise OperationalError("COMMIT", {}, Exception("the server closed the connection"))

    monkeypatch.setattr(archive.database, "write", write)
    Crew(archive, readers=frail, is_apart=False).work_off()
    with archive.database.read() as session:
        job = session.get_one(Job, id)
        assert (job.state, job.done) == ("done", 2)
        assert len(list(session.scalars(select(LineVersion.id)))) == 4


def test_a_claim_whose_answer_was_lost_is_found_again(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(work_state, "_AWAY_SECONDS", 0.0)
    monkeypatch.setattr("quillread.serve.jobs.claims._LEASE", timedelta(0))
    pages = add_scans(archive, ["a.png"])
    with archive.database.write() as session:
        id = queue.enqueue_reading(session, OWNER, pages).id
    real, lost = archive.database.write, iter([True])

    @contextmanager
    def write() -> Iterator[Session]:
        with real() as session:
            yield session
        if next(lost, False):
            raise OperationalError("COMMIT", {}, Exception("the server closed the connection"))

    monkeypatch.setattr(archive.database, "write", write)
    crew = Crew(archive, readers=frail, is_apart=False)
    assert crew.work_off() == 0
    crew._recover()
    crew.work_off()
    with archive.database.read() as session:
        assert session.get_one(Job, id).state == "done"


def test_a_full_disk_is_told_to_who_changes_something_and_not_to_who_reads(
    client: TestClient, archive: Archive, monkeypatch: pytest.MonkeyPatch
):
    token = client.post("/api/v1/tokens", json={"name": "a", "role": "admin", "days": 1}).json()["token"]
    headers = {"Authorization": f"Bearer {token}"}  # its first use is to be noted

    @contextmanager
    def write() -> Iterator[Session]:
        raise OperationalError("BEGIN", {}, Exception("database or disk is full"))
        yield

    monkeypatch.setattr(archive.database, "write", write)
    answer = client.post("/api/v1/collections", json={"name": "a"}, headers=headers)
    assert answer.status_code == 507
    assert "disk of the server is full" in answer.json()["detail"]
    assert client.get("/api/v1/collections", headers=headers).json()["items"] == []


def test_a_connection_that_is_used_as_the_archive_is_closed_goes_with_its_user(config: ServeConfig):
    archive = Archive(config)
    with archive.database.read() as session:
        connection = session.connection().connection.dbapi_connection
        archive.close()
        assert session.scalars(select(Job.id)).all() == []
    with pytest.raises((sqlite3.ProgrammingError, psycopg.OperationalError), match="closed"):
        connection.execute("SELECT 1")
