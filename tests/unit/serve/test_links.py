"""Links that let readers without an account see one collection, by the API."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, update

from quillread.serve.access import tokens
from quillread.serve.app import make_app
from quillread.serve.archive.home import Archive
from quillread.serve.database.base import now
from quillread.serve.database.schema import AuditEntry, Blob, Token

LogIn = Callable[[str], TestClient]
HERE = "http://127.0.0.1:8765"


def make_collection(client: TestClient, name: str = "Letters") -> int:
    return int(client.post("/api/v1/collections", json={"name": name}).json()["id"])


def make_link(client: TestClient, collection: int, **changes: Any) -> dict[str, Any]:
    answer = client.post(f"/api/v1/collections/{collection}/links", json={"name": "Readers", "days": 7} | changes)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.fixture
def browser(archive: Archive) -> TestClient:
    """A browser in which nobody is logged in."""
    return TestClient(make_app(archive), base_url=HERE)


def open_link(browser: TestClient, secret: str) -> int:
    answer = browser.post("/api/v1/link", json={"token": secret})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["collection_id"])


def test_a_link_is_shown_once_and_kept_as_a_hash(archive: Archive, log_in: LogIn):
    admin = log_in("admin")
    collection = make_collection(admin)
    made = make_link(admin, collection)
    with archive.database.read() as session:
        (kept,) = session.scalars(select(Token)).all()
        noted = session.scalars(select(AuditEntry.action).where(AuditEntry.collection_id == collection)).all()
    assert kept.hash == tokens.digest(made["token"])
    (shown,) = admin.get(f"/api/v1/collections/{collection}/links").json()["items"]
    assert shown == {name: value for name, value in made.items() if name != "token"}
    assert shown["user_name"] == "admin"
    assert noted == ["collection.create", "link.create"]
    assert admin.get("/api/v1/tokens").json()["items"] == []


def test_whoever_opens_a_link_is_a_reader_of_that_collection_without_a_name(browser: TestClient, log_in: LogIn):
    admin = log_in("admin")
    collection = make_collection(admin)
    make_collection(admin, "closed")
    assert open_link(browser, make_link(admin, collection)["token"]) == collection
    me = browser.get("/api/v1/me").json()
    assert (me["name"], me["role"], me["user_id"], me["local"]) == ("link Readers", "reader", None, False)
    assert me["link"]["collection_id"] == collection
    (seen,) = browser.get("/api/v1/collections").json()["items"]
    assert (seen["id"], seen["role"]) == (collection, "reader")
    (listed,) = admin.get(f"/api/v1/collections/{collection}/links").json()["items"]
    assert listed["last_used"] is not None


def test_its_cookie_is_kept_from_scripts_and_other_sites_and_ends_with_it(archive: Archive, log_in: LogIn):
    admin = log_in("admin")
    secret = make_link(admin, make_collection(admin))["token"]
    client = TestClient(make_app(archive), base_url="https://127.0.0.1:8765")
    cookie = client.post("/api/v1/link", json={"token": secret}).headers["set-cookie"]
    assert cookie.startswith(f"__Host-quill-link={secret};")
    assert {"HttpOnly", "SameSite=strict", "Secure", "Path=/"} <= set(cookie.split("; "))
    (seconds,) = (int(part[8:]) for part in cookie.split("; ") if part.startswith("Max-Age="))
    assert 6.9 * 86_400 < seconds <= 7 * 86_400


@pytest.mark.parametrize("how", ["withdrawn", "ended", "binned", "maker disabled", "maker lost the collection"])
def test_a_link_that_is_dead_says_so_at_once_and_opens_nothing(
    archive: Archive, browser: TestClient, log_in: LogIn, users: dict[str, int], how: str
):
    admin = log_in("admin")
    collection = make_collection(admin)
    place = f"/api/v1/collections/{collection}"
    assert admin.put(f"{place}/members/{users['editor']}", json={"role": "admin"}).status_code == 204
    made = make_link(log_in("editor"), collection)
    open_link(browser, made["token"])
    if how == "withdrawn":
        assert admin.delete(f"{place}/links/{made['id']}").status_code == 204
    elif how == "ended":
        with archive.database.write() as session:
            session.execute(update(Token).values(expires=now() - timedelta(seconds=1)))
    elif how == "binned":
        assert admin.delete(place).status_code == 204
    elif how == "maker disabled":
        admin.patch(f"/api/v1/users/{users['editor']}", json={"disabled": True})
    else:
        admin.put(f"{place}/members/{users['editor']}", json={"role": "none"})
    for answer in (browser.get(place), browser.post("/api/v1/link", json={"token": made["token"]})):
        assert answer.status_code == 401
        assert answer.json()["link"] == "ended"
        assert "has ended or was withdrawn" in answer.json()["detail"]


@pytest.mark.parametrize("token", ["quill_made-up", "x", "\u202e"])
def test_a_made_up_link_is_refused(browser: TestClient, users: dict[str, int], token: str):
    answer = browser.post("/api/v1/link", json={"token": token})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_a_link_of_broken_unicode_is_refused(browser: TestClient, users: dict[str, int]):
    headers = {"content-type": "application/json"}
    answer = browser.post("/api/v1/link", content=b'{"token": "\\ud800"}', headers=headers)
    assert 400 <= answer.status_code < 500


def test_a_token_of_a_script_is_not_a_link(browser: TestClient, log_in: LogIn):
    secret = log_in("admin").post("/api/v1/tokens", json={"name": "x", "role": "admin"}).json()["token"]
    assert browser.post("/api/v1/link", json={"token": secret}).status_code == 401
    browser.cookies.set("quill-link", secret)
    assert browser.get("/api/v1/me").status_code == 401


def test_a_link_sent_as_a_token_is_still_a_link(browser: TestClient, log_in: LogIn):
    admin = log_in("admin")
    collection = make_collection(admin)
    headers = {"Authorization": f"Bearer {make_link(admin, collection)['token']}"}
    assert browser.get(f"/api/v1/collections/{collection}", headers=headers).status_code == 200
    assert browser.get("/api/v1/tokens", headers=headers).status_code == 403


def test_whoever_may_see_the_collection_keeps_their_own_login(log_in: LogIn):
    admin, editor = log_in("admin"), log_in("editor")
    collection = make_collection(admin)
    open_link(editor, make_link(admin, collection)["token"])
    assert editor.get("/api/v1/me").json()["name"] == "editor"
    assert editor.patch(f"/api/v1/collections/{collection}", json={"name": "mine"}).status_code == 200


def test_whoever_may_not_sees_it_by_the_link_until_they_leave_it(log_in: LogIn):
    admin, guest = log_in("admin"), log_in("none")
    collection = make_collection(admin)
    open_link(guest, make_link(admin, collection)["token"])
    assert guest.get(f"/api/v1/collections/{collection}").status_code == 200
    assert guest.post("/api/v1/logout").status_code == 204
    assert guest.get("/api/v1/me").json()["name"] == "none"
    assert guest.get(f"/api/v1/collections/{collection}").status_code == 404


def test_a_link_beside_a_login_is_not_in_the_way_of_what_the_login_may(log_in: LogIn):
    admin, editor = log_in("admin"), log_in("editor")
    own, foreign = make_collection(admin), make_collection(admin, "foreign")
    user = editor.get("/api/v1/me").json()["user_id"]
    admin.put(f"/api/v1/collections/{foreign}/members/{user}", json={"role": "none"})
    open_link(editor, make_link(admin, foreign)["token"])
    assert editor.get(f"/api/v1/collections/{foreign}").json()["role"] == "reader"
    assert editor.get("/api/v1/me").json()["name"] == "editor"
    assert editor.patch(f"/api/v1/collections/{own}", json={"name": "mine"}).status_code == 200
    assert editor.patch(f"/api/v1/collections/{foreign}", json={"name": "mine"}).status_code == 404
    exported = editor.post("/api/v1/exports", json={"collection_id": foreign, "format": "txt"})
    assert exported.status_code == 202
    assert editor.get(f"/api/v1/jobs/{exported.json()['id']}").status_code == 200


def test_what_neither_a_login_nor_the_link_beside_it_finds_is_answered_to_the_login(
    log_in: LogIn, make_page: Callable[..., int]
):
    admin, editor = log_in("admin"), log_in("editor")
    own, foreign = make_collection(admin), make_collection(admin, "foreign")
    user = editor.get("/api/v1/me").json()["user_id"]
    admin.put(f"/api/v1/collections/{foreign}/members/{user}", json={"role": "none"})
    open_link(editor, make_link(admin, foreign)["token"])
    document = editor.post(f"/api/v1/collections/{own}/documents", json={"name": "d"}).json()["id"]
    page = make_page(document)
    editor.delete(f"/api/v1/pages/{page}")
    answer = editor.get(f"/api/v1/pages/{page}/lines")
    assert (answer.status_code, answer.json()["hint"]) == (404, "restore it first")


def test_a_change_that_a_link_refuses_says_that_it_is_the_link(browser: TestClient, log_in: LogIn):
    admin = log_in("admin")
    collection = make_collection(admin)
    open_link(browser, make_link(admin, collection)["token"])
    answer = browser.patch(f"/api/v1/collections/{collection}", json={"name": "mine"})
    assert (answer.status_code, answer.json()["link"]) == (403, "open")


def test_a_link_that_has_ended_is_not_in_the_way_of_a_login(log_in: LogIn):
    admin, guest = log_in("admin"), log_in("none")
    collection = make_collection(admin)
    made = make_link(admin, collection)
    open_link(guest, made["token"])
    admin.delete(f"/api/v1/collections/{collection}/links/{made['id']}")
    assert guest.get("/api/v1/me").json()["name"] == "none"


def test_logging_in_leaves_a_link(browser: TestClient, log_in: LogIn):
    admin = log_in("admin")
    open_link(browser, make_link(admin, make_collection(admin))["token"])
    assert browser.post("/api/v1/login", json={"name": "none", "password": "correct horse"}).status_code == 204
    assert browser.get("/api/v1/me").json()["name"] == "none"


def test_only_admins_of_the_collection_make_list_and_withdraw_its_links(log_in: LogIn):
    admin = log_in("admin")
    collection, other = make_collection(admin), make_collection(admin)
    made = make_link(admin, collection)
    for role in ("editor", "reader", "none"):
        client = log_in(role)
        place = f"/api/v1/collections/{collection}/links"
        answers = (client.get(place), client.post(place, json={"name": "x"}), client.delete(f"{place}/{made['id']}"))
        assert {answer.status_code for answer in answers} == {404 if role == "none" else 403}
    assert admin.delete(f"/api/v1/collections/{other}/links/{made['id']}").status_code == 404


def test_a_token_cannot_make_links(log_in: LogIn, browser: TestClient):
    admin = log_in("admin")
    collection = make_collection(admin)
    secret = admin.post("/api/v1/tokens", json={"name": "x", "role": "admin"}).json()["token"]
    headers = {"Authorization": f"Bearer {secret}"}
    answer = browser.post(f"/api/v1/collections/{collection}/links", json={"name": "x"}, headers=headers)
    assert answer.status_code == 403


@pytest.mark.parametrize("body", [{"name": ""}, {"name": "x" * 81}, {"name": "x", "days": 0}, {"name": "a\nb"}, {}])
def test_a_link_that_cannot_be_is_refused(client: TestClient, collection: int, body: dict[str, Any]):
    assert client.post(f"/api/v1/collections/{collection}/links", json=body).status_code == 422


def test_without_accounts_a_link_leads_the_one_person_to_the_collection(client: TestClient, collection: int):
    made = make_link(client, collection)
    assert made["user_name"] is None
    assert open_link(client, made["token"]) == collection
    assert client.get("/api/v1/me").json()["local"] is True


def test_links_made_without_accounts_end_with_the_first_account(
    client: TestClient, collection: int, cheap_passwords: None
):
    made = make_link(client, collection)
    body = {"name": "anna", "password": "correct horse", "role": "admin"}
    assert client.post("/api/v1/users", json=body).status_code == 201
    assert client.post("/api/v1/link", json={"token": made["token"]}).status_code == 401


def test_a_link_shows_nothing_that_is_in_the_bin(browser: TestClient, log_in: LogIn, make_page: Callable[..., int]):
    admin = log_in("admin")
    collection = make_collection(admin)
    document = admin.post(f"/api/v1/collections/{collection}/documents", json={"name": "d"}).json()["id"]
    page = make_page(document)
    open_link(browser, make_link(admin, collection)["token"])
    assert browser.get(f"/api/v1/pages/{page}/image").status_code == 200
    admin.delete(f"/api/v1/pages/{page}")
    for path in (f"pages/{page}", f"pages/{page}/original", f"pages/{page}/image", f"iiif/{page}/info.json"):
        assert browser.get(f"/api/v1/{path}").status_code == 404, path
    admin.delete(f"/api/v1/documents/{document}")
    assert browser.get(f"/api/v1/documents/{document}").status_code == 404
    assert browser.get(f"/api/v1/collections/{collection}/documents?deleted=true").status_code == 403


def test_whoever_opens_a_link_exports_and_sees_no_other_jobs(
    browser: TestClient, log_in: LogIn, make_page: Callable[..., int]
):
    admin = log_in("admin")
    collection = make_collection(admin)
    document = admin.post(f"/api/v1/collections/{collection}/documents", json={"name": "d"}).json()["id"]
    page = make_page(document)
    reading = admin.post(f"/api/v1/pages/{page}/read").json()["id"]
    open_link(browser, make_link(admin, collection)["token"])
    begun = browser.post("/api/v1/exports", json={"collection_id": collection, "format": "txt"})
    assert begun.status_code == 202
    assert [job["id"] for job in browser.get("/api/v1/jobs").json()["items"]] == [begun.json()["id"]]
    exported = admin.post("/api/v1/exports", json={"collection_id": collection, "format": "txt"}).json()["id"]
    for job in (reading, exported):
        assert browser.get(f"/api/v1/jobs/{job}").status_code == 404
        assert browser.get(f"/api/v1/jobs/{job}/result").status_code == 404
    assert browser.post(f"/api/v1/jobs/{begun.json()['id']}/cancel").status_code == 403


@pytest.mark.parametrize(("media_type", "status"), [("image/jpeg", 200), ("image/tiff", 404), ("application/pdf", 404)])
def test_a_link_gives_no_files_that_may_hold_pages_that_it_does_not_show(
    archive: Archive,
    browser: TestClient,
    log_in: LogIn,
    make_page: Callable[..., int],
    media_type: str,
    status: int,
):
    admin = log_in("admin")
    collection = make_collection(admin)
    document = admin.post(f"/api/v1/collections/{collection}/documents", json={"name": "d"}).json()["id"]
    page = make_page(document)
    with archive.database.write() as session:
        session.execute(update(Blob).values(media_type=media_type))
    open_link(browser, make_link(admin, collection)["token"])
    assert admin.get(f"/api/v1/pages/{page}/original").status_code == 200
    assert browser.get(f"/api/v1/pages/{page}/original").status_code == status
