"""How files come in: in one request, or in parts."""

import base64
import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import func, select

from quillread.serve.access.actor import Actor
from quillread.serve.api.uploads import file_name
from quillread.serve.app import make_app
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeLimits
from quillread.serve.database.schema import Blob, Job
from quillread.serve.faults import BusyError

FORM = {"content-type": "multipart/form-data; boundary=x"}
PATCH = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream"}


def picture() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((200, 300), 50).save(file, "PNG")
    return file.getvalue()


def part(name: str, content: bytes, file: str | None = None) -> bytes:
    given = f'; filename="{file}"' if file is not None else ""
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{given}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def send(client: TestClient, collection: int, body: bytes, headers: dict[str, str] = FORM) -> Any:
    return client.post(f"/api/v1/collections/{collection}/uploads", content=body, headers=headers)


def nothing_is_left(archive: Archive) -> bool:
    with archive.database.read() as session:
        rows = session.scalar(select(func.count()).select_from(Blob)) or session.scalar(
            select(func.count()).select_from(Job)
        )
    folder = archive.config.data / "uploads"
    return not rows and not list(archive.storage.list()) and [path.name for path in folder.iterdir()] == ["resumable"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"", FORM),
        (b"--x--\r\n", FORM),
        (part("read", b"true") + b"--x--\r\n", FORM),
        (part("file", picture(), "a.png"), FORM),
        (part("file", picture(), "a.png")[:-50], FORM),
        (b"no form", FORM),
        (part("file", picture(), "a.png") + b"--x--\r\n", {"content-type": "multipart/form-data"}),
        (picture(), {"content-type": "image/png"}),
        (part("file", picture(), "a.png"), {"content-type": f"multipart/form-data; boundary={'x' * 300}"}),
        (part("file", picture(), "a.png") + part("read", b"perhaps") + b"--x--\r\n", FORM),
        (part("file", picture(), "a.png") + part("document_id", b"x") + b"--x--\r\n", FORM),
    ],
)
def test_requests_that_are_no_whole_form_of_files_are_refused(
    client: TestClient, archive: Archive, collection: int, body: bytes, headers: dict[str, str]
):
    assert send(client, collection, body, headers).status_code == 400
    assert nothing_is_left(archive)


def test_an_upload_is_kept_when_it_is_answered(client: TestClient, archive: Archive, collection: int):
    content = picture()
    answer = send(client, collection, part("file", content, "a.png") + part("read", b"false") + b"--x--\r\n")
    assert answer.status_code == 202
    (job,) = answer.json()["jobs"]
    assert (job["kind"], job["state"], job["title"]) == ("import", "waiting", "a.png")
    (stored,) = archive.storage.list()
    assert archive.storage.read(stored.sha256) == content


def test_an_import_of_several_files_is_named_by_the_first_and_counts_them(client: TestClient, collection: int):
    body = b"".join(part("file", picture(), name) for name in ("a.png", "b.png", "c.png")) + b"--x--\r\n"
    (job,) = send(client, collection, body).json()["jobs"]
    assert (job["title"], job["files"]) == ("a.png", 3)
    assert client.get(f"/api/v1/jobs/{job['id']}").json()["files"] == 3


def test_a_form_that_is_sent_again_begins_no_second_import(client: TestClient, collection: int):
    def sent(key: str) -> int:
        files = {"file": ("a.png", picture())}
        answer = client.post(f"/api/v1/collections/{collection}/uploads", data={"upload": key}, files=files)
        return int(answer.json()["jobs"][0]["id"]) if answer.is_success else answer.status_code

    first = sent("0123456789abcdef")
    assert sent("0123456789abcdef") == first
    assert sent("fedcba9876543210") != first
    assert sent("short") == 400


def test_an_upload_into_what_does_not_exist_is_refused_before_it_is_read(client: TestClient, collection: int):
    assert send(client, 4711, b"").status_code == 404
    body = part("document_id", b"4711") + part("file", picture(), "a.png") + b"--x--\r\n"
    assert send(client, collection, body).status_code == 404


