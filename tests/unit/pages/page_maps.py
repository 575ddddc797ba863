"""What a perfect network would mark: the maps of lines that are known."""

import numpy as np
from numpy.typing import NDArray

from quillread.pages.ink import Floats
from quillread.train.finder.page_samples import PageSample, TargetLine, draw_targets


def line(x0: float, x1: float, y: float, body: float = 16, printed: bool = False) -> TargetLine:
    return TargetLine(np.array([(x0, y), (x1, y)], np.float64), body, printed)


def maps_of(lines: list[TargetLine], height: int = 416, width: int = 608) -> Floats:
    """The maps of a view of that size."""
    maps, _ = draw_targets(PageSample(np.zeros((height, width), np.uint8), lines))
    return maps.astype(np.float32)


class PerfectNetwork:
    """Marks known lines, whatever it is shown, and says how pages are turned.

    Args:
        lines: In pixels of the view, for the page as it stands upright.
        turns: What it says of the pages that it is shown, one after the other; upright in the end.
    """

    def __init__(self, lines: list[TargetLine], turns: tuple[int, ...] = ()) -> None:
        self._lines, self._turns = lines, list(turns)
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, pixels: NDArray[np.float32]) -> tuple[Floats, NDArray[np.float32]]:
        self.shapes.append(pixels.shape)
        turn = np.full(4, 0.02, np.float32)
        turn[self._turns.pop(0) if self._turns else 0] = 0.94
        return maps_of(self._lines, *pixels.shape), turn
