"""IIIF collections: the manifests that they name, those of collections in them included.

Specifications: https://iiif.io/api/presentation/3.0/#51-collection, https://iiif.io/api/presentation/2.1/#collection
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from quillread.batch.cluster.tables import raise_first
from quillread.errors import DataError, ImageError
from quillread.images.exchange import fetch
from quillread.images.web import WebConfig, WebPolicy, is_address, parse_address

_CONTEXT = "iiif.io/api/presentation/"
_LISTS = ("items", "manifests", "collections", "members")
"""Where version 3 and version 2 have what is in a collection."""
_DEEPEST = 20


def parse_collection(content: bytes) -> dict[str, Any] | None:
    """Read a collection; None if it is something else, such as a manifest or an image."""
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return None
    try:
        data = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    if _CONTEXT not in json.dumps(data.get("@context")):
        return None
    return data if "Collection" in _kind(data) else None


def list_manifests(collection: dict[str, Any], name: str, web: WebConfig, given: str | None) -> Iterator[str]:
    """List the addresses of the manifests of a collection, in order, each once.

    A collection names whatever its library likes. So what it names must not lie in a private network, unless it lies
    where the collection does.

    Args:
        collection: Of `parse_collection`.
        name: How errors name it.
        web: How the web is asked for collections in it.
        given: Its address, if it has one.

    Raises:
        DataError: At the end, if it names what must not be asked for, a collection in it cannot be read, or collections
            lie too deep in each other.
    """
    errors: list[DataError] = []
    policy = WebPolicy(web.allow or "named", parse_address(given) if given else None)
    yield from _manifests(collection, _Walk(name, web, policy, {given} if given else set(), errors), 0)
    raise_first(errors)


@dataclass(frozen=True, slots=True)
class _Walk:
    """A way through collections."""

    name: str
    web: WebConfig
    policy: WebPolicy
    seen: set[str | None]
    errors: list[DataError]


def lies_beside(address: str, given: str | None) -> bool:
    """Whether an address that a collection names is on the host that the user named with it."""
    if given is None:
        return False
    named, own = parse_address(address), parse_address(given)
    return named.host == own.host and (named.port == own.port or {named.port, own.port} == {80, 443})


def _manifests(data: dict[str, Any], walk: _Walk, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        message = f"{walk.name}: holds collections in collections, more than {_DEEPEST} deep"
        walk.errors.append(DataError(message, hint="name one of them"))
        return
    for kind, address in _named(data):
        if address in walk.seen:
            continue
        walk.seen.add(address)
        wider = walk.policy.naming([address])
        try:
            if "Collection" not in kind:
                wider.check(parse_address(address))
                yield address
                continue
            inner = parse_collection(fetch(address, walk.web, wider))
        except ImageError as error:
            walk.errors.append(DataError(f"{walk.name}: {error.message}", hint=error.hint))
            continue
        if inner is None:
            message = f"{walk.name}: names {address} as a collection, which it is not"
            walk.errors.append(DataError(message, hint="tell the library"))
            continue
        yield from _manifests(inner, walk, depth + 1)


def _named(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for place in _LISTS:
        entries = data.get(place)
        for entry in entries if isinstance(entries, list) else []:
            address = entry.get("id", entry.get("@id")) if isinstance(entry, dict) else None
            if isinstance(address, str) and is_address(address):
                yield _kind(entry), address


def _kind(data: dict[str, Any]) -> str:
    return str(data.get("type", data.get("@type")))
