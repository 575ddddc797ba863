"""Files of the web: asked for with a time limit, a size limit, and again where that may help."""

import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from quillread.errors import ConfigError, ImageError
from quillread.version import __version__

_PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which another try may help."""
_LONGEST_WAIT = 60.0
"""Seconds between two tries, whatever the server asks for."""
_FIRST_WAIT = 1.0
_PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class WebConfig:
    """How patient the web is asked."""

    timeout: float = 30.0
    """Seconds that a server has for each part of an answer; a whole file has ten times that."""

    retries: int = 3
    """Further tries of a file, each after twice the wait, where another may help."""

    max_bytes: int = 300_000_000
    """Larger files are refused."""

    def __post_init__(self) -> None:
        if not 0 < self.timeout <= 3600:
            raise ConfigError(f"read.web.timeout must be above 0 and at most 3600 seconds, got {self.timeout}")
        if not 0 <= self.retries <= 20:
            raise ConfigError(f"read.web.retries must be 0 to 20, got {self.retries}")
        if self.max_bytes < 1:
            raise ConfigError(f"read.web.max_bytes must be at least 1, got {self.max_bytes}")


def is_address(name: str) -> bool:
    """Tell whether a name is an address of the web."""
    return name.lower().startswith(("http://", "https://"))


def fetch(address: str, config: WebConfig | None = None) -> bytes:
    """Download a file over HTTP or HTTPS.

    Raises:
        ImageError: If the address is none of the web, the server does not have the file or does not answer in time,
            or the file is larger than allowed.
    """
    config = config or WebConfig()
    if not is_address(address):
        raise ImageError(f"{address}: is no http or https address", hint="download the file and name that")
    wait = _FIRST_WAIT
    for tries_left in range(config.retries, -1, -1):
        try:
            return _try(address, config)
        except _PassingError as error:
            if not tries_left:
                tries = f" after {config.retries + 1} tries" if config.retries else ""
                raise ImageError(
                    f"{address}: {error}{tries}", hint="try again later, or raise read.web.timeout"
                ) from error
            time.sleep(min(max(wait, error.wait), _LONGEST_WAIT))
            wait *= 2
    raise AssertionError  # the last try returns or raises


class _PassingError(Exception):
    """A try failed in a way that may pass; `wait` is what the server asks for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the web, not to other places such as FTP servers."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        return super().redirect_request(req, fp, code, msg, headers, newurl) if is_address(newurl) else None


def _try(address: str, config: WebConfig) -> bytes:
    try:
        # Addresses typed by people hold letters and spaces that a request must not.
        quoted = quote(address, safe=":/?#[]@!$&'()*+,;=%~")
        request = urllib.request.Request(quoted, headers={"User-Agent": f"quillread/{__version__}"})
        with urllib.request.build_opener(_WebOnly).open(request, timeout=config.timeout) as answer:
            return _read(answer, address, config)
    except urllib.error.HTTPError as error:
        with error:
            if error.code not in _PASSING:
                raise ImageError(f"{address}: HTTP {error.code} {error.reason}", hint=_hint(error.code)) from error
            wait = error.headers.get("Retry-After") or ""  # a date is allowed, too, and then not heeded
            raise _PassingError(f"HTTP {error.code}", float(wait) if wait.isdecimal() else 0.0) from error
    except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are among the former
        reason = getattr(error, "reason", None) or error
        host = urlsplit(address).netloc
        raise _PassingError(f"no answer from {host}: {reason or type(error).__name__}") from error
    except ValueError as error:  # a malformed host or port
        raise ImageError(f"{address}: is no address: {error}", hint="check it") from error


def _hint(code: int) -> str:
    if code in (401, 403):
        return "the server gives it to nobody or to people signed in: download it and name the file"
    return "check the address"


def _read(answer: Any, address: str, config: WebConfig) -> bytes:
    deadline = time.monotonic() + 10 * config.timeout
    length = answer.headers.get("Content-Length")
    content = bytearray()
    # One piece as it comes, not as many as fill a buffer: a server that sends drop by drop must be noticed.
    while piece := answer.read1(_PIECE):
        content += piece
        if len(content) > config.max_bytes:
            hint = "ask for a smaller size, or raise read.web.max_bytes"
            raise ImageError(f"{address}: is larger than {config.max_bytes:,} bytes", hint=hint)
        if time.monotonic() > deadline:
            raise _PassingError(f"not finished after {len(content):,} bytes")
    if length and length.isdecimal() and int(length) != len(content):
        raise _PassingError(f"cut off after {len(content):,} of {length} bytes")
    return bytes(content)
