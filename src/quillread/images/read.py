"""Open image files and PDFs and give their pages one at a time, as uint8 RGB."""

import io
import struct
import threading
import warnings
import zlib
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from PIL import Image, UnidentifiedImageError

from quillread.errors import ConfigError, ImageError
from quillread.types import UInt8Image

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2")
_SUFFIXES = (*_IMAGE_SUFFIXES, ".heic", ".heif", ".hif", ".pdf")
_SUPPORTED = "JPEG, PNG, TIFF, PDF, HEIC, WebP, JPEG 2000, BMP and GIF files can be read"
_DAMAGED = "the file is damaged or cut off: copy, export or scan it again"

# Decoders document no closed list of what they raise on a damaged file; these are the ones they do raise.
_BAD_VALUES = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError)
_FAULTS = (OSError, SyntaxError, EOFError, RuntimeError, MemoryError, struct.error, zlib.error, *_BAD_VALUES)


@dataclass(frozen=True, slots=True)
class ReadConfig:
    """How files become page images."""

    pdf_dpi: int = 300
    """Resolution at which PDF pages are rendered, 36 to 1200; a page that is one scan is never enlarged."""

    max_pixels: int = 200_000_000
    """Pages with more pixels are refused before they are decoded."""

    def __post_init__(self) -> None:
        if not 36 <= self.pdf_dpi <= 1200:
            raise ConfigError(f"read.pdf_dpi must be 36 to 1200, got {self.pdf_dpi}")
        if self.max_pixels < 1:
            raise ConfigError(f"read.max_pixels must be at least 1, got {self.max_pixels}")


class _Pages(Protocol):
    """What `Document` needs of one kind of file; `render` may raise any of `_FAULTS`."""

    def __len__(self) -> int: ...

    def render(self, index: int, where: str) -> UInt8Image: ...

    def close(self) -> None: ...


