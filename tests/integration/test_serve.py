"""The server as a process of its own: how it starts, answers, refuses to start, and ends."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from quillread.cli.main import main

pytestmark = pytest.mark.slow
START_SECONDS = 120


class Running:
    """A server that runs."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log
        self.address = ""

    def wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if found := re.search(r"open at (https?://\S+)", self.told()):
                self.address = found[1]
                return
            assert self.process.poll() is None, self.told()
            time.sleep(0.05)
        raise AssertionError(f"it does not start: {self.told()}")

    def told(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*arguments: object, data: str = "data", waits: bool = True, **environment: str) -> Running:
            log = tmp_path / f"{data}-{time.monotonic_ns()}.log"
            command = [sys.executable, "-m", "quillread.cli.main", "serve", "--data", tmp_path / data, "--port", "0"]
            file = stack.enter_context(log.open("w", encoding="utf-8"))
            process = subprocess.Popen(
                [str(part) for part in (*command, *arguments)],
                stderr=file,
                stdout=subprocess.PIPE,
                encoding="utf-8",
                env=os.environ | environment,
                preexec_fn=_hear_ctrl_c,
            )
            stack.callback(_kill, process)
            running = Running(process, log)
            if waits:
                running.wait()
            return running

        yield begin


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def serve(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Start a server that does not start."""
    command = [sys.executable, "-m", "quillread.cli.main", "serve", "--port", "0", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8")


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Quill = Callable[..., Done]


@pytest.fixture
def quill(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run an action beside the server; in this process, as that is sooner done."""

    def run(*arguments: object, stdin: str = "") -> Done:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            code = main(["serve", *map(str, arguments)])
        except SystemExit as end:
            code = int(end.code or 0)
        return Done(code, *capsys.readouterr())

    return run


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_it_starts_on_a_free_port_answers_and_ends_by_a_signal(start: Start, number: int, code: int):
    server = start()
    me = httpx.get(f"{server.address}api/v1/me")
    assert me.json()["local"] is True
    assert "content-security-policy" in me.headers
    assert "server" not in me.headers
    assert httpx.get(f"{server.address}healthz").status_code == 200
    assert server.end(number) == code
    assert "GET /api/v1/me 200" in server.told()
    assert "Traceback" not in server.told()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.address)


def test_it_ends_although_a_browser_listens_to_events(start: Start):
    server = start()
    with httpx.stream("GET", f"{server.address}api/v1/events", timeout=30) as events:
        assert events.status_code == 200
        next(events.iter_raw())
        begun = time.monotonic()
        assert server.end() == 143
        assert time.monotonic() - begun < 30
    assert "Traceback" not in server.told() and " ERROR " not in server.told()


def test_a_second_signal_ends_it_at_once_and_loses_nothing(start: Start):
    server = start()
    made = httpx.post(f"{server.address}api/v1/collections", json={"name": "a"}).json()
    connection = socket.create_connection(("127.0.0.1", int(server.address.rsplit(":", 1)[1].strip("/"))))
    connection.sendall(b"POST /api/v1/collections HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{")  # goes on
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert server.process.poll() is None
    assert server.end(signal.SIGTERM) == 143
    connection.close()
    again = start()
    assert [item["id"] for item in httpx.get(f"{again.address}api/v1/collections").json()["items"]] == [made["id"]]


def test_a_port_in_use_gets_a_clear_error(start: Start, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve("--data", tmp_path / "x", "--port", port)
    assert done.returncode == 2
    assert f"127.0.0.1 port {port}: cannot listen there" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "x").exists()


def test_a_folder_in_use_gets_a_clear_error(start: Start, tmp_path: Path):
    start()
    done = serve("--data", tmp_path / "data")
    assert done.returncode == 2
    assert "another server uses this folder" in done.stderr


