"""Books of libraries and archives: manifests of the IIIF Presentation API, versions 2 and 3.

Specifications: https://iiif.io/api/presentation/3.0/, https://iiif.io/api/presentation/2.1/,
https://iiif.io/api/image/3.0/
"""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import UnidentifiedImageError

from quillread.errors import ImageError
from quillread.images.document import Fetched, ReadConfig
from quillread.images.opening import Opening, open_pages
from quillread.images.pictures import PicturePages
from quillread.images.web import WebPolicy, is_address, printable
from quillread.types import UInt8Image

log = logging.getLogger(__name__)

_CONTEXT = "iiif.io/api/presentation/"
_HEAD = 1 << 16
"""Bytes within which a manifest names its context, as the specification demands it on top."""
MOST_BYTES = 32 << 20
"""Larger files are not manifests: one of 2,000 pages has some 10 MB."""
_MOST_OBJECTS = 1_000_000
"""Of a manifest: each takes some 70 bytes of memory and 3 of the file."""
_MOST_PAGES = 100_000
_LONGEST_LABEL = 200
_INFO = "/info.json"
_INNER = ("items", "default", "item", "source", "full")
"""What leads from a choice (version 3, 2) or a specific resource (3, 2) to the image itself."""
_NO_IMAGES = ("TextualBody", "Text", "Sound", "Video", "Dataset", "Model")
_REGION = re.compile(r"(pct:)?\d+(\.\d+)?(,\d+(\.\d+)?){3}|square")
_ROTATION = re.compile(r"!?\d+(\.\d+)?")


