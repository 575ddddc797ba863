"""Grey levels of an image: grey itself, percentiles, the colour of the paper."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import ImageError
from quillread.types import UInt8Image

_GROUND_SIDE, _GROUND_REACH = 900, 41
"""Longer side of the copy on which the ground is looked for, and how far around it is, in pixels of the copy."""
_DARK, _CONTRAST = 140, 20
_LEAST_WRITING = 0.004
_ONE_SIDED = 8

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


def as_rgb(image: NDArray[np.uint8]) -> UInt8Image:
    """Give an image its three channels: uint8 RGB (H, W, 3) as it is, grey (H, W) or (H, W, 1) repeated.

    Raises:
        ImageError: If the image is empty or of another form.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.size == 0:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(f"an image must be uint8 and not empty, got {got}")
    grey = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if grey.ndim == 2:
        return np.repeat(grey[:, :, None], 3, axis=2)
    if grey.ndim == 3 and grey.shape[2] == 3:
        return image
    raise ImageError(f"an image must have the shape (H, W, 3) or (H, W), got {image.shape}")


def darkest_channel(image: UInt8Image) -> GreyImage:
    """The least of the channels of each pixel of uint8 RGB (H, W, 3), in which coloured ink shows best.

    Blue on white is nearly white in luminance.
    """
    red, green, blue = cv2.split(image)
    return np.asarray(cv2.min(cv2.min(red, green), blue), np.uint8)


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


def as_positive(image: UInt8Image) -> UInt8Image:
    """Turn a negative into dark writing on a light ground; any other image is returned itself."""
    return np.asarray(255 - image, np.uint8) if is_negative(image) else image


def is_negative(image: NDArray[np.uint8]) -> bool:
    """Tell whether an image shows light writing on a dark ground: a negative, a photostat, a blueprint.

    Writing deviates from the ground around it to one side. On 102 pages of four collections, what is brighter than
    its ground was at most 0.4 times as much as what is darker; on their negatives it was 16 times as much, but for one
    page. A small sheet on a black table reached 6.

    Args:
        image: uint8 RGB (H, W, 3) or grey (H, W).

    Raises:
        ImageError: If the image is empty or of another form.
    """
    step = max(1, max(image.shape[:2]) // (_GROUND_SIDE // 2))
    if grey_percentiles(to_grey(np.ascontiguousarray(image[::step, ::step])), (50.0,))[0] >= _DARK:
        return False  # as most are
    scale = max(1.0, max(image.shape[:2]) / _GROUND_SIDE)
    size = (max(1, round(image.shape[1] / scale)), max(1, round(image.shape[0] / scale)))
    grey = to_grey(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8))
    ground = cv2.medianBlur(grey, _GROUND_REACH)
    brighter, darker = cv2.subtract(grey, ground), cv2.subtract(ground, grey)
    if float((brighter > _CONTRAST).mean()) < _LEAST_WRITING:
        return False
    beyond = [float(cv2.subtract(side, _CONTRAST).mean()) for side in (brighter, darker)]
    return beyond[0] > _ONE_SIDED * beyond[1]
