"""A page as the line-finding network sees it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.types import UInt8Image

LONG_SIDE = 1024
"""Pixels of the longer side of what the network sees; smaller pages are not enlarged."""


@dataclass(frozen=True, slots=True)
class PageView:
    """A reduced page."""

    grey: NDArray[np.uint8]
    """uint8 (h, w): the darkest channel, which shows coloured ink best."""
    scale: tuple[float, float]
    """Pixels of the page for one of the view, in x and y."""


def view_page(image: UInt8Image, long_side: int = LONG_SIDE) -> PageView:
    """Reduce a page, uint8 RGB (H, W, 3), not empty."""
    height, width = image.shape[:2]
    factor = min(1.0, long_side / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    reduced = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return PageView(reduced.min(axis=2), (width / size[0], height / size[1]))


def page_pixels(grey: NDArray[np.uint8], multiple: int) -> NDArray[np.float32]:
    """Make the input of the network: darkness as a share of the paper's brightness, padded with paper.

    Args:
        grey: uint8 (h, w).
        multiple: What the sides are padded to a multiple of, at the right and the bottom.

    Returns:
        float32 (H, W), paper near 0 and ink up to 1.
    """
    paper = max(32.0, float(np.percentile(grey, 80)))
    darkness = np.maximum(1 - grey.astype(np.float32) / paper, -0.25)
    bottom, right = (-side % multiple for side in grey.shape)
    return np.pad(darkness, ((0, bottom), (0, right))).astype(np.float32)
