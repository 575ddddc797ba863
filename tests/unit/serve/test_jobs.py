from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from serve_readers import add_scans, frail, picture, wait_for

from quillread.serve.access.actor import OWNER, Actor
from quillread.serve.api.jobs import find_job
from quillread.serve.app import make_app
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig, ServeLimits
from quillread.serve.database.base import now
from quillread.serve.database.schema import Blob, Collection, Job, Page, Task, User
from quillread.serve.faults import DeniedError, NotFoundError
from quillread.serve.jobs import queue
from quillread.serve.jobs.crew import Crew


def places(pages: list[Page], archive: Archive) -> tuple[str, str, str]:
    with archive.database.read() as session:
        page = session.get_one(Page, pages[0].id)
        document = page.document
        return (
            f"/api/v1/pages/{page.id}/read",
            f"/api/v1/documents/{document.id}/read",
            f"/api/v1/collections/{document.collection_id}/read",
        )


def state_of(client: TestClient, job: dict[str, Any]) -> str:
    return str(client.get(f"/api/v1/jobs/{job['id']}").json()["state"])


def test_a_page_a_document_and_a_collection_are_read(archive: Archive, client: TestClient, crew: Crew):
    pages = add_scans(archive, ["a.png", "b.png"])
    for place, count in zip(places(pages, archive), (1, 2, 2), strict=True):
        answer = client.post(place, json={})
        assert answer.status_code == 202
        job = answer.json()
        assert (job["state"], job["total"], job["title"]) == ("waiting", count, "Letter" if count else "")
        crew.work_off()
        done = client.get(f"/api/v1/jobs/{job['id']}").json()
        assert (done["state"], done["done"], done["failed"], done["seconds_left"]) == ("done", count, 0, None)
        assert done["started"] and done["finished"]


def test_reading_needs_no_body(archive: Archive, client: TestClient):
    pages = add_scans(archive, ["a.png"])
    assert client.post(places(pages, archive)[0]).status_code == 202


def test_only_pages_without_text_or_with_unchecked_lines_are_read_again(
    archive: Archive, client: TestClient, crew: Crew
):
    pages = add_scans(archive, ["a.png", "b.png", "c.png"])
    _, document, _ = places(pages, archive)
    with archive.database.write() as session:
        for page, (state, checked) in zip(pages, (("read", 2), ("read", 1), ("failed", 0)), strict=True):
            row = session.get_one(Page, page.id)
            row.state, row.checked_count, row.line_count = state, checked, 2
    assert client.post(document, json={"only": "unread"}).json()["total"] == 1
    with archive.database.write() as session:
        session.get_one(Page, pages[2].id).state = "failed"
    assert client.post(document, json={"only": "unchecked"}).json()["total"] == 2
    with archive.database.write() as session:
        for page in pages:
            row = session.get_one(Page, page.id)
            row.state, row.checked_count = "read", 2
    nothing = client.post(document, json={"only": "unchecked"}).json()
    assert (nothing["total"], nothing["state"]) == (0, "done")


@pytest.mark.parametrize(
    "body",
    [
        {"options": {"modles": ["x"]}},
        {"options": {"variants": 99}},
        {"options": {"models": ["/etc"]}},
        {"options": {"models": ["archive:gone"]}},
        {"options": {"lexicons": ["/etc/passwd"]}},
        {"options": {"segmentation": "/etc"}},
        {"options": {"read": {"web": {"allow": "any"}}}},
        {"options": {"read": 5}},
        {"options": {"read": {"max_pixels": 10**12}}},
        {"options": {"pages": "1"}},
        {"options": []},
        {"layout": "other"},
        {"only": "some"},
    ],
)
def test_options_that_are_not_for_requests_are_refused(archive: Archive, client: TestClient, body: dict[str, Any]):
    pages = add_scans(archive, ["a.png"])
    answer = client.post(places(pages, archive)[1], json=body)
    assert 400 <= answer.status_code < 500
    assert client.get("/api/v1/jobs").json()["items"] == []


