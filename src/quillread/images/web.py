"""Whom of the web reading may ask: the settings, addresses taken apart once, and the policy that holds at each step."""

import copy
import ipaddress
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import quote, urlsplit

from quillread import errors
from quillread.errors import ConfigError, ImageError

Allow = Literal["off", "named", "any"]
_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
_UNQUOTED = "/:@!$&'()*+,;=%~[]?"
"""What stands in the path and query of an address as it is; `%` too, as parts may be quoted already."""
_TRUST = "name that address itself, or set read.web.allow=any if you trust where it comes from"
_LONGEST_ADDRESS = 8192
_LONGEST_QUOTATION = 300
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class WebConfig:
    """Whom of the web reading may ask, and how patiently."""

    allow: Allow | None = None
    """`off` asks nobody. `named` asks the host of the address given and, for images, the hosts that its manifest names,
    but nothing in a private network other than the host and port given. `any` asks whatever a manifest or a redirect
    names. If not set, `named` for an address given as such, and `off` for a manifest in a file or in bytes."""

    timeout: float = 30.0
    """Seconds that a server has for each part of an answer; a try for a whole file has ten times that."""

    retries: int = 3
    """Further tries of a file, each after twice the wait, where another may help."""

    max_bytes: int = 300_000_000
    """Larger files are refused."""

    private: bool = True
    """Whether an address given may be one of a private network: not where strangers give it, as to a server. Of no
    effect with `allow=any`, which asks private ones, too."""

    def __post_init__(self) -> None:
        if self.allow not in (None, *get_args(Allow)):
            raise ConfigError(f"read.web.allow must be off, named or any, got {self.allow!r}")
        if not 0 < self.timeout <= 3600:
            raise ConfigError(f"read.web.timeout must be above 0 and at most 3600 seconds, got {self.timeout}")
        if not 0 <= self.retries <= 20:
            raise ConfigError(f"read.web.retries must be 0 to 20, got {self.retries}")
        if self.max_bytes < 1:
            raise ConfigError(f"read.web.max_bytes must be at least 1, got {self.max_bytes}")


