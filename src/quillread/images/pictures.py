"""Image files, decoded by Pillow and its HEIF plugin; those that are written."""

import io
import logging
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageChops

from quillread.errors import ImageError
from quillread.files import AtomicFile, naming
from quillread.images.document import DAMAGED, FAULTS, ReadConfig, check_size
from quillread.images.quiet import quiet_pillow
from quillread.images.tiff import (
    Frame,
    is_min_white,
    is_unsigned,
    list_pages,
    refuse_deep_planes,
    stored_size,
    unsupported_tiff,
)
from quillread.types import UInt8Image

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000")
_LEAST_DPI, _MOST_DPI = 100.0, 2400.0
_DEEP = "IF"
"""How the modes of 16 and 32-bit integers and of floats begin."""
_WHITES = {"I": [2.0**bits - 1 for bits in (8, 10, 12, 14, 16)], "F": [1.0, 255.0, 65535.0]}
_BAND_PIXELS = 1 << 22
_PIXEL_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
"""Of Pillow's modes; 4 of all others."""
_MANY_PIXELS = 64_000_000
_GIF_PIXELS = 4096
"""Pixels that a byte of a GIF stands for at most; Pillow takes those that are missing for black."""
_MANY_SCANS = 64
"""A progressive JPEG mostly has 10; each goes over all pixels."""
_PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_METADATA = (b"iTXt", b"zTXt", b"tEXt", b"iCCP")
_END_OF_JPEG = b"\xff\xd9"
_MORE_BITS = bytes(range(1, 255)) * 4
"""Read as pixels by a decoder that still waits for some."""

log = logging.getLogger(__name__)
Result = TypeVar("Result")


class PicturePages:
    """Pages of a file that Pillow (or its HEIF plugin) decodes, opened afresh for each page.

    A damaged page thus leaves no state behind for the next one.
    """

    def __init__(self, source: Path | bytes, config: ReadConfig, *, heif: bool) -> None:
        """Look at the file's headers; raises any of `FAULTS`."""
        self._source = source
        self._heif = heif
        self._config = config
        self.is_heavy = False
        """Whether decoding a page may take much memory or time."""
        self._is_trimmed = False
        self._frames = self._trimming(self._list_frames)

    def __len__(self) -> int:
        """Count the pages: frames of a TIFF, else one."""
        return len(self._frames)

    def render(self, index: int, where: str) -> UInt8Image:
        """Decode a page, upright."""
        return self._trimming(lambda: self._decode(index, where))

    def size(self, index: int) -> tuple[int, int]:
        """Width and height in pixels of the upright page, from its header."""
        with self._open(self._frames[index]) as image:
            columns, rows = _stored_size(image)
            return (rows, columns) if _turn_of(image) in _SIDEWAYS else (columns, rows)

    def paper_size(self, index: int) -> tuple[float, float] | None:
        """Tell the size from the resolution that a scanner wrote; cameras write 72 or 96 dpi, which say nothing."""
        with self._open(self._frames[index]) as image:
            self._check_size(image, "")
            across, down = (float(value) for value in image.info.get("dpi", (0, 0)))
            if not all(_LEAST_DPI <= value <= _MOST_DPI for value in (across, down)):
                return None
            columns, rows = _stored_size(image)
            width, height = columns / across * 72, rows / down * 72
            return (height, width) if _turn_of(image) in _SIDEWAYS else (width, height)

    def jpeg(self, index: int) -> bytes | None:
        """Give the file itself if it is a JPEG that need not be turned."""
        with self._open() as image:
            if image.format != "JPEG" or image.mode not in ("L", "RGB") or _turn_of(image) is not None:
                return None
        return _with_end(self._content())

    def close(self) -> None:
        """Nothing stays open between pages."""

    def _list_frames(self) -> list[int]:
        with self._open() as image:
            frames = list_pages(image) if image.format == "TIFF" else [Frame(image.tell(), image.width * image.height)]
            is_slow = image.format == "JPEG2000" or ("progressive" in image.info and self._count_scans() > _MANY_SCANS)
            self.is_heavy = is_slow or max(frame.pixels for frame in frames) > _MANY_PIXELS
            return [frame.number for frame in frames]

    def _count_scans(self) -> int:
        return self._content().count(b"\xff\xda")  # nothing else in a JPEG looks like that

    def _decode(self, index: int, where: str) -> UInt8Image:
        with ExitStack() as stack:
            try:
                image = stack.enter_context(self._open(self._frames[index]))
            except FAULTS as error:
                raise unsupported_tiff(self._source, self._frames[index], where) or error from error
            self._check_size(image, where)
            if image.format == "GIF" and image.width * image.height > _GIF_PIXELS * self._byte_count():
                message = f"{where}: {image.width} x {image.height} pixels cannot come of {self._byte_count():,} bytes"
                raise ImageError(message, hint=DAMAGED)
            greys = _greys_of(image)
            if image.format == "TIFF":
                refuse_deep_planes(image, where)
            try:
                image.load()
            except OSError:
                whole = _load_without_end(self._content()) if image.format == "JPEG" else None
                if whole is None:
                    raise
                log.warning("%s: the file lacks its end; its pixels are all there", where)
                image = whole
            return _to_rgb(_turn_upright(image), greys)

    def _check_size(self, image: Image.Image, where: str) -> None:
        hint = "scan at a lower resolution"
        check_size(*image.size, _memory_for(image, turned=False), self._config, where, hint)
        # Only now: for the EXIF data of a PNG, which may come last, Pillow decodes all of it.
        check_size(*image.size, _memory_for(image, turned=_turn_of(image) is not None), self._config, where, hint)

    def _byte_count(self) -> int:
        return len(self._source) if isinstance(self._source, bytes) else self._source.stat().st_size

    def _content(self) -> bytes:
        return self._source if isinstance(self._source, bytes) else self._source.read_bytes()

    def _trimming(self, action: Callable[[], Result]) -> Result:
        """Do it; once more without metadata where Pillow refuses a PNG because of them."""
        try:
            return action()
        except ValueError:
            if self._is_trimmed or not (content := self._content()).startswith(_PNG_HEAD):
                raise
            self._source, self._is_trimmed = _without_metadata(content), True
            return action()

    @contextmanager
    def _open(self, frame: int = 0) -> Iterator[Image.Image]:
        with quiet_pillow, ExitStack() as stack:
            # Not a path: Pillow would map the file to memory, in which it mistakes rows of a turned TIFF for columns.
            content: BinaryIO = io.BytesIO(self._source) if isinstance(self._source, bytes) else self._source.open("rb")
            file = stack.enter_context(content)
            image = stack.enter_context(_open_heif(file) if self._heif else Image.open(file, formats=_FORMATS))
            if frame > 0:
                image.seek(frame)
            yield image