def test_files_beyond_the_limit_are_refused(client: TestClient, archive: Archive, collection: int):
    object.__setattr__(archive.config, "limits", ServeLimits(upload_bytes=10_000))
    body = part("file", picture(), "a.png") + b"--x--\r\n"
    answer = send(client, collection, body)
    assert answer.status_code == 413
    assert nothing_is_left(archive)


def test_a_full_disk_is_told_and_leaves_nothing_half(
    client: TestClient, archive: Archive, collection: int, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    body = part("file", picture(), "a.png") + b"--x--\r\n"
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", full)
        patch.setattr("quillread.serve.storage._write_here", full)
        answer = send(client, collection, body)
    assert answer.status_code == 507
    assert "No space left" in answer.json()["detail"]
    assert nothing_is_left(archive)
    assert send(client, collection, body).status_code == 202


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("C:\\Users\\anna\\a.png", "a.png"),
        ("../../etc/passwd", "passwd"),
        ("a\r\nb\x00.png", "a  b .png"),
        ("", "file"),
        ("/", "file"),
        ("x" * 600 + ".png", "x" * 496 + ".png"),
        ("..", ".."),
        ("👩\u200d🌾 می\u200cخواهم.png", "👩\u200d🌾 می\u200cخواهم.png"),
        ("gpj.\u202etxt.png", "gpj. txt.png"),
    ],
)
def test_names_of_uploads_lose_folders_and_control_characters(given: str, kept: str):
    assert file_name(given) == kept


def metadata(collection: int, name: str = "a.png", **more: str) -> str:
    values = {"collection_id": str(collection), "filename": name, **more}
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in values.items())


def begin(client: TestClient, collection: int, length: int, **headers: str) -> Any:
    given = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": metadata(collection)}
    return client.post("/api/v1/uploads", headers={**given, **headers})


def test_an_upload_in_parts_is_cut_off_resumed_and_imported_once(client: TestClient, archive: Archive, collection: int):
    content = picture()
    answer = begin(client, collection, len(content))
    assert answer.status_code == 201
    place = answer.headers["location"]
    assert place.startswith("/api/v1/uploads/")
    first = client.patch(place, content=content[:1000], headers={**PATCH, "Upload-Offset": "0"})
    assert (first.status_code, first.headers["upload-offset"]) == (204, "1000")
    # The server has lost its memory, and the client does not know how much has come.
    known = client.head(place, headers={"Tus-Resumable": "1.0.0"})
    assert (known.headers["upload-offset"], known.headers["upload-length"]) == ("1000", str(len(content)))
    wrong = client.patch(place, content=content[500:], headers={**PATCH, "Upload-Offset": "500"})
    assert wrong.status_code == 409
    rest = client.patch(place, content=content[1000:], headers={**PATCH, "Upload-Offset": "1000"})
    assert rest.status_code == 204
    job = rest.headers["x-job"]
    # The answer was lost: the client asks again.
    again = client.head(place, headers={"Tus-Resumable": "1.0.0"})
    assert (again.headers["upload-offset"], again.headers["x-job"]) == (str(len(content)), job)
    last = client.patch(place, content=b"", headers={**PATCH, "Upload-Offset": str(len(content))})
    assert last.headers["x-job"] == job
    (stored,) = archive.storage.list()
    assert archive.storage.read(stored.sha256) == content
    with archive.database.read() as session:
        assert session.scalars(select(Job.kind)).all() == ["import"]


def test_a_crash_between_import_and_note_begins_no_second_import(
    client: TestClient, archive: Archive, collection: int, monkeypatch: pytest.MonkeyPatch
):
    content = picture()
    place = begin(client, collection, len(content)).headers["location"]
    folder = Path(archive.config.data / "uploads" / "resumable")
    uid = place.rpartition("/")[2]
    before = (folder / f"{uid}.json").read_bytes()
    job = client.patch(place, content=content, headers={**PATCH, "Upload-Offset": "0"}).headers["x-job"]
    (folder / f"{uid}.json").write_bytes(before)
    (folder / uid).write_bytes(content)
    headers = {**PATCH, "Upload-Offset": str(len(content))}
    assert client.patch(place, content=b"", headers=headers).headers["x-job"] == job


