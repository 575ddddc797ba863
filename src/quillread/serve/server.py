"""Running the server: its socket, the signals that end it, what it logs."""

import contextlib
import json
import logging
import os
import signal
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import uvicorn

from quillread.errors import ConfigError, InputError, UsageError, printable
from quillread.reader import Reader
from quillread.serve.access.accounts import count_admins
from quillread.serve.app import make_app
from quillread.serve.archive.home import Archive
from quillread.serve.config import LogFormat, ServeConfig
from quillread.serve.jobs.crew import Crew
from quillread.serve.jobs.reading import ReaderMaker

_GRACE_SECONDS = 10
"""For requests that are under way when the server is to end."""


def run_server(config: ServeConfig, announce: Callable[[str], None], readers: ReaderMaker = Reader) -> None:
    """Serve an archive until a signal ends it; that signal is raised again when all is closed.

    A second signal ends the process at once, which loses nothing that was acknowledged.

    Args:
        config: Of the server.
        announce: Called with the address to open in a browser, once it answers.
        readers: Makes readers in worker processes.

    Raises:
        UsageError: If the port is in use, there are no accounts though others may call, or see `Archive`.
        ConfigError: If the certificate cannot be used.
        InputError: If it cannot start for another reason.
    """
    with _listen(config) as listening, Archive(config) as archive:
        _check_accounts(archive)
        settings = _settings(config, archive, readers)

        def ready() -> None:
            announce(_address(config, listening))
            _tell_systemd("READY=1")

        try:
            _Server(settings, ready).run(sockets=[listening])
        except SystemExit as error:
            raise InputError("the server could not start", hint="the log above says why") from error


class _Server(uvicorn.Server):
    """Announces that it answers, and ends at once at a second signal."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._signals: list[int] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end the server with grace, and raise them again when it has ended."""
        if threading.current_thread() is not threading.main_thread():  # as in tests
            yield
            return
        numbers = [number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if _is_heard(number)]
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        for heard in self._signals:
            signal.raise_signal(heard)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._signals:
            os._exit(128 + sig)
        self._signals.append(sig)
        self.should_exit = True
        _tell_systemd("STOPPING=1")


def _is_heard(number: signal.Signals) -> bool:
    return signal.getsignal(number) is not signal.SIG_IGN  # as nohup has it


def _settings(config: ServeConfig, archive: Archive, readers: ReaderMaker) -> uvicorn.Config:
    settings = uvicorn.Config(
        make_app(archive, Crew(archive, readers=readers)),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # the guard has one of its own
        server_header=False,
        proxy_headers=False,  # which would believe any program of this machine; the guard believes them if asked
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=15,
        ssl_certfile=config.tls_certificate,
        ssl_keyfile=config.tls_key,
    )
    try:
        settings.load()
    except (OSError, ssl.SSLError) as error:
        hint = "both are PEM files; the key belongs to the certificate and has no password"
        where = f"{config.tls_certificate}, {config.tls_key}"
        raise ConfigError(f"{where}: the certificate cannot be used: {error}", hint=hint) from error
    return settings


def _listen(config: ServeConfig) -> socket.socket:
    """Bind the socket before anything is opened, so that a port in use is told at once."""
    where = f"{config.host} port {config.port}"
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{where}: there is no such address here: {error}", hint="--host 127.0.0.1") from error
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        hint = "choose another port: --port; 0 takes any that is free"
        raise UsageError(f"{where}: cannot listen there: {error.strerror or error}", hint=hint) from error
    return listening


def _check_accounts(archive: Archive) -> None:
    config = archive.config
    with archive.database.read() as session:
        if config.needs_accounts and not count_admins(session):
            why = f"listens on {config.host}" if not config.is_local else "has --behind-proxy or --allowed-host"
            hint = f"make an admin first: quill serve users add NAME --role admin --data {config.data}"
            raise UsageError(f"others may call a server that {why}, and there are no accounts", hint=hint)


def _address(config: ServeConfig, listening: socket.socket) -> str:
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)
    shown = f"[{name}]" if ":" in name else name
    scheme = "https" if config.tls_certificate else "http"
    return f"{scheme}://{shown}:{listening.getsockname()[1]}{config.root_path}/"


def _tell_systemd(state: str) -> None:
    """Tell systemd, if it has started this, how things are (sd_notify)."""
    where = os.environ.get("NOTIFY_SOCKET")
    if not where:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.connect(f"\0{where[1:]}" if where.startswith("@") else where)
        told.send(state.encode())


def start_logs(form: LogFormat, *, verbose: bool) -> None:
    """Write what is logged to stderr, as lines or as a JSON object each."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Lines() if form == "lines" else _Json())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO if verbose else logging.WARNING)
    logging.getLogger("quillread.serve").setLevel(logging.INFO)


class _Lines(logging.Formatter):
    """Time, level, who says it, and the message."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return f"{_time_of(record)} {record.levelname} {record.name}: {printable(record.message)}"

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


class _Json(logging.Formatter):
    """The same as JSON, with the facts of a request."""

    def format(self, record: logging.LogRecord) -> str:
        told = {"time": _time_of(record), "level": record.levelname, "logger": record.name}
        told |= {"message": record.getMessage()} | getattr(record, "facts", {})
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False)


def _time_of(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
