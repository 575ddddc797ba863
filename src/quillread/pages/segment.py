"""Line finders by name."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from quillread.config import suggest
from quillread.errors import UsageError
from quillread.models.catalog import file_digest
from quillread.models.page import SHIPPED_NETWORK
from quillread.types import Region, UInt8Image
from quillread.version import __version__


@dataclass(frozen=True, slots=True)
class Layout:
    """The lines of a page."""

    regions: tuple[Region, ...] = ()
    """In reading order, each with its lines in reading order; pixels of the page image."""
    notes: tuple[str, ...] = ()
    """What was seen and skipped, and why, for people."""


class Segmenter(Protocol):
    """Finds the lines of writing on a page."""

    def __call__(self, image: UInt8Image) -> Layout:
        """Find the lines of a page.

        Args:
            image: One page, uint8 RGB, shape (H, W, 3).

        Returns:
            The regions; none for a page without writing, which is not an error. Baselines run in the direction of
            reading along the feet of the letters; polygons hold the ink of their own line, ascenders and descenders
            included, with a margin of a few pixels.

        Raises:
            ImageError: If `image` is not uint8 (H, W, 3).
        """


SEGMENTERS = {
    "neural": "quillread.pages.neural:open_network",
    "neural-all": "quillread.pages.neural:find_everything",
    "neural-handwriting": "quillread.pages.neural:find_handwriting",
    "classical": "quillread.pages.classical:open_classical",
}
"""Name -> "module:name"; what has that name is called with the number of `threads`."""


def load_segmenter(name: str, threads: int = 0) -> Segmenter:
    """Build a line finder with its default settings.

    Args:
        name: A name of `SEGMENTERS`, or an ONNX file of `quill train-segmenter`.
        threads: CPU threads; 0 for all cores.

    Raises:
        UsageError: If no line finder has that name.
        ModelError: If the file is missing or damaged.
    """
    if name.endswith(".onnx"):
        from quillread.pages.neural import open_network  # only who names a file waits for onnxruntime here

        return open_network(Path(name), threads=threads)
    if name not in SEGMENTERS:
        raise UsageError(
            f"unknown line finder {name!r}{suggest(name, list(SEGMENTERS))}",
            hint=f"name one of {', '.join(SEGMENTERS)}, or an .onnx file of quill train-segmenter",
        )
    module, _, attribute = SEGMENTERS[name].partition(":")
    return cast(Segmenter, getattr(importlib.import_module(module), attribute)(threads=threads))


def segmenter_content(name: str) -> str:
    """Tell what a line finder is by its content: SHA-256 of its network, and what it does with it beside the usual.

    One without a network is known by the version of this package.

    Raises:
        ModelError: If its file cannot be read.
    """
    if name == "classical":
        return __version__
    if name.endswith(".onnx"):
        return file_digest(Path(name))
    return file_digest(SHIPPED_NETWORK) + ("" if name == "neural" else f" {name}")