def may_be_manifest(head: bytes) -> bool:
    """Tell by its beginning whether a file can be a manifest: it is JSON."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def names_manifest(path: Path) -> bool:
    """Tell by the beginning of a file whether it is a manifest."""
    try:
        if not path.is_file():  # a pipe that nobody writes to would be waited for
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return False
    return may_be_manifest(head) and _CONTEXT.encode() in head


@dataclass(frozen=True, slots=True)
class _Canvas:
    """A page of a manifest."""

    addresses: tuple[str, ...]
    """Where its image may be had, the largest first; an `info.json` stands for the sizes that it tells."""
    images: int = 0
    """How many make up the page; the first is read."""
    label: str = ""
    """What the library calls the page, such as `12r`; on one line."""


class IiifPages:
    """The canvases of a manifest, in the order of its first sequence; images are fetched when asked for."""

    def __init__(self, content: bytes, config: ReadConfig, policy: WebPolicy, name: str) -> None:
        """Read a manifest; an `ImageError` if it is none, has no canvas, or its images must not be asked for."""
        self._config = config
        self._canvases, self.title = _read_manifest(content, name)
        self._last: tuple[int, bytes] | None = None
        if policy.allow == "off":
            hint = "set read.web.allow=named to let its images be fetched from the hosts that it names"
            message = f"{name}: is a IIIF manifest, its images are on the web, and read.web.allow is off"
            raise ImageError(message, hint=hint)
        self.labels = tuple(canvas.label for canvas in self._canvases)
        self._policy = policy.naming({address for canvas in self._canvases for address in canvas.addresses})

    def __len__(self) -> int:
        """Count the canvases."""
        return len(self._canvases)

    def render(self, index: int, where: str) -> UInt8Image:
        """Fetch and decode the image of a canvas."""
        canvas = self._canvases[index]
        if canvas.images > 1:
            log.warning("%s: is made up of %d images, and only the first is read", where, canvas.images)
        failure = ImageError("the canvas has no image", hint="skip the page, or tell the library")
        for number, address in enumerate(self._places(canvas)):
            try:
                content = self._fetch(address)
                pages = open_pages(Opening("picture", content, self._config, where))
                try:
                    image = pages.render(0, where)
                finally:
                    pages.close()
                self._last = (index, content)
                return image
            except UnidentifiedImageError:
                error = ImageError(f"{printable(address)}: is not an image that can be read")
            except ImageError as found:
                error = found
            failure = failure if number else error
        raise ImageError(f"{where}: {failure.message}", hint=failure.hint)

    def _places(self, canvas: _Canvas) -> Iterator[str]:
        for address in canvas.addresses:
            if not address.endswith(_INFO):
                yield address
                continue
            try:
                yield from _listed_sizes(address.removesuffix(_INFO), _load(self._fetch(address)))
            except (ImageError, ValueError, RecursionError) as error:
                log.info("%s: has no list of sizes: %s", printable(address), printable(str(error)))

    def _fetch(self, address: str) -> bytes:
        from quillread.images.exchange import fetch  # most readings need nothing of the web

        return fetch(address, self._config.web, self._policy)

    def paper_size(self, index: int) -> None:
        """Manifests say nothing of it."""

    def fetched(self, index: int) -> Fetched | None:
        """The image of a canvas as it was fetched, if it is that of the page decoded last."""
        last = self._last
        return Fetched(last[1], 0) if last is not None and last[0] == index else None

    def jpeg(self, index: int) -> bytes | None:
        """Content of a JPEG file that shows a page just as `render` gave it, if it is the page decoded last."""
        file = self.fetched(index)
        return None if file is None else PicturePages(file.content, self._config, heif=False).jpeg(0)

    def close(self) -> None:
        """Nothing is open."""


def _load(content: bytes) -> Any:
    if len(content) > MOST_BYTES:
        raise ValueError(f"{len(content):,} bytes are too many")
    if (objects := content.count(b"{") + content.count(b"[")) > _MOST_OBJECTS:
        raise ValueError(f"{objects:,} objects and lists are too many")
    return json.loads(content.decode("utf-8-sig"))


def _read_manifest(content: bytes, name: str) -> tuple[tuple[_Canvas, ...], str]:
    """Return the canvases of a manifest, and its label."""
    try:
        data = _load(content)
        context = json.dumps(data.get("@context")) if isinstance(data, dict) else ""
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{name}: cannot be read as JSON: {error}", hint="download the manifest again") from error
    if _CONTEXT not in context:
        raise ImageError(
            f"{name}: is JSON, but not a IIIF manifest", hint="images, PDFs and IIIF manifests can be read"
        )
    if "Collection" in _text(data, "type", "@type"):
        hint = "name one of its manifests"
        raise ImageError(f"{name}: is a IIIF collection, not a manifest", hint=hint)
    version_2 = next(iter(_dicts(data.get("sequences"))), {})
    older, newer = _dicts(version_2.get("canvases")), _dicts(data.get("items"))
    if len(older) + len(newer) > _MOST_PAGES:
        message = f"{name}: has {len(older) + len(newer):,} pages, more than the limit of {_MOST_PAGES:,}"
        raise ImageError(message, hint="check the manifest")
    canvases = [*map(_version_2, older), *map(_version_3, newer)]
    if not canvases:
        raise ImageError(f"{name}: is a IIIF manifest without pages", hint="check the address")
    return tuple(canvases), _label(data.get("label"))


def _version_2(canvas: dict[str, Any]) -> _Canvas:
    return _canvas([annotation.get("resource") for annotation in _dicts(canvas.get("images"))], canvas.get("label"))


def _version_3(canvas: dict[str, Any]) -> _Canvas:
    annotations = [note for page in _dicts(canvas.get("items")) for note in _dicts(page.get("items"))]
    return _canvas([note.get("body") for note in annotations if _paints(note)], canvas.get("label"))


def _paints(annotation: dict[str, Any]) -> bool:
    """Tell whether an annotation shows the page; comments and transcriptions do not."""
    motivation = annotation.get("motivation", "painting")
    motivations = motivation if isinstance(motivation, list) else [motivation]
    return any(isinstance(each, str) and each.endswith("painting") for each in motivations)


def _label(value: Any) -> str:
    """The first text of a label: a string, one of a language (version 2), or lists of them by language (version 3)."""
    while isinstance(value, dict | list) and value:
        value = value.get("@value", next(iter(value.values()))) if isinstance(value, dict) else value[0]
    return " ".join(value.split())[:_LONGEST_LABEL] if isinstance(value, str) else ""


def _canvas(bodies: list[Any], label: Any) -> _Canvas:
    """Where the image of a canvas may be had: of its service in full size, or else as it is named."""
    images = [found for found in map(_find_image, bodies) if found]
    if not images:
        return _Canvas((), label=_label(label))
    image, selector = images[0]
    named = _text(image, "id", "@id")
    services = _resources(image.get("service"))
    found = [address for service in services for address in _service_addresses(service, selector)]
    if not found or not _region(selector):
        found.append(named)
    addresses = tuple(dict.fromkeys(address for address in found if is_address(address)))
    return _Canvas(addresses, len(images), _label(label))


def _find_image(body: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return an image, of several to choose from the first, and what selects a part of it (empty for all of it)."""
    selector: dict[str, Any] = {}
    while True:
        resources = [item for item in _resources(body) if _text(item, "type", "@type") not in _NO_IMAGES]
        if not resources:
            return None
        inner = next((item for name in _INNER if _resources(item := resources[0].get(name))), None)
        if inner is None:
            return resources[0], selector
        selector = next(iter(_dicts(resources[0].get("selector"))), selector)
        body = inner


