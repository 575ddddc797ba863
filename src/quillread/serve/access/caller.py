"""Where a request comes from: proxies, the name it calls the server by, and the page that made it.

A page of another site must not reach a server that only listens on loopback, where nobody logs in: neither by a name
that leads here for a moment (DNS rebinding: the name in `Host` is not ours), nor by forms and scripts (`Origin` is
another). Scripts and programs send no `Origin`, and pass.
"""

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import Scope

from quillread.serve.config import ServeConfig
from quillread.serve.faults import DeniedError, MisdirectedError, RequestError

_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?", re.IGNORECASE)
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def headers(scope: Scope, name: str) -> list[str]:
    """All values of a header."""
    wanted = name.lower().encode("latin-1")
    return [value.decode("latin-1") for key, value in scope["headers"] if key == wanted]


def believe_proxy(scope: Scope) -> None:
    """Take over who calls, and whether by TLS, as the nearest proxy says; what those before it say may be made up."""
    forwarded = [part.strip() for value in headers(scope, "x-forwarded-for") for part in value.split(",")]
    if forwarded and _as_ip(forwarded[-1].strip("[]")):
        scope["client"] = (forwarded[-1].strip("[]"), 0)
    schemes = [part.strip().lower() for value in headers(scope, "x-forwarded-proto") for part in value.split(",")]
    if schemes and schemes[-1] in _PORTS:
        scope["scheme"] = schemes[-1]


def check_host(scope: Scope, config: ServeConfig) -> str:
    """Refuse a request that calls the server by a name which is not its own.

    Returns:
        Scheme, name and port as they stand in the origin of our own pages.

    Raises:
        RequestError: If there is no such name, several or a malformed one.
        MisdirectedError: If it is not a name of this server.
    """
    given = headers(scope, "host")
    match = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if match is None:
        raise RequestError("the request needs one header Host, a name or an address")
    name = match[1].lower().strip("[]").rstrip(".")
    if not _is_ours(name, scope, config):
        hint = f"if it is a name of this server: quill serve --allowed-host {name}"
        raise MisdirectedError(f"this server is not called {name}", hint=hint)
    return _origin(scope["scheme"], name, int(match[2]) if match[2] else None)


def check_origin(scope: Scope, own: str) -> None:
    """Refuse a request that a page of another site has made.

    Args:
        scope: Of the request.
        own: What `check_host` has returned.

    Raises:
        DeniedError: If one has.
    """
    for value in headers(scope, "origin"):
        given = _parse_origin(value)
        if given != own:
            is_tls_of_ours = given and given.rpartition(":")[0] == own.rpartition(":")[0].replace("http:", "https:", 1)
            hint = "behind a proxy that speaks TLS: quill serve --behind-proxy" if is_tls_of_ours else None
            raise DeniedError("pages of other sites may not call this server", hint=hint)
    if scope["method"] not in _SAFE and any(
        value not in ("same-origin", "none") for value in headers(scope, "sec-fetch-site")
    ):
        raise DeniedError("pages of other sites may not change anything here")


def _is_ours(name: str, scope: Scope, config: ServeConfig) -> bool:
    if name in _lower(config.allowed_hosts) or name == config.host.lower():
        return True
    ip = _as_ip(name)
    if name == "localhost" or (ip is not None and ip.is_loopback):
        return True
    # An address cannot be rebound; it is ours if the connection came in by it.
    listening = scope.get("server")
    return ip is not None and listening is not None and _as_ip(str(listening[0])) == ip


def _parse_origin(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        if parts.scheme not in _PORTS or not parts.hostname or parts.path:
            return None
        return _origin(parts.scheme, parts.hostname.rstrip("."), parts.port)
    except ValueError:
        return None


def _origin(scheme: str, name: str, port: int | None) -> str:
    shown = f"[{name}]" if ":" in name else name
    return f"{scheme}://{shown}:{port if port is not None else _PORTS.get(scheme, 0)}"


def _lower(names: Iterable[str]) -> set[str]:
    return {name.lower().strip("[]").rstrip(".") for name in names}


def _as_ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = ip.ipv4_mapped if ip.version == 6 else None
    return mapped or ip