@dataclass(frozen=True, slots=True)
class WebAddress:
    """An address of the web, taken apart once: what is checked is what is asked."""

    scheme: str
    host: str
    """ASCII, lower-case, without brackets and final dots."""
    port: int
    target: str
    """Path and query, quoted."""

    @property
    def place(self) -> str:
        """Host and, unless it is that of the scheme, port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}{self.target}"


def is_address(name: str) -> bool:
    """Tell whether a name is an address of the web."""
    return name.lower().startswith(("http://", "https://"))


def parse_address(address: str) -> WebAddress:
    """Take an address apart; letters and spaces, which people type and a request must not hold, are quoted.

    Raises:
        ImageError: If it is not an http or https address, is malformed, or names a user.
    """
    shown = printable(address)
    if not is_address(address):
        raise ImageError(f"{shown}: is not an http or https address", hint="download the file and name that")
    try:
        if len(address) > _LONGEST_ADDRESS:
            raise ValueError(f"{len(address):,} characters are too many")
        parts = urlsplit(address)
        host = parts.hostname or ""
        host = (host if ":" in host else host.encode("idna").decode("ascii").lower()).rstrip(".")
        port = _DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError as error:
        raise ImageError(f"{shown}: is not a valid address: {printable(str(error))}", hint="check it") from error
    if "@" in parts.netloc:
        hint = "download the file and name that"
        raise ImageError(f"{parts.scheme}://{host}: addresses with a user or password are not supported", hint=hint)
    if not _HOST.fullmatch(host):
        raise ImageError(f"{shown}: is not a valid address: {printable(host)!r} is not a host", hint="check it")
    query = f"?{quote(parts.query, safe=_UNQUOTED)}" if parts.query else ""
    return WebAddress(parts.scheme, host, port, quote(parts.path or "/", safe=_UNQUOTED) + query)


def printable(text: str) -> str:
    """Make what others wrote fit for a message: see `errors.printable`; and not endless."""
    return errors.printable(text if len(text) <= _LONGEST_QUOTATION else text[:_LONGEST_QUOTATION] + "…")


class WebPolicy:
    """Whom one input may lead to: hosts by name, and the machines that the names stand for.

    Names are looked up here and connections go to the addresses that were checked, so a name that stands for another
    machine a moment later changes nothing.

    Args:
        allow: As in `WebConfig`.
        given: The address that was given as the input, if it was one. It may lie in a private network; if so, its
            host and port may be asked again.
    """

    def __init__(self, allow: Allow, given: WebAddress | None = None) -> None:
        self.allow = allow
        self._given = given
        self._hosts = frozenset({_without_www(given.host)} if given else ())
        self._own: frozenset[_IpAddress] | None = None if given else frozenset()

    def naming(self, addresses: Iterable[str]) -> "WebPolicy":
        """Return the policy for the images of a manifest that names these addresses; malformed ones name nobody."""
        wider = copy.copy(self)
        wider._hosts = self._hosts | {_without_www(host) for host in map(_host, addresses) if host}
        return wider

    def locate(self, address: WebAddress) -> list[tuple[int, Any]]:
        """Look up where an address may be connected to.

        Returns:
            Address family and socket address of each machine that its host stands for; all are allowed.

        Raises:
            ImageError: If it must not be asked.
            OSError: If the host is not known.
        """
        self._check_host(address)
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        self._check_machines(address, [_machine(info[4][0]) for info in found])
        return [(info[0], info[4]) for info in found]

    def check(self, address: WebAddress) -> None:
        """Check an address that a proxy will look up: its host's name, and its machine only where that is spelt out.

        Raises:
            ImageError: If it must not be asked.
        """
        self._check_host(address)
        self._check_machines(address, _spelt_out(address.host))

    def _check_host(self, address: WebAddress) -> None:
        if self.allow == "off":
            hint = "set read.web.allow=named, or download the file and name that"
            raise ImageError(f"{address}: is on the web, and read.web.allow is off", hint=hint)
        if self.allow == "named" and _without_www(address.host) not in self._hosts:
            raise ImageError(f"{address}: is on a host that you did not name", hint=_TRUST)

    def _check_machines(self, address: WebAddress, machines: Sequence[_IpAddress]) -> None:
        if self.allow == "any":
            return
        private = frozenset(machine for machine in machines if not _is_public(machine))
        if self._given is not None and address.host == self._given.host:
            # A name that once stood for a public machine, or for others, does not become that of a private one later.
            found = private if private.issuperset(machines) else frozenset()
            self._own = found if self._own is None else self._own & found
        if not all(self._is_own(address.port, machine) for machine in private):
            # The machine itself is not told: that would let strangers look up names of this network.
            raise ImageError(f"{address}: is in a private network, which you did not name", hint=_TRUST)

    def _is_own(self, port: int, machine: _IpAddress) -> bool:
        """Tell whether a machine and port in a private network are those given; http may lead to https."""
        if self._given is None or not (port == self._given.port or {port, self._given.port} == {80, 443}):
            return False
        own = self._own or frozenset()
        return machine in own or (machine.is_loopback and any(known.is_loopback for known in own))


def _host(address: str) -> str | None:
    try:
        return parse_address(address).host
    except ImageError:
        return None


def _without_www(host: str) -> str:
    """Most hosts with and without `www.` are one, and redirect from one to the other."""
    return host.removeprefix("www.")


def _machine(text: str | int) -> _IpAddress:
    """Read a network address; one of IPv6 that wraps one of IPv4 leads there, so that is what it is."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(machine: _IpAddress) -> bool:
    if isinstance(machine, ipaddress.IPv6Address):
        return machine in _GLOBAL_UNICAST and machine.is_global
    return machine.is_global and not machine.is_multicast


def _spelt_out(host: str) -> list[_IpAddress]:
    """Return the machine that a host names without a look-up, in any of the spellings that systems accept."""
    if host == "localhost" or host.endswith(".localhost"):
        return [ipaddress.IPv4Address("127.0.0.1")]
    try:
        return [_machine(host)]
    except ValueError:
        pass
    try:
        return [ipaddress.IPv4Address(socket.inet_aton(host))]  # 127.1, 0x7f.1 and 2130706433 are one machine
    except OSError:
        return []
