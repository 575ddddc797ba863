"""The trained line finder: a network marks baselines, and each takes the ink that stands on it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.images.geometry import Points
from quillread.models.page import SHIPPED_NETWORK, STRIDE, TURNS, PageBackend, PageView, page_pixels, view_page
from quillread.pages.bodies import Body, Owners, assign_ink, line_pitches
from quillread.pages.ink import Floats, estimate_tilt, find_ink
from quillread.pages.marks import Mark, drop_cut, drop_print, find_marks, is_small_print, join_marks, median_slope
from quillread.pages.order import order_lines
from quillread.pages.outline import MIN_SIDE, Curves, baseline_points, check_page, keep_words, map_region, outline_ink
from quillread.pages.segment import Layout
from quillread.types import Line, Polygon, UInt8Image

Network = Callable[[NDArray[np.float32]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Pixels float32 (H, W) to maps float32 (4, H / 2, W / 2) and the probabilities of the turns, float32 (4,)."""

_MULTIPLE = 32
"""What the sides of the network's input are divisible by."""
_SURE = 0.5
"""Least probability at which a page is taken for turned."""
_LEVEL, _STEEP, _LEAST_TILT = 0.97, 6.0, 6.0
"""Where the network is less sure than this how a page lies, or its lines are steeper than this in degrees, the page may
be tilted; by less than the last it is read as it is."""
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

    skip_print: bool = False
    """Skip print that stands beside writing: letterheads, the small print of forms, stamps."""
    keep_cut: bool = False
    """Keep columns that the edge of the image cuts off, as those of the facing page in a photograph."""


def open_network(path: Path = SHIPPED_NETWORK, *, threads: int = 0) -> "NeuralSegmenter":
    """Build a line finder with the network of an ONNX file.

    Raises:
        ModelError: If it is missing or damaged.
    """
    return NeuralSegmenter(PageBackend(path, threads))


def find_everything(*, threads: int = 0) -> "NeuralSegmenter":
    """Build the line finder that skips nothing, not even the cut lines of a facing page."""
    return NeuralSegmenter(PageBackend(SHIPPED_NETWORK, threads), NeuralConfig(keep_cut=True))


def find_handwriting(*, threads: int = 0) -> "NeuralSegmenter":
    """Build the line finder that skips print beside writing."""
    return NeuralSegmenter(PageBackend(SHIPPED_NETWORK, threads), NeuralConfig(skip_print=True))