def _without_metadata(png: bytes) -> bytes:
    """Drop the texts and the colour profile of a PNG; its resolution, EXIF data and pixels stay."""
    return _PNG_HEAD + b"".join(chunk for kind, chunk in _png_chunks(png) if kind not in _METADATA)


def _png_chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and bytes of each chunk: its length (32 bits, big-endian), name, content and checksum."""
    at = len(_PNG_HEAD)
    while at + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        yield kind, png[at : at + length + 12]
        at += length + 12


def _with_end(jpeg: bytes) -> bytes:
    """Give a JPEG its end mark if it lacks it."""
    return jpeg if jpeg.endswith(_END_OF_JPEG) else jpeg.rstrip(b"\xff") + _END_OF_JPEG  # half of it may be there


def _load_without_end(jpeg: bytes) -> Image.Image | None:
    """Decode a JPEG that lacks its end mark, if nothing else is missing.

    Whether pixels are missing shows when bits are added where the file ends: a decoder that has read all pixels skips
    them, one that waits for more takes them for pixels.

    Args:
        jpeg: Content of a file that a decoder finds too short.

    Returns:
        The decoded image; None if pixels are missing.
    """
    whole = jpeg.rstrip(b"\xff")
    image = Image.open(io.BytesIO(_with_end(whole)), formats=("JPEG",))
    image.load()
    with Image.open(io.BytesIO(whole + _MORE_BITS + _END_OF_JPEG), formats=("JPEG",)) as longer:
        try:
            differs = ImageChops.difference(image.convert("RGB"), longer.convert("RGB")).getbbox() is not None
        except OSError:
            return None
    return None if differs else image


def _open_heif(file: BinaryIO) -> Image.Image:
    # Importing costs time and memory that most users need not spend; registering would change Pillow.
    from pi_heif import HeifImageFile

    image: Image.Image = HeifImageFile(file)
    return image


def read_size(source: Path | bytes, index: int = 0) -> tuple[int, int]:
    """Return width and height in pixels of a picture's page as `PicturePages` gives it, from its header.

    Raises:
        ImageError: If it has none that can be read.
    """
    try:
        return PicturePages(source, ReadConfig(), heif=False).size(index)
    except FAULTS as error:
        raise ImageError(f"the size of the image cannot be read: {error}") from error


def picture_pixels(image: Image.Image) -> UInt8Image:
    """Turn an opened Pillow image into a page as files become pages: upright, uint8 RGB (H, W, 3), on white.

    Raises:
        ImageError: If it cannot be decoded.
    """
    try:
        with quiet_pillow:
            return _to_rgb(_turn_upright(image), _greys_of(image))
    except FAULTS as error:
        raise ImageError(f"the picture cannot be decoded: {error or type(error).__name__}", hint=DAMAGED) from error


_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {_TURNS[number] for number in (5, 6, 7, 8)}


def _turn_upright(image: Image.Image) -> Image.Image:
    turn = _turn_of(image)
    return image if turn is None else image.transpose(turn)


def _turn_of(image: Image.Image) -> Image.Transpose | None:
    """Look up the EXIF orientation; unreadable EXIF data is not a reason to refuse a good picture."""
    try:
        return _TURNS.get(image.getexif().get(0x0112, 1))
    except FAULTS:
        return None


def _stored_size(image: Image.Image) -> tuple[int, int]:
    return stored_size(image) if image.format == "TIFF" else image.size


class _Greys(NamedTuple):
    """What the greys of 16 bits and more that Pillow gives stand for."""

    are_inverted: bool = False
    """0 is white."""
    are_unsigned: bool = False
    """They have 32 bits, of which Pillow takes the first for a sign."""


def _greys_of(image: Image.Image) -> _Greys:
    """Tell what deep greys stand for, which is known as long as an image has its file."""
    if image.format != "TIFF" or image.mode[0] not in _DEEP:
        return _Greys()
    return _Greys(is_min_white(image), image.mode == "I" and is_unsigned(image))


def _memory_for(image: Image.Image, *, turned: bool) -> int:
    """Bytes that the pixels of an image and of the page take at most at a time."""
    stored = _PIXEL_BYTES.get(image.mode, 4) * image.width * image.height
    return stored + max(3 * image.width * image.height, stored if turned else 0)


def _to_rgb(image: Image.Image, greys: _Greys) -> UInt8Image:
    """Bring any mode to uint8 RGB: deep greys by the range of their format, transparency over white.

    Large images are converted in bands, so that no second copy of all pixels is made on the way.
    """
    is_deep = image.mode[0] in _DEEP
    white = _white_of(image, greys) if is_deep else 0.0
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, band in _bands(image):
        grey = _deep_to_grey(_values(band, greys), white) if is_deep else None
        if grey is not None:
            pixels[top : top + band.height] = (255 - grey if greys.are_inverted else grey)[:, :, None]
        else:
            pixels[top : top + band.height] = _band_to_rgb(band)
    return pixels


def _values(band: Image.Image, greys: _Greys) -> np.ndarray[Any, Any]:
    """Give the deep greys of a band, none of them less than 0 and all finite."""
    values: np.ndarray[Any, Any] = np.asarray(band)
    if greys.are_unsigned:
        return values.view(np.uint32)
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(np.maximum(values, 0))


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Cut an image into bands of rows; yields the first row of each, and the band."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _band_to_rgb(band: Image.Image) -> UInt8Image:
    if band.has_transparency_data:
        layer = band.convert("RGBA")
        band = Image.new("RGB", layer.size, "white")
        band.paste(layer, mask=layer.getchannel("A"))
    return np.asarray(band.convert("RGB"))


def _white_of(image: Image.Image, greys: _Greys) -> float:
    """Find the value that stands for white in an image of 16 or 32-bit integers or floats.

    The first that no value exceeds is taken: of integers, the largest of 8, 10, 12, 14 and 16 bits (few-bit values in
    wider files); of floats, 1, 255 and 65535; else the largest value.
    """
    peak = max(float(_values(band, greys).max()) for _, band in _bands(image))
    return next((white for white in _WHITES[image.mode[0]] if peak <= white), peak)


def _deep_to_grey(values: np.ndarray[Any, Any], white: float) -> UInt8Image:
    """Scale 16-bit, 32-bit and float greys to uint8, shape kept."""
    if values.dtype.kind == "f" or white >= 1 << 16:
        return np.asarray(np.clip(values * (255.0 / white) + 0.5, 0, 255), np.uint8)
    return np.asarray(values >> (round(np.log2(white + 1)) - 8), np.uint8)


def write_png(picture: UInt8Image, path: Path, told: Callable[[Path, str], None] | None = None) -> None:
    """Write an image so that it is there whole or not at all; see `AtomicFile` for `told`.

    Raises:
        OutputError: If it cannot be written; a file that stood there before is then left as it was.
    """
    part = AtomicFile(path, told)
    try:
        with naming(path):
            Image.fromarray(picture).save(part.file, "PNG")
        part.commit()
    finally:
        part.discard()