@pytest.mark.parametrize("flags", [["--host", "0.0.0.0"], ["--behind-proxy"], ["--allowed-host", "a.example"]])
def test_where_others_may_call_it_starts_only_with_an_admin(
    quill: Quill, start: Start, tmp_path: Path, flags: list[str]
):
    refused = serve("--data", tmp_path / "data", *flags)
    assert refused.returncode == 2
    assert "quill serve users add" in refused.stderr
    made = quill("users", "add", "anna", "--role", "admin", "--data", tmp_path / "data", stdin="correct horse\n")
    assert made.returncode == 0, made.stderr
    server = start(*flags)
    assert httpx.get(f"{server.address}api/v1/me").status_code == 401
    with httpx.Client(base_url=server.address) as client:
        body = {"name": "anna", "password": "correct horse"}
        assert client.post("api/v1/login", json=body).status_code == 204
        assert client.get("api/v1/me").json()["name"] == "anna"


def test_accounts_are_kept_by_commands_while_it_runs(quill: Quill, start: Start, tmp_path: Path):
    server = start()
    place = ("--data", tmp_path / "data")
    assert httpx.get(f"{server.address}api/v1/me").status_code == 200
    assert quill("users", "add", "anna", "--role", "editor", *place, stdin="correct horse\n").returncode == 2
    assert quill("users", "add", "anna", "--role", "admin", *place, stdin="short\n").returncode == 2
    assert quill("users", "add", "anna", "--role", "admin", *place, stdin="correct horse\n").returncode == 0
    assert quill("users", "add", "anna", *place, stdin="correct horse\n").returncode == 2
    assert quill("users", "add", "bert", *place, stdin="correct horse\n").returncode == 0
    assert httpx.get(f"{server.address}api/v1/me").status_code == 401
    with httpx.Client(base_url=server.address) as client:

        def log_in(password: str) -> int:
            return client.post("api/v1/login", json={"name": "bert", "password": password}).status_code

        assert log_in("correct horse") == 204
        assert quill("users", "password", "bert", *place, stdin="another horse\n").returncode == 0
        assert client.get("api/v1/me").status_code == 401
        assert log_in("another horse") == 204
        assert quill("users", "role", "bert", "reader", *place).returncode == 0
        assert client.get("api/v1/me").json()["role"] == "reader"
        assert quill("users", "disable", "bert", *place).returncode == 0
        assert log_in("another horse") == 401
        assert "bert\treader" in quill("users", "list", *place).stdout
        assert quill("users", "enable", "bert", *place).returncode == 0
        assert log_in("another horse") == 204
    assert quill("users", "role", "anna", "reader", *place).returncode == 2
    assert quill("users", "remove", "bert", *place).returncode == 0
    assert quill("users", "remove", "carl", *place).returncode == 2
    assert quill("users", "remove", "anna", *place).returncode == 0
    assert httpx.get(f"{server.address}api/v1/me").status_code == 200


def test_a_backup_is_made_while_it_runs_and_restored_elsewhere(quill: Quill, start: Start, tmp_path: Path):
    server = start()
    httpx.post(f"{server.address}api/v1/collections", json={"name": "Letters"})
    backup, place = tmp_path / "b.tar", ("--data", tmp_path / "data")
    done = quill("backup", backup, *place)
    assert done.returncode == 0, done.stderr
    assert quill("backup", backup, *place).returncode == 3  # it is there
    assert quill("restore", backup, *place).returncode == 2  # in use
    assert quill("check", *place).returncode == 0
    assert "Letters" in quill("usage", *place).stdout
    restored = quill("restore", backup, "--data", tmp_path / "other")
    assert restored.returncode == 0, restored.stderr
    other = start(data="other")
    assert [item["name"] for item in httpx.get(f"{other.address}api/v1/collections").json()["items"]] == ["Letters"]


def test_what_is_in_the_bin_is_purged_and_what_still_holds_it_is_said(quill: Quill, start: Start, tmp_path: Path):
    server = start()
    made = httpx.post(f"{server.address}api/v1/collections", json={"name": "Letters"}).json()
    httpx.delete(f"{server.address}api/v1/collections/{made['id']}")
    place = ("--data", tmp_path / "data")
    assert quill("backup", tmp_path / "b.tar", *place).returncode == 0
    assert "--yes" in quill("purge", *place).stderr
    assert "nothing in the bin for 1 days" in quill("purge", "--older-than", 1, *place).stderr
    done = quill("purge", "--yes", *place)
    assert done.returncode == 0, done.stderr
    assert "1 collections" in done.stdout
    assert f"made earlier: {tmp_path / 'b.tar'}" in done.stderr
    assert httpx.get(f"{server.address}api/v1/collections/{made['id']}").status_code == 404


