"""Line finders by name."""

import importlib
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


SEGMENTERS = {"classical": "quillread.pages.classical:ClassicalSegmenter"}
"""Name -> "module:class"; the class is called without arguments for its default settings."""


def load_segmenter(name: str) -> Segmenter:
    """Build a line finder with its default settings.

    Raises:
        UsageError: If no line finder has that name.
    """
    if name not in SEGMENTERS:
        raise UsageError(f"unknown line finder {name!r}{suggest(name, list(SEGMENTERS))}")
    module, _, attribute = SEGMENTERS[name].partition(":")
    return cast(Segmenter, getattr(importlib.import_module(module), attribute)())
