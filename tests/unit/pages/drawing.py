"""Synthetic pages for the tests of the line finder."""

import cv2
import numpy as np

from quillread.pages.segment import Layout
from quillread.types import Line, Polygon, UInt8Image

TEXTS = [
    "the quick brown fox jumps",
    "over lazy dogs in June",
    "packing five dozen jugs",
    "of liquid every night",
]


def blank_page(width: int = 1000, height: int = 800) -> UInt8Image:
    return np.full((height, width, 3), 245, np.uint8)


def write(page: UInt8Image, text: str, x: int, y: int, scale: float = 1.4) -> None:
    cv2.putText(page, text, (x, y), cv2.FONT_HERSHEY_COMPLEX, scale, (40, 30, 90), 2, cv2.LINE_AA)


def write_page(first: int = 140, pitch: int = 100, lines: int = 6) -> tuple[UInt8Image, list[int]]:
    """A page of lines and the heights of their baselines."""
    page = blank_page()
    heights = [first + pitch * index for index in range(lines)]
    for index, height in enumerate(heights):
        write(page, TEXTS[index % len(TEXTS)], 120, height)
    return page, heights


def lines_of(layout: Layout) -> list[Line]:
    return [line for region in layout.regions for line in region.lines]


def baseline_heights(layout: Layout) -> list[float]:
    return [float(np.mean([y for _, y in line.baseline])) for line in lines_of(layout)]


def fill(polygon: Polygon, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.rint(polygon.points).astype(np.int32)], 1)
    return mask > 0


def box_line(x0: float, y0: float, x1: float, y1: float) -> Line:
    return Line(((x0, y1), (x1, y1)), Polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1))))
