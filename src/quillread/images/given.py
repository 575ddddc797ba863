"""Inputs as programs give them: arrays, Pillow images, open files, the content of files, paths."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from PIL import Image

from quillread.errors import ImageError, UsageError
from quillread.images.pictures import picture_pixels
from quillread.images.read import read_stream
from quillread.images.tones import as_rgb
from quillread.types import UInt8Image

Picture = UInt8Image | Image.Image | str | Path | bytes | bytearray | memoryview | BinaryIO
"""An image: an array, a Pillow image, a path, the content of a file, or an open file. Arrays are uint8 RGB (H, W, 3),
RGB with alpha (H, W, 4), grey (H, W) or (H, W, 1), or bool (H, W), where True is white."""


def name_of(source: Picture) -> str:
    """How results name an input that nobody named."""
    if isinstance(source, str | Path):
        return str(source)
    name = getattr(source, "name", None) or getattr(source, "filename", None)  # files, and pictures that Pillow opened
    return name if isinstance(name, str) else "-"


def given_pixels(source: Picture) -> UInt8Image | None:
    """The pixels of an array or a Pillow image as files become pages, uint8 RGB (H, W, 3); None for all else.

    Raises:
        ImageError: If an array is of another form, or an image cannot be decoded.
    """
    if isinstance(source, Image.Image):
        return picture_pixels(source)
    if not isinstance(source, np.ndarray):
        return None
    if source.dtype == np.bool_:
        return as_rgb(source.astype(np.uint8) * np.uint8(255))
    if source.dtype != np.uint8:
        raise ImageError(
            f"an image must be uint8, got {source.dtype} {source.shape}",
            hint="for values from 0 to 1: (image * 255).astype(numpy.uint8)",
        )
    if source.size and source.ndim == 3 and source.shape[2] == 4:
        return picture_pixels(Image.fromarray(source, "RGBA"))
    return as_rgb(source)


def given_several(sources: Iterable[Picture]) -> Iterable[Picture]:
    """Several images; a single one is a sequence too, of rows, letters or bytes.

    Raises:
        UsageError: If it is a single one.
    """
    if isinstance(sources, np.ndarray):
        is_one = sources.ndim < 3 or (sources.ndim == 3 and sources.shape[2] in (1, 3, 4))
    else:
        is_one = isinstance(sources, str | bytes | bytearray) or not isinstance(sources, Iterable)
    if is_one:
        raise UsageError("a list of images is needed here, and this is one", hint="put it into a list: [image]")
    return sources


def given_content(source: Picture) -> str | Path | bytes:
    """What a document is opened from, where it is not a picture in memory.

    Raises:
        UsageError: If it is nothing of the kind.
        ImageError: If an open file does not end within the bytes that may come through a pipe.
    """
    if isinstance(source, str | Path | bytes):
        return source
    if isinstance(source, bytearray | memoryview):
        return bytes(source)
    if isinstance(source, io.TextIOBase):
        raise UsageError("a file that is open for text holds no image", hint='open it with open(path, "rb")')
    if hasattr(source, "read"):
        return read_stream(cast(BinaryIO, source), name_of(source))
    raise UsageError(
        f"an input is a path, an image or an open file, got {type(source).__name__}",
        hint="several are read one by one: [reader.read(path) for path in paths]",
    )
