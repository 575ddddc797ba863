"""How a file of the web is asked for: one deadline and one count of bytes for all that its servers send; further tries.

Nothing that a server says is believed: headers, "100 Continue", redirects and trailers count as the content does, and
what a redirect or an error says beside its headers is never read.
"""

import base64
import functools
import http.client
import io
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from quillread.errors import ImageError
from quillread.images.web import WebAddress, WebConfig, WebPolicy, parse_address, printable
from quillread.version import __version__

_HEADERS = {
    "User-Agent": f"quillread/{__version__}",
    # Servers that have a page for people, too, give the manifest or image to those who ask for it.
    "Accept": "image/*, application/pdf, application/ld+json, application/json, */*;q=0.5",
    "Accept-Encoding": "identity",
    "Connection": "close",
}
_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which another try may help."""
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10
_LONGEST_WAIT = 60.0
"""Seconds between two tries, whatever the server asks for."""
_FIRST_WAIT = 1.0
_PARTS = 10
"""A whole file may take so many times as long as a part of an answer."""
_AROUND = 1 << 20
"""Bytes that may come around the content of a file: headers, redirects, the sizes of chunks."""
_PIECE = 1 << 16


class PassingError(Exception):
    """A try failed in a way that may pass; `wait` is what the server asks for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class TooLargeError(Exception):
    """A server sends more than a file may have."""


