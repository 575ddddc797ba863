"""Good pictures that Pillow refuses: a PNG whose metadata are over its limits, a JPEG that lacks its end mark."""

import io
import struct
from collections.abc import Iterator

from PIL import Image, ImageChops

PNG_HEAD = b"\x89PNG\r\n\x1a\n"
_METADATA = (b"iTXt", b"zTXt", b"tEXt", b"iCCP")
_END_OF_JPEG = b"\xff\xd9"
_MORE_BITS = bytes(range(1, 255)) * 4
"""Read as pixels by a decoder that still waits for some."""


def without_metadata(png: bytes) -> bytes:
    """Drop the texts and the colour profile of a PNG; its resolution, EXIF data and pixels stay."""
    return PNG_HEAD + b"".join(chunk for kind, chunk in _png_chunks(png) if kind not in _METADATA)


def _png_chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and bytes of each chunk: its length (32 bits, big-endian), name, content and checksum."""
    at = len(PNG_HEAD)
    while at + 8 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        yield kind, png[at : at + length + 12]
        at += length + 12


def with_end(jpeg: bytes) -> bytes:
    """Give a JPEG its end mark if it lacks it."""
    return jpeg if jpeg.endswith(_END_OF_JPEG) else jpeg.rstrip(b"\xff") + _END_OF_JPEG  # half of it may be there


def load_without_end(jpeg: bytes) -> Image.Image | None:
    """Decode a JPEG that lacks its end mark, if nothing else is missing.

    Whether pixels are missing shows when bits are added where the file ends: a decoder that has read all pixels skips
    them, one that waits for more takes them for pixels.

    Args:
        jpeg: Content of a file that a decoder finds too short.

    Returns:
        The decoded image; None if pixels are missing.
    """
    whole = jpeg.rstrip(b"\xff")
    image = Image.open(io.BytesIO(with_end(whole)), formats=("JPEG",))
    image.load()
    with Image.open(io.BytesIO(whole + _MORE_BITS + _END_OF_JPEG), formats=("JPEG",)) as longer:
        try:
            differs = ImageChops.difference(image.convert("RGB"), longer.convert("RGB")).getbbox() is not None
        except OSError:
            return None
    return None if differs else image