def test_what_check_finds_is_named_with_an_exit_code(quill: Quill, start: Start, tmp_path: Path):
    place = ("--data", tmp_path / "data")
    start().end()
    orphan = tmp_path / "data" / "files" / "ab" / "ab" / ("ab" * 32)
    orphan.parent.mkdir(parents=True)
    orphan.write_bytes(b"x")
    found = quill("check", *place)
    assert found.returncode == 3
    assert found.stdout.startswith("unused\t")
    mended = quill("check", "--mend", *place)
    assert mended.returncode == 0
    assert not orphan.exists()


@pytest.mark.parametrize("action", [["check"], ["usage"], ["purge"], ["users", "list"], ["backup", "b.tar"]])
def test_a_mistyped_folder_is_not_made(quill: Quill, tmp_path: Path, action: list[str]):
    done = quill(*action, "--data", tmp_path / "typo")
    assert done.returncode == 2
    assert "there is no archive here" in done.stderr
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(("--data", "file"), "not a folder"), (("restore", "typo.tar", "--data", "new"), "there is no such file")],
)
def test_names_of_nothing_or_of_something_else_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], told: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    done = serve(*arguments)
    assert told in done.stderr and "Traceback" not in done.stderr
    assert done.returncode in (2, 3)
    assert not (tmp_path / "new").exists()


def test_it_is_shown_below_a_path(start: Start):
    server = start("--root-path", "/quill")
    assert server.address.endswith("/quill/")
    assert httpx.get(f"{server.address}api/v1/me").status_code == 200
    assert httpx.get(f"{server.address.removesuffix('quill/')}api/v1/me").status_code == 200  # a proxy took it away


def test_it_speaks_tls(start: Start):
    both = Path(__file__).parents[1] / "data" / "library.example.pem"
    server = start("--tls-certificate", both, "--tls-key", both)
    assert server.address.startswith("https://")
    answer = httpx.get(f"{server.address}api/v1/me", verify=False)  # it is of another name
    assert answer.headers["strict-transport-security"]


def test_a_certificate_that_cannot_be_used_gets_a_clear_error(tmp_path: Path):
    (tmp_path / "c.pem").write_text("no certificate", encoding="utf-8")
    flags = ("--tls-certificate", tmp_path / "c.pem", "--tls-key", tmp_path / "c.pem")
    done = serve("--data", tmp_path / "data", *flags)
    assert done.returncode == 2
    assert "c.pem" in done.stderr
    assert "Traceback" not in done.stderr


def test_logs_are_json_when_asked_for(start: Start):
    server = start("--log-format", "json")
    httpx.get(f"{server.address}api/v1/me?q=secret", headers={"X-Request-Id": "mine"})
    server.end()
    told = [json.loads(line) for line in server.told().splitlines() if line.startswith("{")]
    (request,) = [line for line in told if line.get("request_id") == "mine"]
    assert (request["route"], request["status"]) == ("/api/v1/me", 200)
    assert "secret" not in server.told()


def test_systemd_is_told_when_it_answers_and_when_it_ends(start: Start, tmp_path: Path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(60)
        server = start(NOTIFY_SOCKET=str(tmp_path / "notify"))
        assert notified.recv(100) == b"READY=1"
        server.end()
        assert notified.recv(100) == b"STOPPING=1"


@contextmanager
def raw(address: str) -> Iterator[socket.socket]:
    port = int(address.rsplit(":", 1)[1].strip("/"))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        yield connection


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /api/v1/me HTTP/1.1\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /api/v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET http://evil.example/api/v1/me HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
def test_requests_that_no_browser_of_ours_sends_are_refused(start: Start, request_head: bytes):
    server = start()
    with raw(server.address) as connection:
        connection.sendall(request_head)
        assert b" 4" in connection.recv(100).split(b"\r\n")[0]
