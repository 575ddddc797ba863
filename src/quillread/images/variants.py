"""The same line image a little sheared, narrowed or widened: readings of all of them vote."""

from dataclasses import dataclass

import cv2
import numpy as np

from quillread.types import UInt8Image

_VARIANTS = ((0.0, 1.0), (0.15, 1.0), (-0.15, 1.0), (0.0, 0.93), (0.0, 1.07), (0.07, 1.0), (-0.07, 1.0))
"""Shear and stretch in width, the most useful first; the first is the image itself."""

MOST_VARIANTS = len(_VARIANTS)


@dataclass(frozen=True, slots=True)
class Variant:
    """How a line image is changed."""

    shear: float
    """Pixels to the right for each pixel up."""
    stretch: float
    """Width as a multiple."""


def variants(count: int) -> list[Variant]:
    """The first `count` variants, at most `MOST_VARIANTS`."""
    return [Variant(*values) for values in _VARIANTS[:count]]


def vary(image: UInt8Image, variant: Variant) -> UInt8Image:
    """Change a line image, uint8 RGB (H, W, 3); what is uncovered is filled with its paper. Only the width changes."""
    if variant == Variant(0.0, 1.0):
        return image
    height, width = image.shape[:2]
    reach = abs(variant.shear) * height
    shift = reach if variant.shear > 0 else 0.0
    # The top goes to the right where the shear is above 0; the left end of the writing stays within the image.
    matrix = np.array([[variant.stretch, -variant.shear, shift], [0, 1, 0]], np.float64)
    size = (max(1, round(width * variant.stretch + reach)), height)
    paper = np.percentile(image.reshape(-1, 3), 80, axis=0).tolist()
    method = cv2.INTER_AREA if variant.stretch < 1 else cv2.INTER_LINEAR
    changed = cv2.warpAffine(image, matrix, size, flags=method, borderMode=cv2.BORDER_CONSTANT, borderValue=paper)
    return np.asarray(changed, np.uint8)
