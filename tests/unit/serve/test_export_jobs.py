import zipfile
from datetime import timedelta
from io import BytesIO

from fastapi.testclient import TestClient
from serve_readers import TEXT, add_scans
from sqlalchemy import select

from quillread.serve.access.actor import OWNER
from quillread.serve.archive.home import Archive
from quillread.serve.database.schema import Blob, Job, Page, Task
from quillread.serve.jobs import queue
from quillread.serve.jobs.crew import Crew
from quillread.serve.jobs.exporting import prune_exports


def add_read_pages(archive: Archive, crew: Crew) -> list[Page]:
    pages = add_scans(archive, ["a.png", "b.png"])
    with archive.database.write() as session:
        queue.enqueue_reading(session, OWNER, pages)
    crew.work_off()
    return pages


def test_an_export_is_made_and_downloaded(archive: Archive, client: TestClient, crew: Crew):
    pages = add_read_pages(archive, crew)
    body = {"document_ids": [pages[0].document_id], "format": "txt"}
    job = client.post("/api/v1/exports", json=body).json()
    crew.work_off()
    done = client.get(f"/api/v1/jobs/{job['id']}").json()
    assert (done["state"], done["result"]["name"]) == ("done", "Letter.txt")
    answer = client.get(f"/api/v1/jobs/{job['id']}/result")
    assert answer.text.count(TEXT) == 2
    body = {"page_ids": [page.id for page in pages], "format": "page"}
    job = client.post("/api/v1/exports", json=body).json()
    crew.work_off()
    packed = client.get(f"/api/v1/jobs/{job['id']}/result").content
    assert len(zipfile.ZipFile(BytesIO(packed)).namelist()) == 2


def test_an_export_of_what_is_gone_meanwhile_fails_with_its_fault(archive: Archive, client: TestClient, crew: Crew):
    pages = add_read_pages(archive, crew)
    job = client.post("/api/v1/exports", json={"page_ids": [pages[0].id], "format": "txt"}).json()
    client.delete(f"/api/v1/pages/{pages[0].id}")
    crew.work_off()
    failed = client.get(f"/api/v1/jobs/{job['id']}").json()
    assert failed["state"] == "failed"
    assert "bin" in failed["fault"]["message"]


def test_an_export_that_is_made_twice_ends_once(archive: Archive, client: TestClient, crew: Crew):
    pages = add_read_pages(archive, crew)
    job = client.post("/api/v1/exports", json={"page_ids": [pages[0].id], "format": "txt"}).json()
    crew.work_off()
    with archive.database.write() as session:  # as after a server that ended between file and task
        row = session.get_one(Job, job["id"])
        row.state, row.finished, row.done = "running", None, 0
        session.scalars(select(Task).where(Task.job_id == job["id"])).one().state = "waiting"
    crew.work_off()
    assert client.get(f"/api/v1/jobs/{job['id']}").json()["state"] == "done"


def test_old_exports_go_with_their_files(archive: Archive, client: TestClient, crew: Crew):
    pages = add_read_pages(archive, crew)
    ids = []
    for format in ("txt", "json"):
        body = {"page_ids": [pages[0].id], "format": format}
        ids.append(client.post("/api/v1/exports", json=body).json()["id"])
        crew.work_off()
    with archive.database.write() as session:
        old, new = (session.get_one(Job, id) for id in ids)
        old.finished -= timedelta(days=8)
        gone, kept = old.result["blob"], new.result["blob"]
    prune_exports(archive)
    assert (archive.storage.has(gone), archive.storage.has(kept)) == (False, True)
    assert client.get(f"/api/v1/jobs/{ids[0]}").status_code == 404
    with archive.database.read() as session:
        assert session.get(Blob, gone) is None