def _service_addresses(service: dict[str, Any], selector: dict[str, Any]) -> list[str]:
    """Where an image service has an image, or the selected part of it, in full size.

    A service of version 2 that limits the size refuses `full`, and gives its largest as `max`, or as the largest width
    that its description tells. One of level 0 may have nothing but the sizes that its description lists.
    """
    base = _text(service, "id", "@id").rstrip("/")
    kind = f"{_text(service, 'type', '@type')} {service.get('@context')} {service.get('profile')}"
    region = _region(selector) or "full"
    rotation = _text(selector, "rotation")
    turned = rotation if _ROTATION.fullmatch(rotation) else "0"
    if "ImageService1" in kind or "/image-api/1" in kind or "/image/1" in kind:
        return [f"{base}/{region}/full/{turned}/native.jpg"]
    is_third = "ImageService3" in kind or "/image/3" in kind
    sizes = ["max"] if is_third else ["full", "max"]
    found = [f"{base}/{region}/{size}/{turned}/default.jpg" for size in sizes]
    return [*found, base + _INFO] if region == "full" else found


def _listed_sizes(base: str, description: Any) -> list[str]:
    """Where a service has an image in the largest size that its description tells."""
    if not isinstance(description, dict):
        return []
    sizes = [(size.get("width"), size.get("height")) for size in _dicts(description.get("sizes"))]
    known = [(width, height) for width, height in sizes if isinstance(width, int) and isinstance(height, int)]
    if not known:
        told = [description, *_dicts(description.get("profile"))]  # version 3, version 2
        most = next((item["maxWidth"] for item in told if "maxWidth" in item), None)
        return [f"{base}/full/{most},/0/default.jpg"] if isinstance(most, int) else []
    width, height = max(known)
    # Version 3 demands the height, version 2 mostly goes without it.
    is_third = "/image/3" in str(description.get("@context")) or description.get("type") == "ImageService3"
    forms = [f"{width},{height}"] if is_third else [f"{width},", f"{width},{height}"]
    return [f"{base}/full/{form}/0/default.jpg" for form in forms]


def _region(selector: dict[str, Any]) -> str:
    """Return the part of an image that a selector takes, as image services write it; empty if that is all of it."""
    region = _text(selector, "region")
    value = _text(selector, "value")
    if value.startswith("xywh="):
        region = value.removeprefix("xywh=").removeprefix("pixel:").replace("percent:", "pct:")
    return region if _REGION.fullmatch(region) else ""


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a value that may be one, several or none: manifests do not keep to one form."""
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, dict)]


def _resources(value: Any) -> list[dict[str, Any]]:
    """The resources of a value that may be one, several or none; a bare address is a resource, too."""
    values = value if isinstance(value, list) else [value]
    return _dicts([{"id": item} if isinstance(item, str) and is_address(item) else item for item in values])


def _text(data: dict[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := data.get(name), str)), "")