def test_a_page_that_someone_looks_at_goes_first(archive: Archive, client: TestClient):
    pages = add_scans(archive, ["a.png", "b.png"])
    client.post(places(pages, archive)[1])
    assert client.post(f"/api/v1/pages/{pages[1].id}/look").status_code == 204
    with archive.database.read() as session:
        assert {task.page_id: task.priority for task in session.query(Task)} == {pages[0].id: 0, pages[1].id: 100}
    assert client.post("/api/v1/pages/999/look").status_code == 404


def test_jobs_are_listed_latest_first_and_in_parts(archive: Archive, client: TestClient, crew: Crew):
    pages = add_scans(archive, ["a.png"])
    ids = [client.post(places(pages, archive)[0]).json()["id"] for _ in range(3)]
    first = client.get("/api/v1/jobs", params={"limit": 2}).json()
    assert [job["id"] for job in first["items"]] == ids[:0:-1]
    rest = client.get("/api/v1/jobs", params={"limit": 2, "after": first["next"]}).json()
    assert ([job["id"] for job in rest["items"]], rest["next"]) == ([ids[0]], None)
    client.post(f"/api/v1/jobs/{ids[0]}/cancel")
    waiting = client.get("/api/v1/jobs", params={"state": ["waiting", "running"]}).json()
    assert [job["id"] for job in waiting["items"]] == ids[:0:-1]
    assert client.get("/api/v1/jobs", params={"collection_id": 99}).json()["items"] == []
    assert client.get("/api/v1/jobs", params={"state": "odd"}).status_code == 422
    assert len(client.get("/api/v1/jobs", params={"kind": "read"}).json()["items"]) == 3
    assert client.get("/api/v1/jobs", params={"kind": "train"}).json()["items"] == []


def test_a_job_is_cancelled_once(archive: Archive, client: TestClient):
    pages = add_scans(archive, ["a.png"])
    job = client.post(places(pages, archive)[0]).json()
    cancelled = client.post(f"/api/v1/jobs/{job['id']}/cancel").json()
    assert (cancelled["state"], cancelled["cancelled"]) == ("cancelled", True)
    assert client.post(f"/api/v1/jobs/{job['id']}/cancel").status_code == 409
    assert client.post(f"/api/v1/jobs/{job['id']}/retry").status_code == 409


def test_a_job_that_failed_is_tried_again(archive: Archive, client: TestClient, crew: Crew):
    pages = add_scans(archive, ["a.png"])
    archive.storage.delete(pages[0].source)
    job = client.post(places(pages, archive)[0]).json()
    crew.work_off()
    failed = client.get(f"/api/v1/jobs/{job['id']}").json()
    assert (failed["state"], failed["fault"]["kind"]) == ("failed", "input")
    archive.storage.add(picture())
    assert client.post(f"/api/v1/jobs/{job['id']}/retry").json()["state"] == "waiting"
    crew.work_off()
    assert state_of(client, job) == "done"


def test_the_file_of_an_export_is_downloaded(archive: Archive, client: TestClient):
    stored = archive.storage.add(b"PK")
    with archive.database.write() as session:
        session.add(Blob(sha256=stored.sha256, size=2, media_type="application/zip"))
        job = queue.enqueue(session, OWNER, "export", [{}], title="x")
        id = job.id
    assert client.get(f"/api/v1/jobs/{id}/result").status_code == 409
    with archive.database.write() as session:
        job = session.get_one(Job, id)
        job.finished, job.state = now(), "done"
        job.result = {"blob": stored.sha256, "name": "Brief ü.zip", "media_type": "application/zip"}
    answer = client.get(f"/api/v1/jobs/{id}/result")
    assert (answer.content, answer.headers["content-type"]) == (b"PK", "application/zip")
    assert "Brief" in answer.headers["content-disposition"]


def test_a_job_without_a_file_has_none_to_download(archive: Archive, client: TestClient, crew: Crew):
    pages = add_scans(archive, ["a.png"])
    job = client.post(places(pages, archive)[0]).json()
    crew.work_off()
    assert client.get(f"/api/v1/jobs/{job['id']}/result").status_code == 404
    assert client.get("/api/v1/jobs/99/result").status_code == 404


