"""Books of libraries and archives: manifests of the IIIF Presentation API, versions 2 and 3.

Specifications: https://iiif.io/api/presentation/3.0/, https://iiif.io/api/presentation/2.1/,
https://iiif.io/api/image/3.0/
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import UnidentifiedImageError

from quillread.errors import ImageError
from quillread.images.document import ReadConfig
from quillread.images.pictures import PicturePages
from quillread.images.web import fetch, is_address
from quillread.types import UInt8Image

log = logging.getLogger(__name__)

_CONTEXT = "iiif.io/api/presentation/"
_HEAD = 1 << 16
"""Bytes within which a manifest names its context, as the specification demands it on top."""


def may_be_manifest(head: bytes) -> bool:
    """Tell by its beginning whether a file can be a manifest: it is JSON."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def names_manifest(path: Path) -> bool:
    """Tell by the beginning of a file whether it is a manifest."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return may_be_manifest(head) and _CONTEXT.encode() in head


@dataclass(frozen=True, slots=True)
class _Canvas:
    """A page of a manifest."""

    addresses: tuple[str, ...]
    """Where its image may be had, the largest first."""


class IiifPages:
    """The canvases of a manifest, in the order of its first sequence; images are fetched when asked for."""

    def __init__(self, content: bytes, config: ReadConfig, name: str) -> None:
        """Read a manifest; an `ImageError` if it is none, or has no canvas."""
        self._config = config
        self._canvases = _read_manifest(content, name)

    def __len__(self) -> int:
        """Count the canvases."""
        return len(self._canvases)

    def render(self, index: int, where: str) -> UInt8Image:
        """Fetch and decode the image of a canvas."""
        addresses = self._canvases[index].addresses
        if not addresses:
            raise ImageError(f"{where}: the canvas has no image", hint="leave the page out, or tell the library")
        failure: ImageError | None = None
        for address in addresses:
            try:
                content = fetch(address, self._config.web)
                return PicturePages(content, self._config, heif=False).render(0, where)
            except UnidentifiedImageError:
                failure = failure or ImageError(f"{address}: is not an image that can be read")
            except ImageError as error:
                failure = failure or error
        assert failure is not None
        raise ImageError(f"{where}: {failure.message}", hint=failure.hint)

    def paper_size(self, index: int) -> None:
        """Manifests say nothing of it."""

    def jpeg(self, index: int) -> None:
        """No page is a file of its own."""

    def close(self) -> None:
        """Nothing is open."""


def _read_manifest(content: bytes, name: str) -> tuple[_Canvas, ...]:
    try:
        data = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{name}: is broken JSON: {error}", hint="download the manifest again") from error
    if not isinstance(data, dict) or _CONTEXT not in json.dumps(data.get("@context")):
        raise ImageError(f"{name}: is JSON, but no IIIF manifest", hint="images, PDFs and IIIF manifests can be read")
    if "Collection" in _text(data, "type", "@type"):
        hint = "name one of its manifests"
        raise ImageError(f"{name}: is a IIIF collection, not a manifest", hint=hint)
    version_2 = next(iter(_dicts(data.get("sequences"))), {})
    canvases = [_Canvas(_version_2(canvas)) for canvas in _dicts(version_2.get("canvases"))]
    canvases += [_Canvas(_version_3(canvas)) for canvas in _dicts(data.get("items"))]
    if not canvases:
        raise ImageError(f"{name}: is a IIIF manifest without pages", hint="check the address")
    return tuple(canvases)


def _version_2(canvas: dict[str, Any]) -> tuple[str, ...]:
    return _addresses([annotation.get("resource") for annotation in _dicts(canvas.get("images"))])


def _version_3(canvas: dict[str, Any]) -> tuple[str, ...]:
    annotations = [note for page in _dicts(canvas.get("items")) for note in _dicts(page.get("items"))]
    return _addresses([note.get("body") for note in annotations if note.get("motivation", "painting") == "painting"])


def _addresses(bodies: list[Any]) -> tuple[str, ...]:
    """Where the image of a canvas may be had: of its service in full size, or else as it is named."""
    images = [body for body in map(_first_choice, bodies) if body]
    if len(images) > 1:
        log.warning("a canvas of %d images is read by its first, %s", len(images), _text(images[0], "id", "@id"))
    if not images:
        return ()
    image = images[0]
    found = [_full_size(service) for service in _dicts(image.get("service"))] + [_text(image, "id", "@id")]
    return tuple(dict.fromkeys(address for address in found if is_address(address)))


def _first_choice(body: Any) -> dict[str, Any] | None:
    """Return an image, of several to choose from the first."""
    for item in _dicts(body):
        choices = _dicts(item.get("items")) or _dicts(item.get("default"))
        return choices[0] if choices else item
    return None


def _full_size(service: dict[str, Any]) -> str:
    base = _text(service, "id", "@id").rstrip("/")
    kind = f"{_text(service, 'type', '@type')} {service.get('@context')} {service.get('profile')}"
    if not base:
        return ""
    if "ImageService3" in kind or "/image/3" in kind:
        return f"{base}/full/max/0/default.jpg"
    is_first = "/image-api/1" in kind or "/image/1" in kind
    return f"{base}/full/full/0/{'native' if is_first else 'default'}.jpg"


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a value that may be one, several or none: manifests do not keep to one form."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, dict)]


def _text(data: dict[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := data.get(name), str)), "")
