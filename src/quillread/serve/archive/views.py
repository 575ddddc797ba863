"""How browsers see pages: a JPEG of the upright page, its thumbnail, and parts of it in any size."""

import io
import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from quillread.errors import ImageError
from quillread.images.quiet import quiet_pillow
from quillread.types import UInt8Image

THUMBNAIL = (320, 640)
"""Width and height within which a thumbnail fits."""
_MOST_SIDE = 65_500
"""Of a JPEG, in pixels."""
_VIEW_QUALITY = 90
_PART_QUALITY = 80
_DECODERS = 2
"""Pages that are decoded at a time: a page of 50 megapixels takes 150 MB, and there are 40 threads."""


@dataclass(frozen=True, slots=True)
class View:
    """What browsers are shown of a page."""

    jpeg: bytes
    """In the pixels of the page."""
    thumbnail: bytes
    width: int
    height: int


def make_view(image: UInt8Image, jpeg: bytes | None) -> View:
    """Make what browsers are shown of a page.

    Args:
        image: The upright page, uint8 RGB, shape (H, W, 3).
        jpeg: Content of a JPEG file with just these pixels, if the page comes of one.

    Raises:
        ImageError: If it is larger than a JPEG can be.
    """
    height, width = image.shape[:2]
    if max(width, height) > _MOST_SIDE:
        message = f"{width} x {height} pixels are too many: browsers show {_MOST_SIDE:,} on a side"
        raise ImageError(message, hint="cut the page into several")
    is_grey = bool(np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 1], image[..., 2]))
    picture = Image.fromarray(np.ascontiguousarray(image[..., 0]) if is_grey else image)
    jpeg = jpeg or _encode(picture, _VIEW_QUALITY)
    picture.thumbnail(THUMBNAIL, reducing_gap=2.0)
    return View(jpeg, _encode(picture, _PART_QUALITY), width, height)


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a page in whole pixels."""

    x: int
    y: int
    width: int
    height: int


class ViewCache:
    """Gives parts of pages in any size, and keeps the pages decoded last. Threads share it.

    A page that is shown smaller is decoded smaller, which a JPEG allows for halves, quarters and eighths.

    Args:
        most_bytes: Of decoded pages; the last one is kept whatever its size.
    """

    def __init__(self, most_bytes: int = 100_000_000) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, int], Image.Image] = OrderedDict()
        self._lock = threading.Lock()
        self._turns: dict[tuple[str, int], threading.Lock] = {}
        self._decoders = threading.Semaphore(_DECODERS)

    def part(self, path: Path, name: str, box: Box, width: int, height: int) -> bytes:
        """Cut a part out of a page and scale it.

        Args:
            path: JPEG of the page.
            name: By which it is kept: that of its content.
            box: Within the page.
            width: Of the answer.
            height: Of the answer.

        Returns:
            A JPEG.
        """
        smaller = max(1, min(box.width // max(1, width), box.height // max(1, height), 8))
        scale = 1 << int(math.log2(smaller))
        picture, across, down = self._decoded(path, name, scale)
        left, top = box.x / across, box.y / down
        right = min(left + box.width / across, picture.width)
        bottom = min(top + box.height / down, picture.height)
        shown = picture.resize((width, height), Image.Resampling.LANCZOS, (left, top, right, bottom), reducing_gap=2.0)
        return _encode(shown, _PART_QUALITY)

    def pixels(self, path: Path, name: str, box: Box) -> UInt8Image:
        """Cut a part out of a page as it is: uint8 RGB, shape (box.height, box.width, 3).

        Args:
            path: JPEG of the page.
            name: By which it is kept: that of its content.
            box: Within the page.
        """
        picture, _, _ = self._decoded(path, name, 1)
        return np.array(picture.crop((box.x, box.y, box.x + box.width, box.y + box.height)).convert("RGB"))

    def _decoded(self, path: Path, name: str, scale: int) -> tuple[Image.Image, float, float]:
        key = (name, scale)
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:  # tiles of a page are asked for together: one decodes, the others wait
            with self._lock:
                picture = self._kept.get(key)
                if picture is not None:
                    self._kept.move_to_end(key)
            if picture is None:
                with self._decoders:
                    picture = _decode(path, scale)
                self._keep(key, picture)
        full: tuple[int, int] = picture.info["full_size"]
        return picture, full[0] / picture.width, full[1] / picture.height

    def _keep(self, key: tuple[str, int], picture: Image.Image) -> None:
        with self._lock:
            self._kept[key] = picture
            total = sum(_byte_count(kept) for kept in self._kept.values())
            while total > self._most_bytes and len(self._kept) > 1:
                oldest, dropped = self._kept.popitem(last=False)
                self._turns.pop(oldest, None)
                total -= _byte_count(dropped)


def _decode(path: Path, scale: int) -> Image.Image:
    # How large a page may be was decided when it was imported.
    with quiet_pillow, path.open("rb") as file, Image.open(file, formats=("JPEG",)) as image:
        full = image.size
        if scale > 1:
            image.draft(None, (max(1, full[0] // scale), max(1, full[1] // scale)))
        image.load()
        picture = image.convert("L" if image.mode == "L" else "RGB")
    picture.info["full_size"] = full
    return picture


def _byte_count(picture: Image.Image) -> int:
    return picture.width * picture.height * (4 if picture.mode == "RGB" else 1)  # Pillow pads RGB to 4 bytes


def _encode(picture: Image.Image, quality: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality, icc_profile=None, exif=b"")
    return file.getvalue()