class Budget:
    """Seconds and bytes that are left to a try for a file, whatever its servers send.

    Args:
        config: Time limits and size limit.
        clock: Tells seconds.
    """

    def __init__(self, config: WebConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self.max_bytes = config.max_bytes
        self._timeout = config.timeout
        self._clock = clock
        self._end = clock() + _PARTS * config.timeout
        self._count = 0

    def wait(self) -> float:
        """Return how many seconds the next part of an answer may take.

        Raises:
            PassingError: If the time is up.
        """
        left = self._end - self._clock()
        if left <= 0:
            raise PassingError(f"not finished after {self._count:,} bytes")
        return min(self._timeout, left)

    def spend(self, count: int) -> None:
        """Count bytes.

        Raises:
            TooLargeError: If they are too many.
        """
        self._count += count
        if self._count > self.max_bytes + _AROUND:
            raise TooLargeError


def fetch(address: str, config: WebConfig, policy: WebPolicy) -> bytes:
    """Download a file over HTTP or HTTPS; the proxies of the environment are used, and look names up themselves.

    Raises:
        ImageError: If the address is malformed, the policy forbids it or where it redirects to, the server does not
            have the file or does not answer in time, or the file is larger than allowed.
    """
    wait = _FIRST_WAIT
    for tries_left in range(config.retries, -1, -1):
        try:
            return ask(address, policy, Budget(config))
        except TooLargeError as error:
            hint = "ask for a smaller size, or raise read.web.max_bytes"
            raise ImageError(f"{printable(address)}: is larger than {config.max_bytes:,} bytes", hint=hint) from error
        except PassingError as error:
            if not tries_left:
                tries = f" after {config.retries + 1} tries" if config.retries else ""
                hint = "try again later, or raise read.web.timeout"
                raise ImageError(f"{printable(address)}: {error}{tries}", hint=hint) from error
            time.sleep(min(max(wait, error.wait), _LONGEST_WAIT))
            wait *= 2
    raise AssertionError  # the last try returns or raises


def ask(address: str, policy: WebPolicy, budget: Budget) -> bytes:
    """Ask for a file once, and wherever it is redirected to; each step is held against the policy.

    Raises:
        ImageError: As `fetch` does.
        PassingError: If another try may help.
        TooLargeError: If the servers send too much.
    """
    target = address
    for step in range(_MOST_REDIRECTS + 1):
        try:
            found = _ask_once(parse_address(target), policy, budget)
        except ImageError as error:
            if not step:
                raise
            raise ImageError(f"{printable(address)}: redirected to {error.message}", hint=error.hint) from error
        if isinstance(found, bytes):
            return found
        target = found
    hint = "check the address"
    raise ImageError(f"{printable(address)}: redirected more than {_MOST_REDIRECTS} times", hint=hint)


def _ask_once(target: WebAddress, policy: WebPolicy, budget: Budget) -> bytes | str:
    """Return the content of a file, or the address that its server redirects to."""
    with _answer(target, policy, budget) as answer:
        if 200 <= answer.status < 300:
            return _read(answer, target, budget)
        location = answer.headers.get("Location") or ""
        if answer.status in _REDIRECTS and location:
            return _join(target, location)
        if answer.status in _PASSING:
            wait = answer.headers.get("Retry-After") or ""  # a date is allowed, too, and then not heeded
            short = wait.isascii() and wait.isdecimal() and len(wait) < 9
            raise PassingError(f"HTTP {answer.status}", float(wait) if short else 0.0)
        hint = "check the address"
        if answer.status in (401, 403):
            hint = "the server gives it to nobody or to people signed in: download it and name the file"
        raise ImageError(f"{target}: HTTP {answer.status} {printable(answer.reason)}", hint=hint)


def _join(target: WebAddress, location: str) -> str:
    # Headers are read as Latin-1, whatever they were: quoted so, each byte stays what it was.
    quoted = quote(location, safe="/:@!$&'()*+,;=%~[]?#", encoding="latin-1")
    try:
        return urljoin(str(target), quoted)
    except ValueError as error:
        message = f"{target}: redirected to {printable(quoted)}: is not a valid address"
        raise ImageError(message, hint="check the address") from error


@contextmanager
def _answer(target: WebAddress, policy: WebPolicy, budget: Budget) -> Iterator[http.client.HTTPResponse]:
    """Ask a server; what goes wrong on the way, then or while the answer is read, may pass."""
    connection: http.client.HTTPConnection | None = None
    try:
        connection, wanted, headers = _connect(target, policy, budget)
        connection.response_class = functools.partial(_MeteredAnswer, budget)  # type: ignore[assignment]
        connection.request("GET", wanted, headers=_HEADERS | headers)
        with connection.getresponse() as answer:
            yield answer
    except ssl.SSLCertVerificationError as error:
        hint = "check the address, and the date of this machine"
        raise ImageError(f"{target}: its certificate is not valid: {error.verify_message}", hint=hint) from error
    except (OSError, http.client.HTTPException) as error:  # timeouts are among the former
        reason = printable(str(error)) or type(error).__name__
        raise PassingError(f"no answer from {target.place}: {reason}") from error
    finally:
        if connection is not None:
            connection.close()


def _connect(
    target: WebAddress, policy: WebPolicy, budget: Budget
) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """Return a connection, what to ask of it, and further headers."""
    is_safe = target.scheme == "https"
    proxy = _proxy(target)
    if proxy is None:
        connection = _connection(target.host, target.port, budget, is_safe)
        connection.sock = _dial(target, policy, budget)
        connection.auto_open = 0  # never by itself, which would look the name up once more
        return connection, target.target, {}
    policy.check(target)
    host, port, credentials = proxy
    connection = _connection(host, port, budget, is_safe)
    if not is_safe:
        return connection, str(target), credentials
    connection.set_tunnel(target.host, target.port, credentials)
    return connection, target.target, {}


def _connection(host: str, port: int, budget: Budget, is_safe: bool) -> http.client.HTTPConnection:
    if is_safe:
        return http.client.HTTPSConnection(host, port, timeout=budget.wait(), context=_trusting())
    return http.client.HTTPConnection(host, port, timeout=budget.wait())


def _proxy(target: WebAddress) -> tuple[str, int, dict[str, str]] | None:
    """Return host and port of the proxy that the environment names for an address, and how to sign in there."""
    named = getproxies().get(target.scheme)
    if not named or proxy_bypass(target.place):
        return None
    try:
        parts = urlsplit(named if "://" in named else f"//{named}")
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        host = None
    if not host:
        hint = f"check the variable {target.scheme}_proxy"
        raise ImageError(f"{target}: the proxy that the environment names is not a valid address", hint=hint)
    if parts.username is None:
        return host, port, {}
    signed = base64.b64encode(f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()).decode()
    return host, port, {"Proxy-Authorization": f"Basic {signed}"}


@functools.cache
def _trusting() -> ssl.SSLContext:
    """Trust whom this machine trusts."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _dial(target: WebAddress, policy: WebPolicy, budget: Budget) -> socket.socket:
    """Connect to one of the machines that the policy has checked, not to a name."""
    failure = OSError("the host has no address")
    for family, place in policy.locate(target):
        wait = budget.wait()
        line = socket.socket(family, socket.SOCK_STREAM)
        try:
            line.settimeout(wait)
            line.connect(place)
            if target.scheme == "https":
                return _trusting().wrap_socket(line, server_hostname=target.host)
            return line
        except OSError as error:
            line.close()
            failure = error
    raise failure


class _MeteredAnswer(http.client.HTTPResponse):
    """An answer of which every byte is counted, from the first on, and every wait is limited."""

    def __init__(self, budget: Budget, line: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(line, *args, **options)
        self.fp = io.BufferedReader(_MeteredLine(budget, line, self.fp.detach()))


class _MeteredLine(io.RawIOBase):
    """What comes over a connection."""

    def __init__(self, budget: Budget, line: socket.socket, raw: io.RawIOBase) -> None:
        self._budget = budget
        self._line = line
        self._raw = raw

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int | None:
        """Wait for some bytes no longer than the budget allows."""
        self._line.settimeout(self._budget.wait())
        count: int | None = self._raw.readinto(buffer)
        self._budget.spend(count or 0)
        return count

    def close(self) -> None:
        """Let the connection go."""
        self._raw.close()
        super().close()


def _read(answer: http.client.HTTPResponse, target: WebAddress, budget: Budget) -> bytes:
    unpacker = _Unpacker(answer.headers.get("Content-Encoding") or "", target)
    if answer.length is not None and answer.length > budget.max_bytes:
        raise TooLargeError
    content = bytearray()
    came = 0
    # One piece as it comes, not as many as fill a buffer: a server that sends drop by drop must be noticed.
    while piece := answer.read1(_PIECE):
        came += len(piece)
        content += unpacker.unpack(piece, budget.max_bytes + 1 - len(content))
        if len(content) > budget.max_bytes:
            raise TooLargeError
    if answer.length:
        raise PassingError(f"cut off after {came:,} of {came + answer.length:,} bytes")
    if not unpacker.is_whole:
        raise PassingError(f"its compressed answer is damaged or cut off after {came:,} bytes")
    return bytes(content)


class _Unpacker:
    """Undoes the compression of servers that compress whatever they are asked."""

    def __init__(self, encoding: str, target: WebAddress) -> None:
        self._encoding = encoding.strip().lower()
        self._inflater: Any = None
        if self._encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            message = f"{target}: is compressed as {printable(self._encoding)!r}, which cannot be read"
            raise ImageError(message, hint="download the file and name that")

    def unpack(self, piece: bytes, most: int) -> bytes:
        """Unpack the next piece of an answer, up to `most` bytes, which is at least 1 and more than may follow."""
        if self._encoding in ("", "identity"):
            return piece
        if self._inflater is None:
            # "deflate" is zlib by the standard, without its header by some servers.
            is_bare = self._encoding == "deflate" and piece[0] & 15 != zlib.DEFLATED
            self._inflater = zlib.decompressobj(-zlib.MAX_WBITS if is_bare else 32 + zlib.MAX_WBITS)
        try:
            unpacked: bytes = self._inflater.decompress(piece, most)
        except zlib.error as error:
            raise PassingError(f"its compressed answer is damaged: {error}") from error
        return unpacked

    @property
    def is_whole(self) -> bool:
        """Whether the end was reached, and nothing follows it."""
        return self._inflater is None or (self._inflater.eof and not self._inflater.unused_data)
