"""Logins, tokens, roles and accounts, by the API."""

import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from starlette.routing import BaseRoute

from quillread.serve.access import accounts, logins, passwords, tokens
from quillread.serve.access.guard import GUARDED, OPEN
from quillread.serve.app import make_app
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeLimits
from quillread.serve.database.base import now
from quillread.serve.database.schema import AuditEntry, Job, Line, LoginFailure, LoginSession, Region, Token

PASSWORD = "correct horse"  # of the accounts of the fixture `users`
LogIn = Callable[[str], TestClient]
HERE = "http://127.0.0.1:8765"
LOGIN = "/api/v1/login"
PUBLIC = {"/healthz", "/readyz", "/"}
"""Routes outside those that need a login; add one only if it shows nothing of the archive."""


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def make_collection(client: TestClient, name: str = "a") -> int:
    return int(client.post("/api/v1/collections", json={"name": name}).json()["id"])


def make_token(client: TestClient, **changes: Any) -> str:
    answer = client.post("/api/v1/tokens", json={"name": "script", "role": "admin"} | changes)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def walk(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Method and path of each route of an application."""
    described = FastAPI(routes=routes).openapi()
    for path, methods in described["paths"].items():
        yield from ((method.upper(), path) for method in methods)


# --- without accounts, and the first one


def test_on_loopback_without_accounts_nobody_logs_in(client: TestClient):
    me = client.get("/api/v1/me").json()
    assert (me["name"], me["role"], me["user_id"], me["local"]) == ("owner", "admin", None, True)


def test_the_first_account_must_be_an_admin_and_ends_the_time_without_login(client: TestClient, cheap_passwords: None):
    body = {"name": "anna", "password": PASSWORD, "role": "editor"}
    assert client.post("/api/v1/users", json=body).status_code == 400
    assert client.post("/api/v1/users", json=body | {"role": "admin"}).status_code == 201
    assert client.get("/api/v1/me").status_code == 401
    assert client.post(LOGIN, json={"name": "anna", "password": PASSWORD}).status_code == 204
    assert client.get("/api/v1/me").json()["name"] == "anna"


def test_tokens_of_the_one_person_end_with_the_first_account(client: TestClient, cheap_passwords: None):
    secret = make_token(client)
    assert client.get("/api/v1/me", headers=bearer(secret)).status_code == 200
    client.post("/api/v1/users", json={"name": "anna", "password": PASSWORD, "role": "admin"})
    assert client.get("/api/v1/me", headers=bearer(secret)).status_code == 401


def test_beyond_loopback_a_login_is_needed_even_without_accounts(archive: Archive):
    archive.config = replace(archive.config, host="0.0.0.0")
    assert TestClient(make_app(archive), base_url=HERE).get("/api/v1/me").status_code == 401


# --- logging in


def test_a_cookie_is_kept_from_scripts_and_other_sites(archive: Archive, users: dict[str, int]):
    body = {"name": "admin", "password": PASSWORD}
    plain = TestClient(make_app(archive), base_url=HERE).post(LOGIN, json=body).headers["set-cookie"]
    assert plain.startswith("quill=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(plain.split("; "))
    secure = TestClient(make_app(archive), base_url=HERE.replace("http", "https")).post(LOGIN, json=body)
    assert secure.headers["set-cookie"].startswith("__Host-quill=")
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Secure"} <= set(secure.headers["set-cookie"].split("; "))
    archive.config = replace(archive.config, root_path="/quill")
    below = TestClient(make_app(archive), base_url=HERE).post(f"/quill{LOGIN}", json=body).headers["set-cookie"]
    assert "Path=/quill" in below.split("; ")


def test_a_cookie_is_kept_as_a_hash(archive: Archive, log_in: LogIn):
    secret = log_in("admin").cookies["quill"]
    with archive.database.read() as session:
        (kept,) = session.scalars(select(LoginSession.hash)).all()
    assert kept == tokens.digest(secret) != secret


@pytest.mark.parametrize(
    ("name", "password"), [("admin", "wrong"), ("nobody", PASSWORD), ("Admin", PASSWORD), ("admin", f"{PASSWORD} ")]
)
def test_a_wrong_login_gets_the_same_answer_whatever_is_wrong(
    archive: Archive, users: dict[str, int], name: str, password: str
):
    client = TestClient(make_app(archive), base_url=HERE)
    answer = client.post(LOGIN, json={"name": name, "password": password})
    assert answer.status_code == 401
    assert answer.json()["detail"] == "the name or the password is wrong"
    assert "set-cookie" not in answer.headers


def test_a_name_that_does_not_exist_takes_the_same_hash(
    archive: Archive, users: dict[str, int], monkeypatch: pytest.MonkeyPatch
):
    hashed: list[str] = []
    real = passwords._HASHER

    class Spy:
        def verify(self, hash: str, password: str) -> bool:
            hashed.append(hash.rsplit("$", 2)[0])
            return real.verify(hash, password)

        def hash(self, password: str) -> str:
            return real.hash(password)

    passwords._nobodys.cache_clear()
    monkeypatch.setattr(passwords, "_HASHER", Spy())
    client = TestClient(make_app(archive), base_url=HERE)
    for name in ("admin", "nobody"):
        client.post(LOGIN, json={"name": name, "password": "wrong"})
    passwords._nobodys.cache_clear()
    assert len(hashed) == 2
    assert hashed[0] == hashed[1]  # the parameters


@pytest.mark.parametrize(
    "body",
    [
        {"name": "admin"},
        {"name": "", "password": "x"},
        {"name": "a\x00b", "password": PASSWORD},
        {"name": "a" * 101, "password": PASSWORD},
        {"name": "admin", "password": "x" * 1001},
        {"name": ["admin"], "password": {"$ne": ""}},
        [],
    ],
)
def test_a_malformed_login_is_refused_without_showing_it(archive: Archive, users: dict[str, int], body: object):
    answer = TestClient(make_app(archive), base_url=HERE).post(LOGIN, json=body)
    assert answer.status_code == 422
    assert PASSWORD not in answer.text


def test_a_password_of_odd_characters_works(client: TestClient, cheap_passwords: None):
    password = "pässword\x00\u202e💧"
    client.post("/api/v1/users", json={"name": "anna", "password": password, "role": "admin"})
    decomposed = password.replace("ä", "a\u0308")
    assert client.post(LOGIN, json={"name": "anna", "password": decomposed}).status_code == 204


def test_logging_out_ends_the_login(archive: Archive, log_in: LogIn):
    client = log_in("editor")
    secret = client.cookies["quill"]
    assert client.post("/api/v1/logout").status_code == 204
    assert client.get("/api/v1/me").status_code == 401
    assert client.get("/api/v1/me", headers={"Cookie": f"quill={secret}"}).status_code == 401


def test_a_login_that_has_ended_is_none(archive: Archive, log_in: LogIn):
    client = log_in("reader")
    with archive.database.write() as session:
        session.execute(update(LoginSession).values(expires=now() - timedelta(seconds=1)))
    assert client.get("/api/v1/me").status_code == 401


def test_a_login_in_use_is_renewed_but_not_for_ever(archive: Archive, log_in: LogIn):
    client = log_in("reader")
    soon = now() + timedelta(days=1)
    with archive.database.write() as session:
        session.execute(update(LoginSession).values(expires=soon))
    assert client.get("/api/v1/me").status_code == 200
    with archive.database.read() as session:
        renewed = session.scalars(select(LoginSession.expires)).one()
    assert renewed > soon + timedelta(days=1)
    with archive.database.write() as session:
        session.execute(update(LoginSession).values(created=now() - logins.LONGEST, expires=soon))
    assert client.get("/api/v1/me").status_code == 200
    with archive.database.read() as session:
        assert session.scalars(select(LoginSession.expires)).one() <= soon


@pytest.mark.parametrize("change", [{"disabled": True}, {"password": "another one"}])
def test_a_login_ends_when_the_password_changes_or_the_user_is_disabled(
    log_in: LogIn, users: dict[str, int], change: dict[str, Any]
):
    client, admin = log_in("editor"), log_in("admin")
    assert admin.patch(f"/api/v1/users/{users['editor']}", json=change).status_code == 200
    assert client.get("/api/v1/me").status_code == 401
    assert client.post(LOGIN, json={"name": "editor", "password": PASSWORD}).status_code == 401


def test_one_changes_ones_own_password_knowing_the_old_one(log_in: LogIn):
    client, elsewhere = log_in("editor"), log_in("editor")
    place = "/api/v1/me/password"
    assert client.post(place, json={"current": "wrong", "new": "another one"}).status_code == 401
    assert client.post(place, json={"current": PASSWORD, "new": "short"}).status_code == 400
    assert client.post(place, json={"current": PASSWORD, "new": "another one"}).status_code == 204
    assert client.get("/api/v1/me").status_code == 200
    assert elsewhere.get("/api/v1/me").status_code == 401


# --- many wrong passwords


def test_ten_thousand_wrong_passwords_take_few_hashes_and_rows(
    archive: Archive, users: dict[str, int], monkeypatch: pytest.MonkeyPatch
):
    archive.config = replace(archive.config, limits=ServeLimits(login_attempts=5))
    count = 0
    real = passwords._verify

    def verify(password: str, hashed: str | None) -> bool:
        nonlocal count
        count += 1
        return real(password, hashed)

    monkeypatch.setattr(passwords, "_verify", verify)
    with TestClient(make_app(archive), base_url=HERE) as client, ThreadPoolExecutor(8) as pool:
        tracemalloc.start()
        asked = pool.map(lambda i: client.post(LOGIN, json={"name": "admin", "password": f"wrong {i}"}), range(100))
        answers = list(asked)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    statuses = [answer.status_code for answer in answers]
    assert count == statuses.count(401) == 5
    assert statuses.count(429) == 95
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert 0 < int(refused.headers["Retry-After"]) <= 900
    assert peak < 100_000_000
    with archive.database.read() as session:
        assert session.scalar(select(func.count(LoginFailure.id))) == 10  # by name, and by address
        assert session.scalar(select(func.count(AuditEntry.id)).where(AuditEntry.action == "login.failed")) == 5


def test_the_right_password_waits_as_well_and_goes_through_afterwards(archive: Archive, users: dict[str, int]):
    archive.config = replace(archive.config, limits=ServeLimits(login_attempts=2))
    client = TestClient(make_app(archive), base_url=HERE)
    right = {"name": "admin", "password": PASSWORD}
    for _ in range(2):
        client.post(LOGIN, json=right | {"password": "wrong"})
    assert client.post(LOGIN, json=right).status_code == 429
    with archive.database.write() as session:
        session.execute(update(LoginFailure).values(time=now() - timedelta(minutes=16)))
    assert client.post(LOGIN, json=right).status_code == 204
    with archive.database.read() as session:
        assert session.scalar(select(func.count(LoginFailure.id))) == 0


def test_attempts_on_many_names_are_limited_by_address(archive: Archive, users: dict[str, int]):
    archive.config = replace(archive.config, limits=ServeLimits(login_attempts=3))
    client = TestClient(make_app(archive), base_url=HERE)
    statuses = [client.post(LOGIN, json={"name": f"name{i}", "password": "x"}).status_code for i in range(5)]
    assert statuses == [401, 401, 401, 429, 429]


def test_attempts_on_a_name_are_limited_whatever_the_address(archive: Archive, users: dict[str, int]):
    archive.config = replace(archive.config, limits=ServeLimits(login_attempts=3), behind_proxy=True)
    client = TestClient(make_app(archive), base_url=HERE)
    statuses = [
        client.post(
            LOGIN, json={"name": "admin", "password": "x"}, headers={"X-Forwarded-For": f"198.51.100.{i}"}
        ).status_code
        for i in range(5)
    ]
    assert statuses == [401, 401, 401, 429, 429]


def test_addresses_of_one_ipv6_network_count_as_one(archive: Archive, users: dict[str, int]):
    archive.config = replace(archive.config, limits=ServeLimits(login_attempts=2), behind_proxy=True)
    client = TestClient(make_app(archive), base_url=HERE)
    statuses = [
        client.post(
            LOGIN, json={"name": f"n{i}", "password": "x"}, headers={"X-Forwarded-For": f"2001:db8::{i}"}
        ).status_code
        for i in range(4)
    ]
    assert statuses == [401, 401, 429, 429]


def test_a_clock_that_was_ahead_locks_nobody_out(archive: Archive, users: dict[str, int]):
    with archive.database.write() as session:
        session.add_all(LoginFailure(key="name:admin", time=now() + timedelta(days=9)) for _ in range(50))
    client = TestClient(make_app(archive), base_url=HERE)
    assert client.post(LOGIN, json={"name": "admin", "password": PASSWORD}).status_code == 204


def test_passwords_are_checked_two_at_a_time_and_few_wait(monkeypatch: pytest.MonkeyPatch):
    assert passwords._POOL._max_workers == 2
    assert passwords._HASHER.memory_cost <= 64 * 1024
    monkeypatch.setattr(passwords, "_waiting", passwords._MOST_WAITING)
    checked = passwords.is_password("x", None)
    with pytest.raises(passwords.BusyError):
        checked.send(None)


# --- tokens


def test_a_token_is_shown_once_and_kept_as_a_hash(archive: Archive, log_in: LogIn):
    client = log_in("editor")
    secret = make_token(client)
    assert secret.startswith("quill_")
    with archive.database.read() as session:
        (kept,) = session.scalars(select(Token)).all()
    assert kept.hash == tokens.digest(secret)
    assert secret not in client.get("/api/v1/tokens").text


def test_a_token_stands_for_its_user_with_a_lesser_role(archive: Archive, log_in: LogIn):
    secret = make_token(log_in("admin"), role="reader")
    with TestClient(make_app(archive), base_url=HERE) as client:
        assert client.get("/api/v1/me", headers=bearer(secret)).json()["role"] == "reader"
        assert client.post("/api/v1/collections", json={"name": "a"}, headers=bearer(secret)).status_code == 403
        assert client.get("/api/v1/users", headers=bearer(secret)).status_code == 403


def test_a_token_of_another_collection_sees_nothing_here(archive: Archive, log_in: LogIn):
    admin = log_in("admin")
    mine, other = make_collection(admin), make_collection(admin, "b")
    headers = bearer(make_token(admin, collection_id=mine))
    with TestClient(make_app(archive), base_url=HERE) as client:
        assert client.get(f"/api/v1/collections/{mine}", headers=headers).status_code == 200
        assert client.get(f"/api/v1/collections/{other}", headers=headers).status_code == 404
        assert client.delete(f"/api/v1/collections/{other}", headers=headers).status_code == 404
        assert [item["id"] for item in client.get("/api/v1/collections", headers=headers).json()["items"]] == [mine]
        assert client.post("/api/v1/collections", json={"name": "c"}, headers=headers).status_code == 403


def test_a_token_of_one_collection_is_told_that_it_is(log_in: LogIn):
    admin = log_in("admin")
    mine = admin.post("/api/v1/collections", json={"name": "mine"}).json()["id"]
    secret = make_token(admin, collection_id=mine)
    refused = admin.post("/api/v1/collections", json={"name": "b"}, headers=bearer(secret))
    assert refused.status_code == 403
    assert f"the token is for collection {mine}" in refused.json()["detail"]


@pytest.mark.parametrize("lost", ["membership", "scope"])
def test_a_token_shows_no_collection_that_its_user_may_not_see(
    archive: Archive, log_in: LogIn, users: dict[str, int], lost: str
):
    admin, editor = log_in("admin"), log_in("editor")
    mine = make_collection(admin, "Private")
    if lost == "membership":
        headers = bearer(make_token(editor, collection_id=mine))
        path = f"/api/v1/collections/{mine}/members/{users['editor']}"
        assert admin.put(path, json={"role": "none"}).status_code == 204
    else:
        headers = bearer(make_token(admin, role="none"))
    client = TestClient(make_app(archive), base_url=HERE)
    for path in ("collections", "jobs", "usage", "search?q=private"):
        assert client.get(f"/api/v1/{path}", headers=headers).json()["items"] == [], path


def test_a_token_of_one_collection_ends_no_other_token(archive: Archive, log_in: LogIn):
    admin, editor = log_in("admin"), log_in("editor")
    bound = bearer(make_token(admin, collection_id=make_collection(admin)))
    make_token(admin)
    make_token(editor)
    own, second, others = (item["id"] for item in admin.get("/api/v1/tokens").json()["items"])
    client = TestClient(make_app(archive), base_url=HERE)
    for id in (second, others):
        assert client.delete(f"/api/v1/tokens/{id}", headers=bound).status_code == 404
    assert client.delete(f"/api/v1/tokens/{own}", headers=bound).status_code == 204


def test_a_token_that_has_ended_is_refused(archive: Archive, log_in: LogIn):
    secret = make_token(log_in("admin"))
    with archive.database.write() as session:
        session.execute(update(Token).values(expires=now() - timedelta(seconds=1)))
    client = TestClient(make_app(archive), base_url=HERE)
    assert client.get("/api/v1/me", headers=bearer(secret)).status_code == 401


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Bearer quill_x", "Bearer quill_\xff", "bearer x y"])
def test_a_made_up_token_is_refused_even_where_nobody_logs_in(client: TestClient, value: str):
    answer = client.get("/api/v1/me", headers={"Authorization": value.encode("latin-1")})
    assert answer.status_code == 401


def test_tokens_end_with_their_user_and_by_hand(log_in: LogIn, users: dict[str, int], archive: Archive):
    editor, admin = log_in("editor"), log_in("admin")
    first, second = make_token(editor), make_token(editor)
    script = TestClient(make_app(archive), base_url=HERE)
    (item, _) = editor.get("/api/v1/tokens").json()["items"]
    assert log_in("reader").delete(f"/api/v1/tokens/{item['id']}").status_code == 404
    assert editor.delete(f"/api/v1/tokens/{item['id']}").status_code == 204
    assert script.get("/api/v1/me", headers=bearer(first)).status_code == 401
    assert script.get("/api/v1/me", headers=bearer(second)).status_code == 200
    admin.patch(f"/api/v1/users/{users['editor']}", json={"disabled": True})
    assert script.get("/api/v1/me", headers=bearer(second)).status_code == 401


def test_a_token_cannot_make_tokens_or_change_a_password(archive: Archive, log_in: LogIn):
    headers = bearer(make_token(log_in("admin")))
    client = TestClient(make_app(archive), base_url=HERE)
    assert client.post("/api/v1/tokens", json={"name": "x"}, headers=headers).status_code == 403
    body = {"current": PASSWORD, "new": "another one"}
    assert client.post("/api/v1/me/password", json=body, headers=headers).status_code == 403


def test_the_use_of_a_token_is_noted_at_most_once_a_minute(archive: Archive, log_in: LogIn):
    headers = bearer(make_token(log_in("admin")))
    client = TestClient(make_app(archive), base_url=HERE)

    def used() -> object:
        client.get("/api/v1/me", headers=headers)
        with archive.database.read() as session:
            return session.scalars(select(Token.last_used)).one()

    first = used()
    assert first is not None
    assert used() == first
    with archive.database.write() as session:
        session.execute(update(Token).values(last_used=now() - timedelta(minutes=2)))
    assert used() > first


# --- roles


def test_every_route_is_refused_without_a_login(archive: Archive, users: dict[str, int]):
    app = make_app(archive)
    client = TestClient(app, base_url=HERE)
    seen = 0
    for method, path in walk(app.routes):
        if path in OPEN or not path.startswith(GUARDED):
            continue
        seen += 1
        answer = client.request(method, path.replace("{", "").replace("}", "") if "{" not in path else fill(path))
        assert answer.status_code == 401, f"{method} {path}: {answer.status_code}"
    assert seen > 15
    assert client.get("/api/v1/openapi.json").status_code == 401


def test_every_other_route_shows_nothing_of_the_archive(archive: Archive):
    outside = {path for _, path in walk(make_app(archive).routes) if not path.startswith(GUARDED)}
    assert outside <= PUBLIC


def fill(path: str) -> str:
    """A path with a value for each parameter."""
    return "/".join("1" if "{" in part else part for part in path.split("/"))


ROLES = ("none", "reader", "editor", "admin")
NEEDED = {
    ("GET", "/api/v1/users"): "admin",
    ("POST", "/api/v1/users"): "admin",
    ("PATCH", "/api/v1/users/{user_id}"): "admin",
    ("DELETE", "/api/v1/users/{user_id}"): "admin",
    ("GET", "/api/v1/audit"): "admin",
    ("POST", "/api/v1/collections"): "editor",
    ("GET", "/api/v1/collections/{collection_id}"): "reader",
    ("PATCH", "/api/v1/collections/{collection_id}"): "editor",
    ("DELETE", "/api/v1/collections/{collection_id}"): "admin",
    ("POST", "/api/v1/collections/{collection_id}/restore"): "admin",
    ("GET", "/api/v1/collections/{collection_id}/links"): "admin",
    ("POST", "/api/v1/collections/{collection_id}/links"): "admin",
    ("GET", "/api/v1/collections/{collection_id}/members"): "admin",
    ("PUT", "/api/v1/collections/{collection_id}/members/{user_id}"): "admin",
    ("DELETE", "/api/v1/collections/{collection_id}/members/{user_id}"): "admin",
}


def test_each_role_may_do_what_it_may_and_no_more(log_in: LogIn, users: dict[str, int]):
    place = f"/api/v1/collections/{make_collection(log_in('admin'))}"
    bodies: dict[str, Any] = {"role": "reader", "name": "x", "password": "long enough"}
    for role in ROLES:
        client = log_in(role)
        for (method, path), needed in NEEDED.items():
            where = path.replace("/api/v1/collections/{collection_id}", place).replace("{user_id}", "999")
            status = client.request(method, where, json=None if method in ("GET", "DELETE") else bodies).status_code
            if ROLES.index(role) < ROLES.index(needed):
                assert status in (403, 404), f"{role}: {method} {path} {status}"
            elif "{user_id}" not in path:
                assert status < 300, f"{role}: {method} {path} {status}"
            client.post(f"{place}/restore")


BODY: dict[str, Any] = {
    **{"name": "x", "password": "long enough", "role": "reader", "text": "x", "kind": "text", "number": 1, "x": 5},
    **{"baseline": [[1, 5], [9, 5]], "polygon": [[1, 1], [9, 1], [9, 9]], "line_ids": [1], "format": "txt"},
    **{"current": "wrong", "new": "long enough", "address": "https://a.example/x.jpg", "collection_id": 1},
}
"""Fits every route that takes JSON, so that it is refused for who asks and not for what is asked."""
HEADERS = {
    "If-Match": '"1"',
    "Tus-Resumable": "1.0.0",
    "Upload-Length": "5",
    "Upload-Metadata": "collection_id MQ==,filename YS5qcGc=",
}
OF_PAGES = {"/api/v1/pages", "/api/v1/pages/read", "/api/v1/collections/{collection_id}/pages"}
"""Routes that take several pages."""
BARE = {"/api/v1/uploads"}
"""Routes that take no body."""
OWN = {
    ("POST", "/api/v1/logout"),
    ("POST", "/api/v1/me/password"),
    ("POST", "/api/v1/tokens"),
    ("DELETE", "/api/v1/tokens/{token_id}"),
}
"""Routes that change only what belongs to whoever asks."""
READING = {("POST", "/api/v1/read"), ("POST", "/api/v1/exports"), ("POST", "/api/v1/pages/{page_id}/look")}
"""Routes that change nothing, though they are not GET."""
FOR_ALL = {"/api/v1/me", "/api/v1/openapi.json", "/api/v1/collections", "/api/v1/tokens", "/api/v1/jobs", "/metrics"}
FOR_ALL |= {"/api/v1/models", "/api/v1/usage", "/api/v1/search", "/api/v1/events"}
"""Routes that show each only what they may see."""


def ask_all(client: TestClient, wanted: Callable[[str, str], bool]) -> dict[tuple[str, str], int]:
    """Ask all guarded routes that are wanted, about the first of everything; tell their answers."""
    answers = {}
    for method, path in walk(cast(FastAPI, client.app).routes):
        if path.startswith(GUARDED) and path not in OPEN and wanted(method, path):
            if method == "OPTIONS" or path == "/api/v1/events":
                continue  # which tells of the protocol of uploads; which does not end
            sent = BODY | {"page_ids": [1]} if path in OF_PAGES else BODY
            body: dict[str, Any] = {} if method in ("GET", "HEAD", "DELETE") or path in BARE else {"json": sent}
            if (method, path) == ("POST", "/api/v1/models"):
                body = {"files": {"file": ("a.zip", b"x")}, "data": {"name": "x"}}
            answer = client.request(method, fill(path), headers=HEADERS, **body)
            answers[method, path] = answer.status_code
    return answers


@pytest.fixture
def one_of_each(archive: Archive, log_in: LogIn, make_page: Callable[..., int]) -> None:
    """A collection with a document, a page, a region, a line and a job, each the first of its kind."""
    admin = log_in("admin")
    collection = make_collection(admin)
    document = admin.post(f"/api/v1/collections/{collection}/documents", json={"name": "d"}).json()["id"]
    page = make_page(document)
    with archive.database.write() as session:
        place = [[1, 5], [9, 5]]
        session.add(Region(page_id=page, polygon=[[1, 1], [9, 1], [9, 9]]))
        session.add(Line(page_id=page, baseline=place, polygon=[[1, 1], [9, 1], [9, 9]]))
        session.add(Job(kind="read", collection_id=collection))
        session.flush()
        assert (collection, document, page) == (1, 1, 1)


def test_a_reader_changes_nothing_by_any_route(archive: Archive, log_in: LogIn, one_of_each: None):
    allowed = OWN | READING
    client = log_in("reader")
    answers = ask_all(
        client, lambda method, path: method not in ("GET", "HEAD", "OPTIONS") and (method, path) not in allowed
    )
    assert len(answers) > 20
    assert {route: status for route, status in answers.items() if status not in (403, 404)} == {}
    assert sum(status == 403 for status in answers.values()) > 15  # they are there, and refused


OPENED = {
    ("GET", f"/api/v1/{path}")
    for path in (
        *("me", "search", "jobs", "collections", "collections/{collection_id}", "lines/{line_id}"),
        *("collections/{collection_id}/documents", "collections/{collection_id}/pages"),
        *("collections/{collection_id}/export", "documents/{document_id}", "documents/{document_id}/pages"),
        *("documents/{document_id}/export", "pages/{page_id}", "pages/{page_id}/lines", "pages/{page_id}/text"),
        *("pages/{page_id}/export", "pages/{page_id}/image", "pages/{page_id}/thumbnail", "pages/{page_id}/original"),
        *("lines/{line_id}/image", "iiif/{page_id}", "iiif/{page_id}/info.json"),
    )
}
"""Routes that whoever has opened a link may ask about the collection that it opens."""
ODD = {
    ("GET", "/api/v1/jobs/{job_id}"),  # of exports
    ("GET", "/api/v1/jobs/{job_id}/result"),
    ("GET", "/api/v1/iiif/{page_id}/{region}/{size}/{rotation}/{quality}.{format}"),  # what it asks is malformed
    ("POST", "/api/v1/exports"),
    ("POST", "/api/v1/pages/{page_id}/look"),
    ("POST", "/api/v1/logout"),
}
"""Those whose answers are looked at elsewhere."""


def open_link(archive: Archive, admin: TestClient, collection: int) -> TestClient:
    """A browser that has opened a link to a collection."""
    made = admin.post(f"/api/v1/collections/{collection}/links", json={"name": "Readers", "days": 7})
    assert made.status_code == 201, made.text
    guest = TestClient(make_app(archive), base_url=HERE)
    assert guest.post("/api/v1/link", json={"token": made.json()["token"]}).json() == {"collection_id": collection}
    return guest


def test_a_link_opens_its_collection_for_reading_and_nothing_else(archive: Archive, log_in: LogIn, one_of_each: None):
    guest = open_link(archive, log_in("admin"), 1)
    answers = ask_all(guest, lambda *route: route not in ODD)
    assert {route for route, status in answers.items() if status in (200, 303)} == OPENED - {("GET", "/api/v1/search")}
    assert answers["GET", "/api/v1/search"] == 422  # it lacks what to search for
    others = {route: status for route, status in answers.items() if route not in OPENED}
    assert len(others) > 40
    assert set(others.values()) == {403}


def test_a_link_shows_nothing_of_another_collection(archive: Archive, log_in: LogIn, one_of_each: None):
    admin = log_in("admin")
    guest = open_link(archive, admin, make_collection(admin, "another"))
    lists = {("GET", f"/api/v1/{path}") for path in ("me", "search", "jobs", "collections")} | {
        ("POST", "/api/v1/logout")
    }
    answers = ask_all(guest, lambda *route: route in OPENED | ODD and route not in lists)
    assert set(answers.values()) <= {404, 422, 400}
    assert sum(status == 404 for status in answers.values()) > 15
    assert [item["name"] for item in guest.get("/api/v1/collections").json()["items"]] == ["another"]
    assert guest.get("/api/v1/jobs").json()["items"] == []


def test_whoever_has_no_role_sees_nothing_by_any_route(archive: Archive, log_in: LogIn, one_of_each: None):
    client = log_in("none")
    answers = ask_all(
        client, lambda method, path: (method, path) not in OWN and not (method == "GET" and path in FOR_ALL)
    )
    assert {route: status for route, status in answers.items() if status < 400 or status >= 500} == {}
    for path in FOR_ALL - {"/api/v1/events", "/api/v1/openapi.json", "/metrics"}:
        answer = client.get(path, params={"q": "x"})
        assert answer.status_code < 500
        assert "Letters" not in answer.text
        if answer.status_code == 200 and "items" in answer.json() and path != "/api/v1/models":
            assert answer.json()["items"] == []


def test_a_role_in_one_collection_holds_there_alone(log_in: LogIn, users: dict[str, int]):
    admin = log_in("admin")
    opened, closed = make_collection(admin), make_collection(admin, "b")
    members = f"/api/v1/collections/{opened}/members"
    assert admin.put(f"{members}/{users['none']}", json={"role": "editor"}).status_code == 204
    assert (
        admin.put(f"/api/v1/collections/{closed}/members/{users['editor']}", json={"role": "none"}).status_code == 204
    )
    guest, editor = log_in("none"), log_in("editor")
    assert [item["id"] for item in guest.get("/api/v1/collections").json()["items"]] == [opened]
    assert guest.patch(f"/api/v1/collections/{opened}", json={"name": "c"}).status_code == 200
    assert guest.get(f"/api/v1/collections/{closed}").status_code == 404
    assert editor.get(f"/api/v1/collections/{closed}").status_code == 404
    shown = {item["name"]: (item["role"], item["own"]) for item in admin.get(members).json()["items"]}
    assert shown["none"] == ("editor", True)
    assert shown["reader"] == ("reader", False)
    assert admin.delete(f"{members}/{users['none']}").status_code == 204
    assert guest.get(f"/api/v1/collections/{opened}").status_code == 404


def test_an_admin_of_a_collection_chooses_its_members_and_sees_its_audit(log_in: LogIn, users: dict[str, int]):
    admin = log_in("admin")
    mine, other = make_collection(admin), make_collection(admin, "b")
    admin.put(f"/api/v1/collections/{mine}/members/{users['editor']}", json={"role": "admin"})
    editor = log_in("editor")
    place = f"/api/v1/collections/{mine}/members/{users['reader']}"
    assert editor.put(place, json={"role": "none"}).status_code == 204
    elsewhere = f"/api/v1/collections/{other}/members/{users['reader']}"
    assert editor.put(elsewhere, json={"role": "none"}).status_code == 403
    actions = [item["action"] for item in editor.get(f"/api/v1/audit?collection_id={mine}").json()["items"]]
    assert actions == ["member.change", "member.change", "collection.create"]
    assert editor.get("/api/v1/audit").status_code == 403


# --- accounts


def test_the_last_admin_stays(log_in: LogIn, users: dict[str, int]):
    admin = log_in("admin")
    place = f"/api/v1/users/{users['admin']}"
    assert admin.patch(place, json={"role": "editor"}).status_code == 409
    assert admin.patch(place, json={"disabled": True}).status_code == 409
    assert admin.delete(place).status_code == 409
    admin.patch(f"/api/v1/users/{users['editor']}", json={"role": "admin"})
    assert admin.delete(place).status_code == 204
    assert admin.get("/api/v1/me").status_code == 401


def test_without_any_account_loopback_is_open_again_but_not_elsewhere(archive: Archive, log_in: LogIn):
    admin = log_in("admin")
    for user in admin.get("/api/v1/users").json()["items"]:
        if user["name"] != "admin":
            admin.delete(f"/api/v1/users/{user['id']}")
    place = f"/api/v1/users/{admin.get('/api/v1/me').json()['user_id']}"
    archive.config = replace(archive.config, behind_proxy=True)
    assert admin.delete(place).status_code == 403
    archive.config = replace(archive.config, behind_proxy=False)
    assert admin.delete(place).status_code == 204
    assert admin.get("/api/v1/me").json()["local"] is True


@pytest.mark.parametrize(
    "body",
    [
        {"name": "admin", "password": PASSWORD},
        {"name": " ", "password": PASSWORD},
        {"name": "a\u202eb", "password": PASSWORD},
        {"name": "anna", "password": "short"},
        {"name": "annaanna", "password": "AnnaAnna"},
        {"name": "anna", "password": PASSWORD, "role": "owner"},
    ],
)
def test_an_account_that_cannot_be_is_refused(log_in: LogIn, body: dict[str, str]):
    admin = log_in("admin")
    assert 400 <= admin.post("/api/v1/users", json=body).status_code < 500
    assert len(admin.get("/api/v1/users").json()["items"]) == 4


@pytest.mark.parametrize("id", [0, -1, 2**63, 10**30, "x"])
def test_ids_out_of_range_are_refused(client: TestClient, id: object):
    for path in ("users", "tokens", "collections/1/members"):
        assert client.delete(f"/api/v1/{path}/{id}").status_code == 422
    assert client.get("/api/v1/audit", params={"collection_id": str(id)}).status_code == 422


@pytest.mark.parametrize("id", [2**63, 10**30])
def test_ids_beyond_the_database_are_never_an_internal_error(client: TestClient, id: int):
    assert client.get(f"/api/v1/collections/{id}").status_code in (404, 422)


def test_the_audit_log_says_who_did_what_and_no_password(archive: Archive, log_in: LogIn, users: dict[str, int]):
    admin = log_in("admin")
    admin.patch(f"/api/v1/users/{users['reader']}", json={"password": "new secret one"})
    admin.post(LOGIN, json={"name": "a password in the wrong field", "password": "x"})
    page = admin.get("/api/v1/audit", params={"limit": 2}).json()
    assert [item["action"] for item in page["items"]] == ["login.failed", "user.change"]
    assert page["items"][0]["user_name"] == "(unknown)"
    assert (page["items"][1]["user_name"], page["items"][1]["details"]) == (
        "admin",
        {"user": "reader", "password": True},
    )
    rest = admin.get("/api/v1/audit", params={"after": page["next"]})
    assert [item["action"] for item in rest.json()["items"]] == ["login"]
    assert "secret" not in rest.text
    assert "wrong field" not in admin.get("/api/v1/audit").text


@pytest.mark.parametrize(
    "error", [OperationalError("SELECT", {}, Exception("gone")), PoolTimeoutError("all connections are taken")]
)
@pytest.mark.parametrize("place", ["access.guard.is_alone", "api.access.accounts.list_users"])
def test_a_database_that_is_away_is_a_503(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, error: Exception, place: str
):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(f"quillread.serve.{place}", fail)
    answer = TestClient(make_app(archive), base_url=HERE).get("/api/v1/users")
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_of_two_who_make_the_same_at_once_one_is_told(
    archive: Archive, log_in: LogIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    admin = log_in("admin")
    body = {"name": "Ida", "password": "long enough", "role": "reader"}
    assert admin.post("/api/v1/users", json=body).status_code == 201
    real = accounts.add_user

    def add(session: Session, name: str, role: Any, hashed: str) -> Any:
        with monkeypatch.context() as blind:  # as one that has looked before the other committed
            blind.setattr(session, "scalar", lambda *_: None)
            blind.setattr(accounts, "has_accounts", lambda _: True)
            return real(session, name, role, hashed)

    monkeypatch.setattr(accounts, "add_user", add)
    assert admin.post("/api/v1/users", json=body).status_code == 409
    assert "another request was first" in caplog.text
    assert "Ida" not in caplog.text.split("DETAIL", 1)[0]