def test_a_whole_upload_whose_import_was_refused_begins_it_when_it_is_asked_again(
    client: TestClient, archive: Archive, collection: int, monkeypatch: pytest.MonkeyPatch
):
    content = picture()
    place = begin(client, collection, len(content)).headers["location"]
    with monkeypatch.context() as patch:
        patch.setattr("quillread.serve.jobs.queue._check_room", refuse)
        assert client.patch(place, content=content, headers={**PATCH, "Upload-Offset": "0"}).status_code == 429
    known = client.head(place, headers={"Tus-Resumable": "1.0.0"})
    assert known.headers["upload-offset"] == str(len(content))
    assert "x-job" not in known.headers
    again = client.patch(place, content=b"", headers={**PATCH, "Upload-Offset": str(len(content))})
    assert (again.status_code, again.headers["upload-offset"]) == (204, str(len(content)))
    with archive.database.read() as session:
        assert [str(job.id) for job in session.scalars(select(Job))] == [again.headers["x-job"]]


def refuse(*_: Any) -> None:
    raise BusyError("too many jobs wait", retry_after=1)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Tus-Resumable": "0.2.2"}, 412),
        ({"Upload-Length": "-1"}, 422),
        ({"Upload-Length": "x"}, 422),
        ({"Upload-Length": str(10**13)}, 413),
        ({"Upload-Metadata": "filename ###"}, 400),
        ({"Upload-Metadata": ""}, 400),
        ({"Upload-Metadata": metadata(4711)}, 404),
        ({"Upload-Metadata": metadata(1, collection_id="x")}, 400),
        ({"Upload-Concat": "final;../../etc/passwd"}, 400),
        ({"Upload-Concat": "partial"}, 400),
    ],
)
def test_uploads_in_parts_that_cannot_be_are_refused(
    client: TestClient, collection: int, headers: dict[str, str], status: int
):
    assert begin(client, collection, 10, **headers).status_code == status


def test_bytes_do_not_come_with_the_beginning(client: TestClient, collection: int):
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "3", "Upload-Metadata": metadata(collection)}
    assert client.post("/api/v1/uploads", headers=headers, content=b"abc").status_code == 400


def test_more_bytes_than_were_said_are_refused_and_those_before_stay(client: TestClient, collection: int):
    place = begin(client, collection, 10).headers["location"]
    answer = client.patch(place, content=bytes(11), headers={**PATCH, "Upload-Offset": "0"})
    assert answer.status_code == 400
    known = client.head(place, headers={"Tus-Resumable": "1.0.0"})
    assert int(known.headers["upload-offset"]) <= 10


def test_a_whole_upload_of_no_known_kind_is_refused(client: TestClient, archive: Archive, collection: int):
    place = begin(client, collection, 5).headers["location"]
    answer = client.patch(place, content=b"hello", headers={**PATCH, "Upload-Offset": "0"})
    assert answer.status_code == 400
    assert list(archive.storage.list()) == []


def test_an_upload_is_only_for_whoever_has_begun_it(client: TestClient, collection: int, monkeypatch):
    place = begin(client, collection, 10).headers["location"]
    monkeypatch.setattr("quillread.serve.access.guard.OWNER", Actor("eve", "editor", user_id=7))
    headers = {"Tus-Resumable": "1.0.0"}
    assert client.head(place, headers=headers).status_code == 404
    assert client.delete(place, headers=headers).status_code == 404
    assert client.patch(place, content=bytes(10), headers={**PATCH, "Upload-Offset": "0"}).status_code == 404


def test_an_upload_is_nothing_to_a_token_of_another_collection(client: TestClient, collection: int, monkeypatch):
    place = begin(client, collection, 10).headers["location"]
    monkeypatch.setattr("quillread.serve.access.guard.OWNER", Actor("owner", collection_id=collection + 1))
    headers = {"Tus-Resumable": "1.0.0"}
    assert client.head(place, headers=headers).status_code == 404
    assert client.delete(place, headers=headers).status_code == 404


