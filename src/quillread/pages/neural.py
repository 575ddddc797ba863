"""The trained line finder: a network marks baselines, and each takes the ink that stands on it."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.models.page import SHIPPED_NETWORK, STRIDE, TURNS, PageBackend, PageView, page_pixels, view_page
from quillread.pages.bodies import Body, Owners, assign_ink, line_pitches
from quillread.pages.ink import Floats, find_ink
from quillread.pages.marks import Mark, drop_cut, drop_print, find_marks, is_small_print, join_marks
from quillread.pages.order import order_lines
from quillread.pages.outline import MIN_SIDE, Curves, baseline_points, check_page, keep_words, map_region, outline_ink
from quillread.types import Line, Polygon, Region, UInt8Image

log = logging.getLogger(__name__)

Network = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Pixels float32 (H, W) to maps float32 (4, H / 2, W / 2) and the probabilities of the turns, float32 (4,)."""

_MULTIPLE = 32
"""What the sides of the network's input are divisible by."""
_SURE = 0.5
"""Least probability at which a page is taken for turned."""
_REACH = 4.0
"""Widest gap within a line, in heights of small letters."""
_ABOVE, _BELOW = 0.7, 0.27
"""What belongs to a line above and below its baseline at least, in line distances."""
_MOST_ABOVE, _MOST_BELOW = 2.5, 0.95
"""The same in heights of small letters, where lines are far apart."""
_HIGHEST, _DEEPEST = 0.8, 0.35
"""How far its own ink belongs to it."""
_SMALL, _LARGER_VIEWS = 2.5, (1920, 3072)
"""Small letters lower than this, in pixels of the maps, are looked at again on larger views, of these longer sides."""
_GREY, _WRITTEN = 0.1, 0.05
"""Where nothing is found, a larger view is worth while if this share of the page is this dark, as small writing is."""
_SMALLEST_VIEW = 384
"""Where nothing is found, letters may be too large for the network, so a view of this side is tried."""

_INK = 1.5625
"""Resolution at which ink is looked at, over that of the view: 1,600 pixels for 1,024."""
_LEAST_INK, _THINNEST, _LOWEST = 0.5, 0.1, 0.6
"""Ink of the smallest line, over the square of its body; ink of the palest, over its body; height of the lowest, in
bodies."""


@dataclass(frozen=True, slots=True)
class NeuralConfig:
    """What the line finder skips."""

    keep_print: bool = False
    """Keep print that stands beside writing."""
    keep_cut: bool = False
    """Keep columns that the edge of the image cuts off, as those of the facing page in a photograph."""


def open_network(path: Path = SHIPPED_NETWORK, *, threads: int = 0) -> "NeuralSegmenter":
    """Build a line finder with the network of an ONNX file.

    Raises:
        ModelError: If it is missing or damaged.
    """
    return NeuralSegmenter(PageBackend(path, threads))


def find_everything(*, threads: int = 0) -> "NeuralSegmenter":
    """Build the line finder that skips nothing: neither print nor the cut lines of a facing page."""
    return NeuralSegmenter(PageBackend(SHIPPED_NETWORK, threads), NeuralConfig(keep_print=True, keep_cut=True))


class NeuralSegmenter:
    """Finds lines with a network of 1.2 million parameters, on pages turned by 90, 180 or 270 degrees too.

    The same page gives the same lines.

    Args:
        network: Marks lines; the one that ships if not given.
        config: The defaults if not given.
    """

    def __init__(self, network: Network | None = None, config: NeuralConfig | None = None) -> None:
        self._network = network or PageBackend(SHIPPED_NETWORK)
        self._config = config or NeuralConfig()

    def __call__(self, image: UInt8Image) -> tuple[Region, ...]:
        """Find the lines of one page; see `Segmenter`."""
        check_page(image)
        if min(image.shape[:2]) < MIN_SIDE:
            return ()
        view = view_page(image)
        maps, turns = self._network(page_pixels(view.grey, _MULTIPLE))
        quarters = int(turns.argmax())
        if quarters and turns[quarters] >= _SURE:
            upright = np.ascontiguousarray(np.rot90(image, -quarters))
            turned_view = view_page(upright)
            turned_maps, turns = self._network(page_pixels(turned_view.grey, _MULTIPLE))
            # Only if the network finds that page upright was it right about the first.
            if not turns.argmax():
                marks, view = self._look(upright, turned_view, turned_maps)
                return _find_lines(upright, view, marks, quarters, self._config)
        marks, view = self._look(image, view, maps)
        return _find_lines(image, view, marks, 0, self._config)

    def _look(self, image: UInt8Image, view: PageView, maps: Floats) -> tuple[list[Mark], PageView]:
        """Take the lines off the maps; look again at another size while letters are too small or too large for them."""
        marks = _take_marks(maps, view, self._config)
        for side in self._other_sides(image, view, marks):
            other = view_page(image, side)
            maps, _ = self._network(page_pixels(other.grey, _MULTIPLE))
            found = _take_marks(maps, other, self._config)
            if _amount(found, other) > _amount(marks, view):
                marks, view = found, other
            if marks and _body(marks) >= _SMALL:
                break
        return marks, view

    def _other_sides(self, image: UInt8Image, view: PageView, marks: list[Mark]) -> Iterator[int]:
        """Longer sides of the views that are worth another look."""
        seen, whole = max(view.grey.shape), max(image.shape[:2])
        if not marks and seen > _SMALLEST_VIEW:
            yield _SMALLEST_VIEW
        is_written = bool((page_pixels(view.grey, 1) > _GREY).mean() > _WRITTEN)
        if _body(marks) < _SMALL if marks else is_written:
            for side in _LARGER_VIEWS:
                if 1.25 * seen < min(side, whole):
                    seen = min(side, whole)
                    yield seen


