"""Grey levels of an image: grey itself, percentiles, the colour of the paper."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import ImageError

GreyImage = NDArray[np.uint8]
"""uint8 grey, shape (H, W), 255 is white."""


def to_grey(image: NDArray[np.uint8]) -> GreyImage:
    """Reduce uint8 RGB (H, W, 3) or grey (H, W) to grey (H, W).

    Raises:
        ImageError: If the image is empty or of another form.
    """
    if image.dtype != np.uint8 or image.size == 0:
        raise ImageError(f"a line image must be uint8 and not empty, got {image.dtype} {image.shape}")
    if image.ndim == 2:
        return image
    if image.ndim == 3 and image.shape[2] == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    raise ImageError(f"a line image must have the shape (H, W) or (H, W, 3), got {image.shape}")


def grey_percentiles(grey: GreyImage, percents: Sequence[float]) -> list[float]:
    """Percentiles of the grey levels of an image (H, W), as of `numpy.percentile`, in a fraction of its time."""
    counts = cv2.calcHist([grey], [0], None, [256], [0, 256]).ravel().cumsum(dtype=np.float64)
    levels = []
    for percent in percents:
        place = percent / 100 * (grey.size - 1)
        low = int(place)
        below, above = np.searchsorted(counts, (low, low + 1), side="right").tolist()
        levels.append(below + (place - low) * (min(above, 255) - below))
    return levels


def paper_level(image: NDArray[np.uint8]) -> tuple[float, ...]:
    """Brightness of the paper for each channel: the 75th percentile, as most of a line image is paper."""
    return tuple(grey_percentiles(channel, (75.0,))[0] for channel in cv2.split(image))
