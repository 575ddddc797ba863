"""A web server on this machine for the tests: answers with what they say, and remembers what it was asked."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Answer:
    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None
    """What the header says, if it is not the truth."""
    wait: float = 0.0
    """Seconds of silence after half of the body."""


class WebServer:
    """Routes are lists of answers by path; the last one stays."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.routes: dict[str, list[Answer]] = {}
        self.asked: list[str] = []
        self.stop = threading.Event()

    def add(self, path: str, *answers: Answer) -> str:
        """Returns the address of the path."""
        self.routes[path] = list(answers)
        return f"{self.address}{path}"

    def answer(self, path: str) -> Answer:
        self.asked.append(path)
        answers = self.routes.get(path, [Answer(status=404)])
        return answers.pop(0) if len(answers) > 1 else answers[0]


@contextmanager
def serve() -> Iterator[WebServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = site.answer(self.path)
            self.send_response(answer.status)
            length = len(answer.body) if answer.length is None else answer.length
            for name, value in {"Content-Length": str(length), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                half = len(answer.body) // 2 if answer.wait else len(answer.body)
                self.wfile.write(answer.body[:half])
                self.wfile.flush()
                site.stop.wait(answer.wait)
                self.wfile.write(answer.body[half:])
            except OSError:
                pass  # whoever asked has left

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
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
