"""A web server on this machine for the tests: answers with what they say, and remembers what it was asked."""

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

CERTIFICATE = Path(__file__).parent / "data" / "library.example.pem"
"""Of library.example, with its key."""


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    """What the header says, if it is not the truth."""
    wait: float = 0.0
    """Seconds of silence after half of the body, and between the parts of an endless one."""
    head: bytes | None = None
    """Sent as it is, in place of the status and all headers."""
    endless: bytes = b""
    """Sent after the body again and again, until whoever asked has left."""
    has_ranges: bool = False
    """Whether parts of the body may be asked for."""

    def part(self, asked: str) -> "Answer":
        """The answer with the part of the body that is asked for, as the header `Range` says it."""
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked) if self.has_ranges else None
        if found is None:
            return self
        first, last = map(int, found.groups())
        headers = {**self.headers, "Content-Range": f"bytes {first}-{last}/{len(self.body)}"}
        return replace(self, status=206, body=self.body[first : last + 1], headers=headers)


class WebServer:
    """Routes are lists of answers by path; the last one stays."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.routes: dict[str, list[Answer]] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        """Of each request."""
        self.stop = threading.Event()

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def add(self, path: str, *answers: Answer) -> str:
        """Returns the address of the path."""
        self.routes[path] = list(answers)
        return f"{self.address}{path}"

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        answers = self.routes.get(path, [Answer(status=404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]


def forget_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the machine that runs the tests have what proxies it likes."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


class Names:
    """Stands in for the look-up of hosts, and leads connections to public machines to the server of the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, site: WebServer, known: dict[str, list[list[str]]]) -> None:
        """`known` has for each host what is answered in turn, each time a list of machines; the last answer stays."""
        self.known = known
        self.connected: list[str] = []
        """Machines that were connected to."""
        forget_proxies(monkeypatch)
        look_up, connect = socket.getaddrinfo, socket.socket.connect

        def answer(host: str, port: int, *rest: Any, **options: Any) -> list[Any]:
            if host not in self.known:
                return look_up(host, port, *rest, **options)
            answers = self.known[host]
            machines = answers.pop(0) if len(answers) > 1 else answers[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (machine, port)) for machine in machines]

        def lead(line: socket.socket, place: tuple[str, int]) -> None:
            self.connected.append(place[0])
            connect(line, place if place[0].startswith("127.") else ("127.0.0.1", site.port))

        monkeypatch.setattr(socket, "getaddrinfo", answer)
        monkeypatch.setattr(socket.socket, "connect", lead)


def _server_side(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@contextmanager
def serve(certificate: Path | None = None) -> Iterator[WebServer]:
    """Serve over HTTP, or over HTTPS with a certificate that has its key beside it in one file.

    Asked for a tunnel, as proxies are, it is itself what is at the other end, with the certificate of the tests.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.headers.append(dict(self.headers.items()))
            answer = site.answer(self.path).part(self.headers.get("Range", ""))
            try:
                self.send_head(answer)
                half = len(answer.body) // 2 if answer.wait else len(answer.body)
                self.wfile.write(answer.body[:half])
                self.wfile.flush()
                site.stop.wait(answer.wait)
                self.wfile.write(answer.body[half:])
                while answer.endless and not site.stop.wait(answer.wait):
                    self.wfile.write(answer.endless)
            except OSError:
                pass  # whoever asked has left

        def do_CONNECT(self) -> None:
            site.asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            try:
                with _server_side(CERTIFICATE).wrap_socket(self.connection, server_side=True) as line:
                    self.rfile, self.wfile = line.makefile("rb"), line.makefile("wb", 0)
                    self.handle_one_request()
            except OSError:
                pass  # whoever asked does not trust this certificate
            self.close_connection = True

        def send_head(self, answer: Answer) -> None:
            if answer.head is not None:
                self.wfile.write(answer.head)
                return
            self.send_response(answer.status)
            length = len(answer.body) if answer.length is None else answer.length
            for name, value in {"Content-Length": str(length), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate:
        server.socket = _server_side(certificate).wrap_socket(server.socket, server_side=True)
    site = WebServer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        site.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
