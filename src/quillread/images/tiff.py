"""TIFF files: which frames are pages, how large they are as stored, and which kinds cannot be read."""

import io
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from quillread.errors import ImageError
from quillread.images.document import FAULTS
from quillread.images.quiet import quiet_pillow, silence_libtiff

_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How files begin, the latter two those of BigTIFF."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLE_FORMAT = 256, 257, 258, 259, 262, 339
_NEW_SUBFILE, _SUBFILE, _SAMPLES_PER_PIXEL, _PLANAR = 254, 255, 277, 284
_REDUCED, _MASK = 1, 4
_SAMPLES = {1: "integer", 2: "signed integer", 3: "float", 5: "complex integer", 6: "complex float"}
_COLOURS = {
    0: "grey, min is white", 1: "grey", 2: "RGB", 3: "palette", 4: "a mask", 5: "CMYK", 6: "YCbCr", 8: "Lab",
    9: "ICC Lab", 10: "ITU Lab", 32803: "camera raw", 32844: "LogL", 32845: "LogLuv", 34892: "linear camera raw",
}  # fmt: skip


class Frame(NamedTuple):
    """A frame that is a page."""

    number: int
    pixels: int
    """How many; 0 if it cannot be opened."""


def list_pages(image: Image.Image) -> list[Frame]:
    """List the frames of an opened TIFF that are pages.

    A frame that cannot be opened is a page. A reduced copy of another or a transparency mask is not, unless the file
    holds nothing else.
    """
    silence_libtiff()
    pages: list[Frame] = []
    first = Frame(0, image.width * image.height)
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
        if broken or not _is_auxiliary(tags_of(image)):
            pages.append(Frame(index, 0 if broken else image.width * image.height))
        index += 1
    return pages or [first]


def tags_of(image: Image.Image) -> ImageFileDirectory_v2:
    """Return the tags of the frame that is open."""
    tags: ImageFileDirectory_v2 = image.tag_v2  # type: ignore[attr-defined]
    return tags


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Return width and height as stored; Pillow's own size is that of the upright image, in some versions."""
    tags = tags_of(image)
    return int(tags[_WIDTH]), int(tags[_HEIGHT])


def is_min_white(image: Image.Image) -> bool:
    """Tell whether 0 is white; Pillow heeds that where a sample has up to 8 bits."""
    return tags_of(image).get(_PHOTOMETRIC) == 0


def is_unsigned(image: Image.Image) -> bool:
    """Tell whether samples of 32 bits are without sign, as they mostly are; Pillow gives them as signed."""
    return tags_of(image).get(_BITS) == (32,) and tags_of(image).get(_SAMPLE_FORMAT, (1,)) == (1,)


def refuse_deep_planes(image: Image.Image, where: str) -> None:
    """Refuse colours of 16 bits that are stored one plane after the other: Pillow takes them for something else."""
    tags = tags_of(image)
    is_deep = tags.get(_PLANAR) == 2 and tags.get(_SAMPLES_PER_PIXEL, 1) > 1 and max(tags.get(_BITS, (1,))) > 8
    if is_deep:
        raise _unsupported(where, f"{_in_words(tags)}, in planes")


def _unsupported(where: str, kind: str) -> ImageError:
    hint = "save it as 8-bit grey or RGB, uncompressed or with LZW"
    return ImageError(f"{where}: is a TIFF of a kind that is not supported: {kind}", hint=hint)


def unsupported_tiff(source: Path | bytes, frame: int, where: str) -> ImageError | None:
    """Explain why a frame that Pillow cannot open is not read; None if the file is not a TIFF, or is damaged."""
    try:
        with quiet_pillow, io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
            head = file.read(16)
            if head[:4] not in _HEADS:
                return None
            tags = ImageFileDirectory_v2(head if head[2] == 43 else head[:8])
            for _ in range(frame + 1):
                file.seek(tags.next)
                tags.load(file)
            kind = _in_words(tags)
    except FAULTS:
        return None
    return _unsupported(where, kind) if kind else None


def _in_words(tags: Any) -> str | None:
    """Such as "64-bit float samples, grey, compression 1"; None if the tags make no sense."""
    width, height, bits = tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0), tags.get(_BITS, (1,))
    if not (isinstance(width, int) and isinstance(height, int) and width * height > 0 and 0 < max(bits) <= 128):
        return None
    sample = _SAMPLES.get(tags.get(_SAMPLE_FORMAT, (1,))[0], "untyped")
    colour = tags.get(_PHOTOMETRIC, 0)
    kinds = "/".join(str(number) for number in sorted(set(bits)))
    colours = _COLOURS.get(colour, f"photometric {colour}")
    return f"{kinds}-bit {sample} samples, {colours}, compression {tags.get(_COMPRESSION, 1)}"


def _is_auxiliary(tags: Any) -> bool:
    """Heed the tag of today and the one before it (1 the page itself, 2 a reduced copy, 3 one of several pages)."""
    return bool(tags.get(_NEW_SUBFILE, 0) & (_REDUCED | _MASK)) or tags.get(_SUBFILE) == 2