def test_a_reader_may_end_only_jobs_of_their_own(archive: Archive):
    with archive.database.write() as session:
        users = [User(name=name, password_hash="", role="reader") for name in ("eva", "max")]
        collection = Collection(name="a")
        session.add_all([*users, collection])
        session.flush()
        eva, maxim = [Actor(user.name, "reader", user.id) for user in users]
        own = queue.enqueue(session, eva, "export", [{}], title="x", collection_id=collection.id)
        private = queue.enqueue(session, eva, "export", [{}], title="x")
        assert find_job(session, eva, own.id, "editor") is own
        assert find_job(session, maxim, own.id) is own
        with pytest.raises(DeniedError):
            find_job(session, maxim, own.id, "editor")
        assert find_job(session, eva, private.id) is private
        with pytest.raises(NotFoundError):
            find_job(session, maxim, private.id)


class TestFull:
    @pytest.fixture
    def config(self, config: ServeConfig) -> ServeConfig:
        return ServeConfig(config.data, database=config.database, limits=ServeLimits(queued_jobs=1))

    def test_more_jobs_than_may_wait_are_refused_with_a_time_to_come_back(self, archive: Archive, client: TestClient):
        pages = add_scans(archive, ["a.png"])
        assert client.post(places(pages, archive)[0]).status_code == 202
        answer = client.post(places(pages, archive)[0])
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 0


@pytest.fixture
def working(archive: Archive) -> Iterator[TestClient]:
    """A client of a server that works on its queue."""
    crew = Crew(archive, readers=frail, is_apart=False)
    with TestClient(make_app(archive, crew), base_url="http://127.0.0.1:8765") as client:
        yield client


def test_a_server_reads_by_itself_and_counts(archive: Archive, working: TestClient):
    pages = add_scans(archive, ["a.png"])
    job = working.post(places(pages, archive)[0]).json()
    wait_for(lambda: state_of(working, job) == "done")
    assert working.get("/readyz").json() == {"status": "ready"}
    figures = working.get("/metrics").text
    assert 'quillread_pages_total{outcome="read"} 1.0' in figures
    assert 'route="/jobs/{job_id}"' in figures
    assert "quillread_jobs_unfinished 0.0" in figures


def test_a_server_without_its_workers_is_alive_but_not_ready(archive: Archive):
    crew = Crew(archive, readers=frail, is_apart=False)
    with TestClient(make_app(archive, crew), base_url="http://127.0.0.1:8765") as client:
        crew.stop()
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").status_code == 503


@pytest.mark.parametrize("what", ["collection_id", "document_ids", "page_ids"])
def test_an_export_is_a_job_of_a_collection(archive: Archive, client: TestClient, what: str):
    pages = add_scans(archive, ["a.png", "b.png"])
    with archive.database.read() as session:
        collection = session.get_one(Page, pages[0].id).document.collection_id
    given = {"collection_id": collection, "document_ids": [pages[0].document_id], "page_ids": [p.id for p in pages]}
    answer = client.post("/api/v1/exports", json={what: given[what], "format": "page-zip", "checked": True})
    assert answer.status_code == 202
    assert (answer.json()["kind"], answer.json()["collection_id"]) == ("export", collection)
    with archive.database.read() as session:
        payload = session.query(Task).one().payload
    assert payload == {what: given[what], "format": "page-zip", "checked": True}


@pytest.mark.parametrize(
    "body",
    [
        {"format": "page"},
        {"format": "exe", "collection_id": 1},
        {"format": "page", "collection_id": 99},
        {"format": "page", "document_ids": []},
        {"format": "page", "document_ids": [99]},
        {"format": "page", "page_ids": [1 << 80]},
        {"format": "page", "collection_id": 1, "page_ids": [1]},
    ],
)
def test_exports_of_nothing_or_of_two_things_are_refused(client: TestClient, body: dict[str, Any]):
    assert client.post("/api/v1/exports", json=body).status_code in (404, 422)


def test_an_export_of_two_collections_is_refused(archive: Archive, client: TestClient):
    pages = [*add_scans(archive, ["a.png"]), *add_scans(archive, ["a.png"])]
    body = {"format": "page", "page_ids": [page.id for page in pages]}
    assert client.post("/api/v1/exports", json=body).status_code == 400
