"""What the guard refuses before the application sees it, and what it adds to answers."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from quillread.serve.app import make_app
from quillread.serve.archive.home import Archive
from quillread.serve.config import ServeConfig
from quillread.serve.server import _Json, _Lines

MakeClient = Callable[..., TestClient]
HERE = "http://127.0.0.1:8765"


@pytest.fixture
def make_client(tmp_path: Path) -> Iterator[MakeClient]:
    """Make clients of an archive on SQLite, with settings of their own; what is tested needs no database."""
    opened: list[Archive] = []

    def make(base_url: str = HERE, **settings: object) -> TestClient:
        config = replace(ServeConfig(data=tmp_path / f"data{len(opened)}"), **settings)
        opened.append(Archive(config))
        return TestClient(make_app(opened[-1]), base_url=base_url)

    yield make
    for archive in opened:
        archive.close()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "localhost.evil.example", "192.0.2.7"]
)
def test_a_name_that_was_bound_to_this_machine_for_a_moment_is_refused(make_client: MakeClient, host: str):
    answer = make_client().get("/api/v1/collections", headers={"Host": host})
    assert answer.status_code == 421
    assert "--allowed-host" in answer.json()["hint"]


@pytest.mark.parametrize("host", ["", "a b", "x/y", "127.0.0.1:99999999", "[::1", "user@127.0.0.1"])
def test_a_malformed_host_is_refused(make_client: MakeClient, host: str):
    assert make_client().get("/api/v1/me", headers={"Host": host}).status_code == 400


def test_two_hosts_are_refused(make_client: MakeClient):
    headers = [("Host", "127.0.0.1:8765"), ("Host", "evil.example")]
    assert make_client().get("/api/v1/me", headers=headers).status_code == 400


@pytest.mark.parametrize("host", ["localhost:8765", "127.0.0.1:9000", "[::1]:8765", "LOCALHOST", "localhost."])
def test_names_of_this_machine_are_let_through(make_client: MakeClient, host: str):
    assert make_client().get("/api/v1/me", headers={"Host": host}).status_code == 200


def test_the_address_that_the_connection_came_in_by_is_let_through(make_client: MakeClient):
    client = make_client("http://192.0.2.7:8765", host="0.0.0.0")
    assert client.get("/api/v1/me").status_code == 401  # as others may call, and nobody has logged in
    assert client.get("/api/v1/me", headers={"Host": "192.0.2.8"}).status_code == 421


def test_allowed_hosts_are_let_through(make_client: MakeClient):
    client = make_client(allowed_hosts=("Archive.example.org",))
    assert client.get("/api/v1/me", headers={"Host": "archive.example.org"}).status_code == 401
    assert client.get("/api/v1/me", headers={"Host": "www.archive.example.org"}).status_code == 421


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:3000",
        "https://127.0.0.1:8765",
        "http://localhost:8765",
        "x",
        "",
    ],
)
def test_a_page_of_another_site_is_refused(make_client: MakeClient, method: str, origin: str):
    answer = make_client().request(method, "/api/v1/collections", headers={"Origin": origin})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:8765", HERE),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("[::1]:8765", "http://[::1]:8765"),
    ],
)
def test_our_own_page_is_let_through(make_client: MakeClient, host: str, origin: str):
    headers = {"Host": host, "Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert make_client().post("/api/v1/collections", json={"name": "a"}, headers=headers).status_code == 201


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_forged_form_without_an_origin_is_refused(make_client: MakeClient, site: str):
    client = make_client()
    form = client.post("/api/v1/collections", data={"name": "a"}, headers={"Sec-Fetch-Site": site})
    assert form.status_code == 403
    assert client.get("/api/v1/collections", headers={"Sec-Fetch-Site": site}).json()["items"] == []


def test_a_script_needs_no_origin(make_client: MakeClient):
    assert make_client().post("/api/v1/collections", json={"name": "a"}).status_code == 201


def test_a_web_socket_is_refused(make_client: MakeClient):
    with pytest.raises(WebSocketDisconnect), make_client().websocket_connect("/api/v1/me"):
        pass


def test_a_body_beyond_the_limit_is_refused_whether_it_says_so_or_not(make_client: MakeClient):
    client = make_client()
    big = b'{"name": "' + b"a" * 1_000_001 + b'"}'

    def parts() -> Iterator[bytes]:
        yield from (big[start : start + 65536] for start in range(0, len(big), 65536))

    headers = {"Content-Type": "application/json"}
    for body in (big, parts()):
        answer = client.post("/api/v1/collections", content=body, headers=headers)
        assert answer.status_code == 413
        assert answer.headers["content-type"] == "application/problem+json"
    assert client.get("/api/v1/collections").json()["items"] == []


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/collections", "/api/v1/openapi.json", "/"])
def test_head_is_answered_as_get_without_a_body(make_client: MakeClient, path: str):
    client = make_client()
    asked, got = client.head(path, headers={"Accept-Encoding": ""}), client.get(path, headers={"Accept-Encoding": ""})
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-length"] == str(len(got.content))
    assert client.head("/api/v1/events").status_code == 405
    assert client.head("/nowhere").status_code == 404


def test_a_length_that_is_no_number_does_not_pass_the_limit(make_client: MakeClient):
    answer = make_client().post("/api/v1/collections", content=b"{}", headers={"Content-Length": "9" * 30})
    assert answer.status_code == 413


def test_every_answer_has_the_headers_that_bind_browsers(make_client: MakeClient):
    client = make_client()
    answers = [client.get("/api/v1/me"), client.get("/nowhere"), client.get("/api/v1/me", headers={"Host": "x.y"})]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Strict-Transport-Security" not in answer.headers


def test_under_tls_browsers_are_told_to_stay_there(make_client: MakeClient):
    answer = make_client("https://127.0.0.1:8765").get("/api/v1/me")
    assert answer.headers["Strict-Transport-Security"]


def test_an_internal_error_is_logged_and_answered_as_a_problem(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    client = make_client()

    def fail(*_: object) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr("quillread.serve.api.collections._shown", fail)
    answer = client.get("/api/v1/collections")
    assert answer.status_code == 500
    assert answer.headers["Content-Security-Policy"]
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"]
    assert "secret of the inside" in caplog.text


def test_a_request_id_is_taken_over_if_it_is_safe(make_client: MakeClient):
    client = make_client()
    assert client.get("/api/v1/me", headers={"X-Request-Id": "job-7.a"}).headers["X-Request-Id"] == "job-7.a"
    for unsafe in ("a b", "<x>", "a" * 65, ""):
        given = client.get("/api/v1/me", headers={"X-Request-Id": unsafe}).headers["X-Request-Id"]
        assert given != unsafe
        assert given.isalnum()


def test_headers_of_proxies_are_ignored_unless_asked_for(make_client: MakeClient, caplog: pytest.LogCaptureFixture):
    forged = {"X-Forwarded-For": "192.0.2.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil.example"}
    plain = make_client().get("/api/v1/me", headers=forged)
    assert plain.status_code == 200
    assert "Strict-Transport-Security" not in plain.headers
    behind = make_client(behind_proxy=True).get("/api/v1/me", headers=forged)
    assert behind.status_code == 401
    assert behind.headers["Strict-Transport-Security"]


def test_a_tls_origin_behind_a_proxy_that_is_not_believed_gets_a_hint(make_client: MakeClient):
    headers = {"Host": "a.example", "Origin": "https://a.example"}
    refused = make_client(allowed_hosts=("a.example",)).get("/api/v1/me", headers=headers)
    assert "--behind-proxy" in refused.json()["hint"]
    believed = make_client(allowed_hosts=("a.example",), behind_proxy=True)
    assert believed.get("/api/v1/me", headers=headers | {"X-Forwarded-Proto": "https"}).status_code == 401


@pytest.mark.parametrize("prefix", ["", "/quill"])
def test_a_root_path_works_whether_the_proxy_takes_it_away_or_leaves_it(make_client: MakeClient, prefix: str):
    client = make_client(root_path="/quill")
    assert client.get(f"{prefix}/api/v1/me").status_code == 200
    assert client.post(f"{prefix}/api/v1/collections", content=b"x" * 2_000_000).status_code == 413


def test_a_root_path_without_its_slash_leads_to_the_page(make_client: MakeClient):
    answer = make_client(root_path="/quill").get("/quill", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (308, "/quill/")


@pytest.mark.parametrize("path", ["/quill/api/v1/me", "/api/v1/me", "/quill/quill/api/v1/me", "//api/v1/me"])
def test_a_root_path_opens_no_way_around_the_login(make_client: MakeClient, path: str):
    client = make_client(root_path="/quill", behind_proxy=True)
    assert client.get(path).status_code in (401, 404)


def test_the_log_of_requests_names_routes_and_no_texts(make_client: MakeClient, caplog: pytest.LogCaptureFixture):
    client = make_client()
    made = client.post("/api/v1/collections", json={"name": "Secret Love"}).json()["id"]
    with caplog.at_level(logging.INFO, "quillread.serve.access"):
        client.get(f"/api/v1/collections/{made}?q=Secret", headers={"X-Request-Id": "abc"})
        client.get("/Secret/Love")
    first, second = caplog.records[-2:]
    assert "Secret" not in caplog.text
    told = json.loads(_Json().format(first))
    assert told["route"] == "/api/v1/collections/{collection_id}"
    assert (told["method"], told["status"], told["user"], told["request_id"]) == ("GET", 200, "owner", "abc")
    assert told["milliseconds"] >= 0
    line = _Lines().format(first)
    assert "GET /api/v1/collections/{collection_id} 200" in line
    assert json.loads(_Json().format(second))["route"] == "-"


def test_the_log_keeps_to_one_line_a_message():
    record = logging.LogRecord("a", logging.INFO, "", 0, "first\nsecond\x1b[31m", None, None)
    assert "\n" not in _Lines().format(record)
    assert "\x1b" not in _Lines().format(record)
    assert "\n" not in _Json().format(record)
