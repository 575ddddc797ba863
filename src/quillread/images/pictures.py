"""Image files, decoded by Pillow and its HEIF plugin."""

import io
import threading
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from quillread.errors import ImageError
from quillread.images.document import DAMAGED, FAULTS, ReadConfig, check_size
from quillread.types import UInt8Image

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "JPEG2000")
_LEAST_DPI, _MOST_DPI = 100.0, 2400.0


class QuietPillow:
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


quiet_pillow = QuietPillow()


class PicturePages:
    """Pages of a file that Pillow (or its HEIF plugin) decodes, opened afresh for each page.

    A damaged page thus leaves no state behind for the next one.
    """

    def __init__(self, source: Path | bytes, config: ReadConfig, *, heif: bool) -> None:
        """Look at the file's headers; raises any of `FAULTS`."""
        self._source = source
        self._heif = heif
        self._max_pixels = config.max_pixels
        with quiet_pillow, self._open() as image:
            self._frames = _tiff_frames(image) if image.format == "TIFF" else [image.tell()]

    def __len__(self) -> int:
        """Count the pages: frames of a TIFF, else one."""
        return len(self._frames)

    def render(self, index: int, where: str) -> UInt8Image:
        """Decode a page, upright."""
        with quiet_pillow, self._open() as image:
            if index > 0:
                image.seek(self._frames[index])
            check_size(*image.size, self._max_pixels, where, "scan at a lower resolution, or raise read.max_pixels")
            image.load()
            return _to_rgb(_turn_upright(image))

    def paper_size(self, index: int) -> tuple[float, float] | None:
        """Tell the size from the resolution that a scanner wrote; cameras write 72 or 96 dpi, which say nothing."""
        with quiet_pillow, self._open() as image:
            if index > 0:
                image.seek(self._frames[index])
            across, down = (float(value) for value in image.info.get("dpi", (0, 0)))
            if not all(_LEAST_DPI <= value <= _MOST_DPI for value in (across, down)):
                return None
            width, height = image.width / across * 72, image.height / down * 72
            return (height, width) if _turn_of(image) in _SIDEWAYS else (width, height)

    def jpeg(self, index: int) -> bytes | None:
        """Give the file itself if it is a JPEG that need not be turned."""
        with quiet_pillow, self._open() as image:
            if image.format != "JPEG" or image.mode not in ("L", "RGB") or _turn_of(image) is not None:
                return None
        return self._source if isinstance(self._source, bytes) else self._source.read_bytes()

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


def picture_pixels(image: Image.Image) -> UInt8Image:
    """Turn an opened Pillow image into a page as files become pages: upright, uint8 RGB (H, W, 3), on white.

    Raises:
        ImageError: If it cannot be decoded.
    """
    try:
        with quiet_pillow:
            return _to_rgb(_turn_upright(image))
    except FAULTS as error:
        raise ImageError(f"the picture cannot be decoded: {error or type(error).__name__}", hint=DAMAGED) from error


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
        except FAULTS:
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