def test_a_field_that_comes_in_many_parts_is_bounded_as_a_whole(client: TestClient, collection: int):
    part = b'--x\r\nContent-Disposition: form-data; name="read"\r\n\r\n' + b"a" * 6_000 + b"\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    place = f"/api/v1/collections/{collection}/uploads"
    assert client.post(place, content=part + part + b"--x--\r\n", headers=headers).status_code == 413


def test_what_a_killed_server_left_half_is_dropped_at_the_next_start(archive: Archive):
    data = archive.config.data
    for name in ("models/.new-1", "uploads/.upload-1"):
        (data / name).mkdir()
    (data / "models" / ".pack-1").touch()
    with TestClient(make_app(archive)):
        assert [path.name for path in (data / "models").iterdir()] == []
        assert not (data / "uploads" / ".upload-1").exists()


def test_readers_begin_no_upload(client: TestClient, collection: int, monkeypatch):
    monkeypatch.setattr("quillread.serve.access.guard.OWNER", Actor("eve", "reader", user_id=7))
    assert begin(client, collection, 10).status_code == 403
    assert send(client, collection, b"").status_code == 403


@pytest.mark.parametrize("uid", ["..", "0-" + "0" * 32, "x", "0-..%2f..%2farchive.db", "%00"])
def test_ids_of_uploads_that_are_none_are_not_found(client: TestClient, uid: str):
    for method in ("HEAD", "DELETE", "PATCH"):
        headers = {**PATCH, "Upload-Offset": "0"}
        assert client.request(method, f"/api/v1/uploads/{uid}", headers=headers).status_code in (404, 405)


def test_an_upload_is_dropped(client: TestClient, archive: Archive, collection: int):
    place = begin(client, collection, 10).headers["location"]
    assert client.delete(place, headers={"Tus-Resumable": "1.0.0"}).status_code == 204
    assert client.head(place, headers={"Tus-Resumable": "1.0.0"}).status_code == 404
    assert list((archive.config.data / "uploads" / "resumable").iterdir()) == []


def test_a_full_disk_stops_an_upload_in_parts_which_goes_on_later(
    client: TestClient, collection: int, monkeypatch: pytest.MonkeyPatch
):
    content = picture()
    place = begin(client, collection, len(content)).headers["location"]
    client.patch(place, content=content[:100], headers={**PATCH, "Upload-Offset": "0"})

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("quillread.serve.api.resumable.UploadFolder._write", full)
        answer = client.patch(place, content=content[100:], headers={**PATCH, "Upload-Offset": "100"})
    assert answer.status_code == 507
    rest = client.patch(place, content=content[100:], headers={**PATCH, "Upload-Offset": "100"})
    assert "x-job" in rest.headers


@pytest.mark.parametrize(
    ("name", "value", "status"), [("Content-Type", "text/plain", 415), ("Tus-Resumable", "0.2.2", 412)]
)
def test_of_a_part_that_is_refused_nothing_is_kept(
    client: TestClient, collection: int, name: str, value: str, status: int
):
    place = begin(client, collection, 100).headers["location"]
    answer = client.patch(place, content=b"abc", headers={**PATCH, "Upload-Offset": "0", name: value})
    assert answer.status_code == status
    assert client.head(place, headers=PATCH).headers["upload-offset"] == "0"


def test_a_full_disk_is_told_when_an_upload_in_parts_begins(
    client: TestClient, collection: int, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("quillread.serve.api.resumable.UploadFolder.note", full)
    answer = begin(client, collection, 100)
    assert answer.status_code == 507
    assert "disk of the server is full" in answer.json()["detail"]


def test_what_is_spoken_of_the_protocol_is_told(client: TestClient):
    headers = client.options("/api/v1/uploads").headers
    assert headers["tus-version"] == "1.0.0"
    assert "creation" in headers["tus-extension"]
    assert "concatenation" not in headers["tus-extension"]
