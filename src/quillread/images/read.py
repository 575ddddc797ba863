"""Open image files, PDFs and IIIF manifests and give their pages one at a time, as uint8 RGB."""

from pathlib import Path
from typing import BinaryIO

from PIL import UnidentifiedImageError

from quillread.errors import ImageError
from quillread.images.document import DAMAGED, FAULTS, Document, Fetched, ReadConfig
from quillread.images.iiif import MOST_BYTES, IiifPages, may_be_manifest
from quillread.images.opening import Opening, open_pages
from quillread.images.tiff import unsupported_tiff
from quillread.images.web import WebConfig, WebPolicy, is_address, parse_address

__all__ = ["Document", "ReadConfig", "is_readable_name", "open_document", "read_stream"]

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2")
_SUFFIXES = (*_IMAGE_SUFFIXES, ".heic", ".heif", ".hif", ".pdf")
_MOST_STREAM = 500_000_000
_SUPPORTED = "JPEG, PNG, TIFF, PDF, HEIC, WebP, JPEG 2000, BMP and GIF files and IIIF manifests can be read"


def open_document(source: Path | bytes | str, config: ReadConfig | None = None, *, name: str | None = None) -> Document:
    """Open an image file, PDF or IIIF manifest; its content decides what it is, never its name.

    A multi-page TIFF, a PDF and a manifest have all their pages (without a TIFF's reduced copies), other files have
    one: the first frame of an animation, the main picture of a HEIC. The web is asked for nothing but an address given
    here and the images of its manifest, within `config.web`; the images of a manifest in a file or in bytes are
    fetched only if `config.web.allow` is set to `named` or `any`.

    Args:
        source: A path, the content of a file, or an address of the web.
        config: Resolution, size limit and whom of the web may be asked; the defaults if not given.
        name: How errors name the document; the path or address if not given.

    Raises:
        ImageError: If there is no such file, it is empty, encrypted, without pages, or of another kind, or the web must
            not be asked for it.
    """
    config = config or ReadConfig()
    name = name or ("image" if isinstance(source, bytes) else str(source))
    policy = _web_policy(source, config.web)
    whole: bytes | None = None

    def fetched(index: int) -> Fetched | None:
        return None if whole is None else Fetched(whole, index)

    if isinstance(source, str) and is_address(source):
        source = whole = _fetch(source, config.web, policy)
    elif isinstance(source, str):
        source = Path(source)
    head = _read_head(source, name)
    if head.startswith(b"%PDF-"):
        return Document(name, open_pages(Opening("pdf", source, config, name)), fetched=fetched)
    if may_be_manifest(head):
        pages = IiifPages(_read_whole(source, name), config, policy, name)
        return Document(name, pages, pages.labels, title=pages.title, fetched=pages.fetched)
    heif = head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS
    try:
        opening = Opening("heif" if heif else "picture", source, config, name)
        return Document(name, open_pages(opening), fetched=fetched)
    except UnidentifiedImageError as error:
        if b"%PDF-" in head:  # readers accept some bytes before the header, so such files are about
            return Document(name, open_pages(Opening("pdf", source, config, name)), fetched=fetched)
        plain = ImageError(f"{name}: is not an image or PDF that can be read", hint=_SUPPORTED)
        raise unsupported_tiff(source, 0, name) or plain from error
    except FAULTS as error:
        if unsupported := unsupported_tiff(source, 0, name):
            raise unsupported from error
        raise ImageError(f"{name}: cannot be opened as an image: {error}", hint=DAMAGED) from error


def read_stream(file: BinaryIO, name: str) -> bytes:
    """Read an open file, such as a pipe, to its end.

    Raises:
        ImageError: If it does not end within the bytes that may come through a pipe.
    """
    parts, left = [], _MOST_STREAM + 1
    while left > 0 and (part := file.read(left)):
        parts.append(part)
        left -= len(part)
    if left <= 0:
        message = f"{name}: does not end within the {_MOST_STREAM / 1e6:,.0f} MB that may come through a pipe"
        raise ImageError(message, hint="save it to a file and name that")
    return b"".join(parts)


def is_readable_name(path: Path) -> bool:
    """Tell whether a file found in a folder looks like a page, by its suffix; hidden files do not."""
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def _web_policy(source: Path | bytes | str, config: WebConfig) -> WebPolicy:
    """Decide whom the web may be asked for: somebody meant an address, nobody need have meant what a file names."""
    given = parse_address(source) if isinstance(source, str) and is_address(source) else None
    allow = config.allow or ("named" if given else "off")
    return WebPolicy(allow, given) if given is None or config.private else WebPolicy(allow).naming([str(given)])


def _fetch(address: str, config: WebConfig, policy: WebPolicy) -> bytes:
    from quillread.images.exchange import fetch  # most readings need nothing of the web

    return fetch(address, config, policy)


def _read_head(source: Path | bytes, name: str) -> bytes:
    head = source[:1024] if isinstance(source, bytes) else _read_start(source, name)
    if not head:
        raise ImageError(f"{name}: is empty (0 bytes)", hint="copy or export it again")
    return head


def _read_start(path: Path, name: str) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(f"{name}: is a folder, not a file", hint="name the files in it")
        if not path.exists():
            raise ImageError(f"{name}: no such file", hint="check the path")
        if not path.is_file():
            raise ImageError(f"{name}: is not a regular file", hint="save its content to a file first")
        with path.open("rb") as file:
            return file.read(1024)
    except OSError as error:  # a name that no file system takes is one, too
        raise ImageError(f"{name}: cannot be read: {error.strerror}", hint="check its permissions") from error


def _read_whole(source: Path | bytes, name: str) -> bytes:
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        if size <= MOST_BYTES:
            return source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise ImageError(f"{name}: cannot be read: {error.strerror}", hint="check its permissions") from error
    raise ImageError(f"{name}: is not an image, and {size:,} bytes are too many for a manifest", hint=_SUPPORTED)