@dataclass(frozen=True, slots=True)
class _Sight:
    """A page as it was turned, and what the network sees on it."""

    image: UInt8Image
    to_page: NDArray[np.float64]
    """Map of its pixels to those of the page as it lay; (3, 3)."""
    view: PageView
    marks: list[Mark]
    turns: NDArray[np.float32]

    @property
    def amount(self) -> float:
        """Length of all lines, in pixels of the page."""
        return float(sum(len(mark.xs) for mark in self.marks) * STRIDE * self.view.scale[0])


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

    def __call__(self, image: UInt8Image) -> Layout:
        """Find the lines of one page; see `Segmenter`."""
        check_page(image)
        if min(image.shape[:2]) < MIN_SIDE:
            return Layout()
        sight = self._sized(self._level(self._see(image, np.eye(3))))
        marks = drop_print(sight.marks) if self._config.skip_print else sight.marks
        kept = marks if self._config.keep_cut else drop_cut(marks, -(-sight.view.grey.shape[1] // STRIDE))
        layout = _find_lines(replace(sight, marks=kept), self._config, image.shape[1::-1])
        cut = len(marks) - len(kept)
        if not cut:
            return layout
        told = f"{_count(cut)} cut off by the edge of the image skipped; segmenter=neural-all reads lines cut off"
        return replace(layout, notes=(*layout.notes, told))

    def _see(self, image: UInt8Image, to_page: NDArray[np.float64], view: PageView | None = None) -> _Sight:
        view = view or view_page(image)
        maps, turns = self._network(page_pixels(view.grey, _MULTIPLE))
        return _Sight(image, to_page, view, _take_marks(maps, view), turns)

    def _level(self, sight: _Sight) -> _Sight:
        """Turn a page that lies on its side, upside down or tilted, where the network reads it better then."""
        upright = self._upright(sight)
        if upright.turns.max() >= _LEVEL and abs(median_slope(upright.marks)) < _STEEP:
            return upright
        tilt = estimate_tilt(sight.image)
        if abs(tilt) < _LEAST_TILT:
            return upright
        image, back = _turn(sight.image, tilt)
        level = self._upright(self._see(image, sight.to_page @ back))
        return level if level.amount > upright.amount and not level.turns.argmax() else upright

    def _upright(self, sight: _Sight) -> _Sight:
        """Turn a page by the quarters that the network says, if it finds it upright then."""
        quarters = int(sight.turns.argmax())
        if not quarters or sight.turns[quarters] < _SURE:
            return sight
        image = np.ascontiguousarray(np.rot90(sight.image, -quarters))
        turned = self._see(image, sight.to_page @ _turn_back(quarters, image.shape[1::-1]))
        return sight if turned.turns.argmax() else turned

    def _sized(self, sight: _Sight) -> _Sight:
        """Look again at another size while letters are too small or too large for the network."""
        for side in _other_sides(sight):
            other = self._see(sight.image, sight.to_page, view_page(sight.image, side))
            if other.amount > sight.amount:
                sight = other
            if sight.marks and _body(sight.marks) >= _SMALL:
                break
        return sight


def _other_sides(sight: _Sight) -> Iterator[int]:
    """Longer sides of the views that are worth another look."""
    seen, whole = max(sight.view.grey.shape), max(sight.image.shape[:2])
    if not sight.marks and seen > _SMALLEST_VIEW:
        yield _SMALLEST_VIEW
    is_written = bool((page_pixels(sight.view.grey, 1) > _GREY).mean() > _WRITTEN)
    if _body(sight.marks) < _SMALL if sight.marks else is_written:
        for side in _LARGER_VIEWS:
            if 1.25 * seen < min(side, whole):
                seen = min(side, whole)
                yield seen


def mark_baselines(view: PageView, network: Network) -> list[Line]:
    """Find the baselines of an upright page with the network alone: no ink is looked at, polygons have no area."""
    maps, _ = network(page_pixels(view.grey, _MULTIPLE))
    to_page = _maps_to_page(view)
    lines = []
    for mark in drop_print(_take_marks(maps, view)):
        points = np.stack([mark.xs, mark.ys], axis=1) @ to_page[:2, :2].T + to_page[:2, 2]
        baseline = tuple((float(x), float(y)) for x, y in points)
        lines.append(Line(baseline, Polygon(baseline)))
    return lines


def _body(marks: list[Mark]) -> float:
    """Usual height of small letters, in pixels of the maps."""
    return float(np.median([mark.body for mark in marks]))


def _take_marks(maps: Floats, view: PageView) -> list[Mark]:
    rows, columns = (-(-side // STRIDE) for side in view.grey.shape)
    maps = maps[:, :rows, :columns]
    return join_marks(find_marks(maps), maps[2], _REACH)


def _maps_to_page(view: PageView) -> NDArray[np.float64]:
    """Map of points on the maps to the page; (3, 3)."""
    to_page = np.diag([STRIDE * view.scale[0], STRIDE * view.scale[1], 1.0])
    # Pixel i of a map stands for i to i + 1.
    to_page[:2, 2] = to_page.diagonal()[:2] / 2
    return to_page


def _find_lines(sight: _Sight, config: NeuralConfig, size: tuple[int, int]) -> Layout:
    """Give the marks of a page their ink, and put them in order on the page of that size as it lay."""
    marks = sight.marks
    if not marks:
        return Layout()
    to_image = _maps_to_page(sight.view)
    ink = find_ink(sight.image, round(_INK * max(sight.view.grey.shape)), [_band(mark, to_image) for mark in marks])
    to_mask = np.linalg.inv(np.vstack([ink.to_page, [0, 0, 1]])) @ to_image
    bodies = [_follow(mark, to_mask, ink.mask.shape[1]) for mark in marks]
    drawn = _draw_lines(ink.mask, bodies, config)
    lines = [
        Line(curves[0], Polygon(curves[1]), printed=mark.printed)
        for mark, curves in zip(marks, drawn, strict=True)
        if curves
    ]
    matrix = sight.to_page @ np.vstack([ink.to_page, [0, 0, 1]])
    # Lines are put in order where the page lies level.
    regions = tuple(map_region(region, matrix[:2], size) for region in order_lines(lines))
    lost = len(marks) - len(lines)
    return Layout(regions, (f"{_count(lost)} without the ink of a word skipped",) if lost else ())


def _count(lines: int) -> str:
    return "1 line" if lines == 1 else f"{lines} lines"


def _band(mark: Mark, to_image: NDArray[np.float64]) -> Points:
    """Outline of a line with its ascenders and descenders, in pixels of the image."""
    reach = _MOST_ABOVE * mark.body
    xs = np.concatenate([mark.xs[:1] - mark.body, mark.xs, mark.xs[-1:] + mark.body])
    ys = np.concatenate([mark.ys[:1], mark.ys, mark.ys[-1:]])
    rim = np.stack([np.concatenate([xs, xs[::-1]]), np.concatenate([ys - reach, ys[::-1] + reach / 2])], axis=1)
    return np.asarray(rim @ to_image[:2, :2].T + to_image[:2, 2])


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


def _draw_lines(mask: NDArray[np.uint8], bodies: list[Body], config: NeuralConfig) -> list[Curves | None]:
    """Return baseline and polygon of each line in pixels of the mask, nothing for one without the ink of a word."""
    pitches = line_pitches(bodies)
    owners = assign_ink(mask, bodies, float(np.median(pitches)))
    usual = float(np.median([body.height for body in bodies])) if config.skip_print else 0.0
    numbered = enumerate(zip(bodies, pitches, strict=True), start=1)
    return [_draw_line(owners, number, body, pitch, usual) for number, (body, pitch) in numbered]


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


def _turn(image: UInt8Image, angle: float) -> tuple[UInt8Image, NDArray[np.float64]]:
    """Turn a page by degrees (counter-clockwise) on a larger canvas; with the map of its pixels back, (3, 3)."""
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = round(height * sine + width * cosine), round(height * cosine + width * sine)
    matrix[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
    paper = np.median(image[::16, ::16].reshape(-1, 3), axis=0).tolist()
    turned = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=paper)
    return np.asarray(turned, np.uint8), np.vstack([cv2.invertAffineTransform(matrix), [0, 0, 1]])


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