def mark_baselines(view: PageView, network: Network) -> list[Line]:
    """Find the baselines of an upright page with the network alone: no ink is looked at, polygons have no area."""
    maps, _ = network(page_pixels(view.grey, _MULTIPLE))
    to_page = _maps_to_page(view)
    lines = []
    for mark in _take_marks(maps, view, NeuralConfig()):
        points = np.stack([mark.xs, mark.ys], axis=1) @ to_page[:2, :2].T + to_page[:2, 2]
        baseline = tuple((float(x), float(y)) for x, y in points)
        lines.append(Line(baseline, Polygon(baseline)))
    return lines


def _body(marks: list[Mark]) -> float:
    """Usual height of small letters, in pixels of the maps."""
    return float(np.median([mark.body for mark in marks]))


def _amount(marks: list[Mark], view: PageView) -> float:
    """Length of all lines, in widths of the page."""
    return float(sum(len(mark.xs) for mark in marks) / view.grey.shape[1])


def _take_marks(maps: Floats, view: PageView, config: NeuralConfig) -> list[Mark]:
    rows, columns = (-(-side // STRIDE) for side in view.grey.shape)
    maps = maps[:, :rows, :columns]
    marks = join_marks(find_marks(maps), maps[2], _REACH)
    if not config.keep_print:
        marks = drop_print(marks)
    if config.keep_cut:
        return marks
    kept = drop_cut(marks, columns)
    if len(kept) < len(marks):
        told = "%d lines that the edge of the image cuts off were skipped; segmenter=neural-all reads them"
        log.warning(told, len(marks) - len(kept))
    return kept


def _maps_to_page(view: PageView) -> NDArray[np.float64]:
    """Map of points on the maps to the page; (3, 3)."""
    to_page = np.diag([STRIDE * view.scale[0], STRIDE * view.scale[1], 1.0])
    # Pixel i of a map stands for i to i + 1.
    to_page[:2, 2] = to_page.diagonal()[:2] / 2
    return to_page


def _find_lines(
    image: UInt8Image, view: PageView, marks: list[Mark], quarters: int, config: NeuralConfig
) -> tuple[Region, ...]:
    """Give the marks of an upright page, which was turned by `quarters` before, their ink, and put them in order."""
    if not marks:
        return ()
    ink = find_ink(image, round(_INK * max(view.grey.shape)))
    to_mask = np.linalg.inv(np.vstack([ink.to_page, [0, 0, 1]])) @ _maps_to_page(view)
    bodies = [_follow(mark, to_mask, ink.mask.shape[1]) for mark in marks]
    size = image.shape[1], image.shape[0]
    # Lines are put in order where the page lies level.
    regions = order_lines([Line(feet, Polygon(rim)) for feet, rim in _draw_lines(ink.mask, bodies, config)])
    matrix = _turn_back(quarters, size) @ np.vstack([ink.to_page, [0, 0, 1]])
    size = size[::-1] if quarters % 2 else size
    return tuple(map_region(region, matrix[:2], size) for region in regions)


def _follow(mark: Mark, to_mask: NDArray[np.float64], width: int) -> Body:
    """Follow a baseline through every column of the ink mask."""
    points = np.stack([mark.xs, mark.ys], axis=1) @ to_mask[:2, :2].T + to_mask[:2, 2]
    # The bars at the ends of a line take a pixel of its baseline with them.
    slack = float(to_mask[0, 0])
    first, last = int(max(0, points[0, 0] - slack)), int(min(width - 1, points[-1, 0] + slack))
    xs = np.arange(first, max(first + 1, last) + 1, dtype=np.float32)
    height = mark.body * float(np.hypot(*to_mask[:2, 1]))
    feet = np.interp(xs, points[:, 0], points[:, 1]).astype(np.float32)
    feet = cv2.blur(feet.reshape(1, -1), (2 * round(height) + 1, 1), borderType=cv2.BORDER_REPLICATE).ravel()
    return Body(xs, feet - np.float32(height), feet)


def _draw_lines(mask: NDArray[np.uint8], bodies: list[Body], config: NeuralConfig) -> list[Curves]:
    """Return baseline and polygon of each line in pixels of the mask."""
    pitches = line_pitches(bodies)
    owners = assign_ink(mask, bodies, float(np.median(pitches)))
    usual = 0.0 if config.keep_print else float(np.median([body.height for body in bodies]))
    numbered = enumerate(zip(bodies, pitches, strict=True), start=1)
    drawn = (_draw_line(owners, number, body, pitch, usual) for number, (body, pitch) in numbered)
    return [curves for curves in drawn if curves]


def _draw_line(owners: Owners, number: int, body: Body, pitch: float, usual: float) -> Curves | None:
    """Return baseline and polygon of a line, or nothing if its ink is too little for a word, or is small print.

    The polygon holds a band along the line about as high as lines are apart, whosever ink is in it, and what of the
    line's own ink stands out of that by a little. A recogniser reads through the feet of the line above, but neither
    what is left of letters that were cut, nor a line that swashes make twice as high.
    """
    # Whatever of the line stands further out than this is left behind.
    reach = round(1.5 * pitch)
    top, left = max(0, int(body.tops.min()) - reach), max(0, int(body.xs[0]) - reach)
    window = owners[top : int(body.feet.max()) + reach + 1, left : int(body.xs[-1]) + reach + 1]
    own = keep_words(window == number, pitch)
    near = Body(body.xs - left, body.tops - top, body.feet - top)
    if not _is_written(own, near) or is_small_print(own, near, usual):
        return None
    near = _fit_to_ink(near, own)
    feet = baseline_points(near, pitch)
    above, below = (
        np.float32(min(share * pitch, most * near.height))
        for share, most in ((_ABOVE, _MOST_ABOVE), (_BELOW, _MOST_BELOW))
    )
    band = Body(near.xs, near.feet - above, near.feet + below)
    rows, columns = np.arange(len(own), dtype=np.float32)[:, None], np.arange(own.shape[1])
    height = np.interp(columns, near.xs, near.feet).astype(np.float32) - rows
    own &= (height < _HIGHEST * pitch) & (height > -_DEEPEST * pitch)
    rim = outline_ink(own, np.zeros_like(own), band, pitch)
    return tuple((x + left, y + top) for x, y in feet), tuple((x + left, y + top) for x, y in rim)


def _is_written(own: NDArray[np.bool_], body: Body) -> bool:
    """Whether a line has the ink of at least a letter, over its length and height: rules and shadows have not."""
    ys, xs = np.nonzero(own)
    if len(xs) < 2:
        return False
    height = body.height
    low, high = np.percentile(ys - np.interp(xs, body.xs, body.feet), (2, 98))
    dense = len(xs) >= max(_LEAST_INK * height**2, _THINNEST * height * np.ptp(xs))
    return bool(dense and high - low >= _LOWEST * height)


def _fit_to_ink(body: Body, own: NDArray[np.bool_]) -> Body:
    """End a band where its ink ends."""
    columns = np.flatnonzero(own.any(axis=0))
    xs = np.arange(columns[0], columns[-1] + 1, dtype=np.float32)
    return Body(
        xs, np.interp(xs, body.xs, body.tops).astype(np.float32), np.interp(xs, body.xs, body.feet).astype(np.float32)
    )


def _turn_back(quarters: int, size: tuple[int, int]) -> NDArray[np.float64]:
    """Map of points on an upright page, of width and height `size`, to the page as it lay; (3, 3)."""
    width, height = size
    if TURNS[quarters] == 90:
        return np.array([(0, 1, 0), (-1, 0, width), (0, 0, 1)], np.float64)
    if TURNS[quarters] == 180:
        return np.array([(-1, 0, width), (0, -1, height), (0, 0, 1)], np.float64)
    if TURNS[quarters] == 270:
        return np.array([(0, -1, height), (1, 0, 0), (0, 0, 1)], np.float64)
    return np.eye(3)