class Document:
    """The pages of one file; a context manager, as a PDF stays open between its pages.

    Pages are decoded when asked for and not kept. Threads may share a document.
    """

    def __init__(self, name: str, pages: _Pages) -> None:
        """Made by `open_document`."""
        self.name = name
        self._pages = pages

    def __len__(self) -> int:
        """Count the pages; a page that cannot be decoded counts."""
        return len(self._pages)

    def page(self, index: int) -> UInt8Image:
        """Decode one page, upright, on white where it is transparent.

        Args:
            index: From 0.

        Returns:
            uint8 RGB, shape (H, W, 3).

        Raises:
            ImageError: If this page is damaged or too large; others may still be read.
            IndexError: If there is no such page.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} pages, there is no page index {index}")
        where = self.name if len(self) == 1 else f"{self.name}, page {index + 1}"
        try:
            return self._pages.render(index, where)
        except _FAULTS as error:
            detail = str(error) or type(error).__name__
            raise ImageError(f"{where}: cannot be decoded: {detail}", hint=_DAMAGED) from error

    def close(self) -> None:
        """Release the file."""
        self._pages.close()

    def __enter__(self) -> Self:
        """Return the document itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the file."""
        self.close()


def open_document(source: Path | bytes, config: ReadConfig | None = None, *, name: str | None = None) -> Document:
    """Open an image file or PDF; its content decides what it is, never its name.

    A multi-page TIFF and a PDF have all their pages (a TIFF's reduced copies left out), other files have one:
    the first frame of an animation, the main picture of a HEIC.

    Args:
        source: A path, or the content of a file.
        config: Resolution and size limit; the defaults if left out.
        name: How errors name the document; the path if left out.

    Raises:
        ImageError: If there is no such file, it is empty, encrypted, without pages, or no image or PDF.
    """
    config = config or ReadConfig()
    name = name or (str(source) if isinstance(source, Path) else "image")
    head = _read_head(source, name)
    if head.startswith(b"%PDF-"):
        return Document(name, _PdfPages(source, config, name))
    heif = head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS
    try:
        return Document(name, _ImagePages(source, config, heif=heif))
    except UnidentifiedImageError as error:
        if b"%PDF-" in head:  # readers accept some bytes before the header, so such files are about
            return Document(name, _PdfPages(source, config, name))
        raise ImageError(f"{name}: is not an image or PDF that can be read", hint=_SUPPORTED) from error
    except _FAULTS as error:
        raise ImageError(f"{name}: cannot be opened as an image: {error}", hint=_DAMAGED) from error


def is_readable_name(path: Path) -> bool:
    """Tell whether a file found in a folder looks like a page, by its suffix; hidden files do not."""
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")


def _read_head(source: Path | bytes, name: str) -> bytes:
    if isinstance(source, bytes):
        head = source[:1024]
    elif source.is_dir():
        raise ImageError(f"{name}: is a folder, not a file", hint="name the files in it")
    elif not source.exists():
        raise ImageError(f"{name}: no such file", hint="check the path")
    elif not source.is_file():
        raise ImageError(f"{name}: is not a regular file", hint="save its content to a file first")
    else:
        try:
            with source.open("rb") as file:
                head = file.read(1024)
        except OSError as error:
            raise ImageError(f"{name}: cannot be read: {error.strerror}", hint="check its permissions") from error
    if not head:
        raise ImageError(f"{name}: is empty (0 bytes)", hint="copy or export it again")
    return head


def _check_size(width: int, height: int, limit: int, where: str, hint: str) -> None:
    if width * height > limit:
        raise ImageError(f"{where}: {width} x {height} pixels are more than the limit of {limit:,} pixels", hint=hint)


class _QuietPillow:
    """While it is entered, Pillow neither warns nor applies its own pixel limit (ours is checked instead).

    Both are settings of the whole process, so entries are counted: the first one in any thread changes them,
    the last one out puts them back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries = 0
        self._undo = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._entries == 0:
                self._undo.enter_context(warnings.catch_warnings())
                warnings.filterwarnings("ignore", module=r"PIL\.")
                self._undo.callback(setattr, Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
                Image.MAX_IMAGE_PIXELS = None
            self._entries += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._entries -= 1
            if self._entries == 0:
                self._undo.close()


_quiet_pillow = _QuietPillow()


class _ImagePages:
    """Pages of a file that Pillow (or its HEIF plugin) decodes, opened afresh for each page.

    A damaged page thus leaves no state behind for the next one.
    """

    def __init__(self, source: Path | bytes, config: ReadConfig, *, heif: bool) -> None:
        self._source = source
        self._heif = heif
        self._max_pixels = config.max_pixels
        with _quiet_pillow, self._open() as image:
            self._frames = _tiff_frames(image) if image.format == "TIFF" else [image.tell()]

    def __len__(self) -> int:
        return len(self._frames)

    def render(self, index: int, where: str) -> UInt8Image:
        with _quiet_pillow, self._open() as image:
            if index > 0:
                image.seek(self._frames[index])
            _check_size(*image.size, self._max_pixels, where, "scan at a lower resolution, or raise read.max_pixels")
            image.load()
            return _to_rgb(_turn_upright(image))

    def close(self) -> None:
        """Nothing stays open between pages."""

    def _open(self) -> Image.Image:
        # The opener closes paths itself: a file handed over as an object would stay open on an error.
        file: Any = io.BytesIO(self._source) if isinstance(self._source, bytes) else self._source
        if self._heif:
            # Importing costs time and memory that most users need not spend; registering would change Pillow.
            from pi_heif import HeifImageFile

            image: Image.Image = HeifImageFile(file)
            return image
        return Image.open(file, formats=_FORMATS)


def _tiff_frames(image: Image.Image) -> list[int]:
    """List the frames that are pages: one that cannot be opened is, a reduced copy of another is not."""
    pages: list[int] = []
    broken = 0
    index = 0
    while broken < 2:  # some faults leave the decoder at the same place for ever
        try:
            image.seek(index)
            broken = 0
        except EOFError:
            break
        except _FAULTS:
            broken += 1
        reduced = not broken and image.tag_v2.get(254, 0) & 1  # type: ignore[attr-defined]
        if not reduced:
            pages.append(index)
        index += 1
    return pages


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turn_upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; unreadable EXIF data is no reason to refuse a good picture."""
    try:
        turn = _TURNS.get(image.getexif().get(0x0112, 1))
    except _FAULTS:
        turn = None
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> UInt8Image:
    """Bring any mode to uint8 RGB: deep greys by the range of their format, transparency over white."""
    if image.mode[0] in "IF":
        grey = _deep_to_grey(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    return np.array(image.convert("RGB"))


def _deep_to_grey(values: np.ndarray[Any, Any]) -> UInt8Image:
    """Scale 16-bit, 32-bit and float greys to uint8, shape kept.

    A 32-bit integer image whose values all fit in 16 bits is taken for a 16-bit one (Pillow widens those).
    A float image has no range of its own: the first of 1, 255 and 65535 that holds all its values is white.
    """
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        peak = float(values.max())
        white = next((white for white in (1.0, 255.0, 65535.0) if peak <= white), peak)
        values = np.clip(values * (255.0 / white) + 0.5, 0, 255)
        return np.asarray(values, np.uint8)
    shift = 8 if values.max() <= 0xFFFF else 23  # 31 bits: Pillow's 32-bit integers are signed
    return np.asarray(np.maximum(values, 0) >> shift, np.uint8)


# PDFium may be called by one thread at a time, whichever documents the calls are about.
_pdfium_lock = threading.Lock()


class _PdfPages:
    """Pages of a PDF, rendered by PDFium."""

    def __init__(self, source: Path | bytes, config: ReadConfig, name: str) -> None:
        # Importing loads a large library that image files do not need.
        import pypdfium2

        self._source = source  # PDFium keeps a pointer into bytes
        self._config = config
        with _pdfium_lock:
            self._pdf = pypdfium2.PdfDocument(_load_pdf(source, name))
            self._count = len(self._pdf)

    def __len__(self) -> int:
        return self._count

    def render(self, index: int, where: str) -> UInt8Image:
        with _pdfium_lock, ExitStack() as stack:
            page = self._pdf[index]
            stack.callback(page.close)
            scale = min(self._config.pdf_dpi / 72, _scan_scale(page))
            width, height = (round(points * scale) for points in page.get_size())
            fitting = int(72 * scale * (self._config.max_pixels / max(1, width * height)) ** 0.5)
            hint = f"set read.pdf_dpi to {fitting} or less, or raise read.max_pixels"
            _check_size(width, height, self._config.max_pixels, f"{where}: at {72 * scale:.0f} dpi", hint)
            bitmap = page.render(scale=scale, rev_byteorder=True)
            stack.callback(bitmap.close)
            image: UInt8Image = bitmap.to_numpy().copy()  # the bitmap's memory goes with it
            return image

    def close(self) -> None:
        with _pdfium_lock:
            self._pdf.close()


def _load_pdf(source: Path | bytes, name: str) -> Any:
    """Open a PDF by PDFium's own functions: pypdfium2's cannot tell one without pages from a broken one."""
    from pypdfium2 import raw

    if isinstance(source, bytes):
        pdf = raw.FPDF_LoadMemDocument64(source, len(source), None)
    else:
        pdf = raw.FPDF_LoadDocument(str(source).encode("utf-8", "surrogateescape"), None)
    if not pdf and raw.FPDF_GetLastError() == raw.FPDF_ERR_PASSWORD:
        raise ImageError(f"{name}: is encrypted", hint="save a copy without the password and read that")
    if not pdf:
        raise ImageError(f"{name}: is a broken PDF", hint=_DAMAGED)
    if raw.FPDF_GetPageCount(pdf) < 1:
        raw.FPDF_CloseDocument(pdf)
        raise ImageError(f"{name}: is a PDF without pages", hint="export it again")
    return pdf


def _scan_scale(page: Any) -> float:
    """Return the pixels per point of a page that is one scan, infinity for other pages.

    Scanning apps often write pages of 72 dpi: at 300, a photo would become 17 times as large and no clearer.
    Text is allowed beside the scan, as it is usually the invisible layer of an earlier recognition.
    """
    from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE, FPDF_PAGEOBJ_TEXT

    scan = None
    for item in page.get_objects(max_depth=1):
        if item.type == FPDF_PAGEOBJ_TEXT:
            continue
        if item.type != FPDF_PAGEOBJ_IMAGE or scan is not None:
            return float("inf")
        scan = item
    if scan is None:
        return float("inf")
    left, bottom, right, top = scan.get_bounds()
    area = (right - left) * (top - bottom)
    width, height = page.get_size()
    if area < 0.8 * width * height:
        return float("inf")
    columns, rows = scan.get_px_size()
    # The renderer rounds up: a rounding error here must not cost a resampling by one pixel.
    return float((columns * rows / area) ** 0.5) * (1 - 1e-6)
