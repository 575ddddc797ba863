"""Line finders by name."""

import importlib
from pathlib import Path
from typing import Protocol, cast

from quillread.config import suggest
from quillread.errors import UsageError
from quillread.types import Region, UInt8Image


class Segmenter(Protocol):
    """Finds the lines of writing on a page."""

    def __call__(self, image: UInt8Image) -> tuple[Region, ...]:
        """Return the regions of a page in reading order, each with its lines in reading order.

        Args:
            image: One page, uint8 RGB, shape (H, W, 3).

        Returns:
            Regions in pixels of `image`; () for a page without writing, which is no error. Baselines run from
            left to right along the feet of the letters; polygons hold the ink of their own line, ascenders
            and descenders included, with a margin of a few pixels.

        Raises:
            ImageError: If `image` is not uint8 (H, W, 3).
        """


SEGMENTERS = {
    "neural": "quillread.pages.neural:NeuralSegmenter",
    "neural-all": "quillread.pages.neural:find_everything",
    "classical": "quillread.pages.classical:ClassicalSegmenter",
}
"""Name -> "module:name"; what has that name is called without arguments for its default settings."""


def load_segmenter(name: str) -> Segmenter:
    """Build a line finder with its default settings.

    Args:
        name: A name of `SEGMENTERS`, or an ONNX file of `quill train-segmenter`.

    Raises:
        UsageError: If no line finder has that name.
        ModelError: If the file is missing or damaged.
    """
    if name.endswith(".onnx"):
        from quillread.pages.neural import open_network  # only who names a file waits for onnxruntime here

        return open_network(Path(name))
    if name not in SEGMENTERS:
        raise UsageError(
            f"unknown line finder {name!r}{suggest(name, list(SEGMENTERS))}",
            hint=f"name one of {', '.join(SEGMENTERS)}, or an .onnx file of quill train-segmenter",
        )
    module, _, attribute = SEGMENTERS[name].partition(":")
    return cast(Segmenter, getattr(importlib.import_module(module), attribute)())
