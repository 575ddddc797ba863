"""Synthetic lines from recorded pen strokes: one recording, any pen, slant, ink and paper."""

import logging
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import DataError
from quillread.types import Sample

log = logging.getLogger(__name__)

_RENDER_HEIGHT = 64
_SHIFT = 4  # cv2 takes coordinates with this many binary places


@dataclass(frozen=True, slots=True)
class StrokeStyle:
    """Ranges of the random look of a rendered line."""

    pen_width: tuple[float, float] = (1.2, 4.2)
    """Stroke width in pixels at a line height of 64."""
    slant: float = 0.35
    """Largest change of slant, as x per y."""
    drift: float = 0.04
    """Amplitude of the baseline's waves, in line heights."""
    paper: tuple[int, int] = (150, 255)
    """Grey levels of the paper."""
    ink: tuple[int, int] = (0, 110)
    """Grey levels of the ink."""


class StrokeSource:
    """Lines of an `.npz` file of pen strokes, rendered anew for each seed.

    The file holds `delta` int16 (P, 2), the steps of the pen in tablet units with y downwards; `stroke_start` bool
    (P,); `line_offset` int64 (L + 1,); `text` and `id` (L,). The points of line i are the cumulative sum of
    `delta[line_offset[i]:line_offset[i + 1]]`.

    Raises:
        DataError: If the file cannot be read, lacks an array, has arrays that do not fit each other, or holds no line.
    """

    def __init__(self, path: Path, style: StrokeStyle | None = None) -> None:
        self.name = f"strokes:{path}"
        self._style = style or StrokeStyle()
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                self._delta = arrays["delta"]
                self._starts = arrays["stroke_start"]
                offsets = arrays["line_offset"]
                texts = [join_tokens(str(t)) for t in arrays["text"]]
                ids = [str(i) for i in arrays["id"]]
        except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: is not a file of pen strokes: {error}") from error
        lengths = len(ids) + 1, len(texts) + 1, len(self._delta)
        if lengths != (len(offsets), len(offsets), len(self._starts)) or not _are_places(offsets, len(self._delta)):
            raise DataError(f"{path}: its arrays do not fit each other: line_offset must say where each line begins")
        places = zip(ids, texts, offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        lines = [line for line in places if line[3] > line[2]]
        if empty := len(texts) - len(lines):
            log.warning("%s: %d lines have no strokes and are skipped", self.name, empty)
        # "#" stands for a word that the transcribers could not read.
        self._lines = [line for line in lines if "#" not in line[1]]
        if not self._lines:
            raise DataError(f"{self.name}: holds no lines")

    def __len__(self) -> int:
        return len(self._lines)

    def text(self, index: int) -> str:
        """The text of a line, without rendering it."""
        return self._lines[index][1]

    def group(self, index: int) -> str:
        """Empty: these lines are never held out."""
        return ""

    def aspect(self, index: int) -> float:
        """Estimated width over height of the rendered line."""
        return 0.33 * len(self._lines[index][1]) + 0.5

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Render a line with a random look."""
        line_id, text, start, stop = self._lines[index]
        points = np.cumsum(self._delta[start:stop].astype(np.float64), axis=0)
        grey = render_strokes(points, self._starts[start:stop], rng, self._style)
        return Sample(line_id, np.repeat(grey[..., None], 3, axis=2), text)


def _are_places(offsets: NDArray[np.int64], count: int) -> bool:
    """Tell whether numbers rise and lie within an array."""
    return bool(offsets.ndim == 1 and offsets[0] >= 0 and (np.diff(offsets) >= 0).all() and offsets[-1] <= count)


def join_tokens(text: str) -> str:
    """Undo the spaces that some transcriptions put before punctuation: `Mr . Smith 's` becomes `Mr. Smith's`."""
    text = re.sub(r"\s+([.,;:!?)])", r"\1", text.strip())
    text = re.sub(r"([(])\s+", r"\1", text)
    return re.sub(r"\s*'\s*(s|m|d|ll|re|ve|t|n)\b", r"'\1", text)


def render_strokes(
    points: NDArray[np.float64], starts: NDArray[np.bool_], rng: np.random.Generator, style: StrokeStyle
) -> NDArray[np.uint8]:
    """Draw pen strokes as a grey line image.

    Args:
        points: (P, 2) x and y, y downwards, in any unit.
        starts: (P,) true where the pen was set down.
        rng: Draws slant, drift, pen, ink and paper.
        style: Their ranges.

    Returns:
        uint8 (64, W), cropped to the ink with a small margin.
    """
    xy = points - points.mean(axis=0)
    # Lines written on a tablet rise or fall; the slope is taken out, as a line finder would.
    slope = np.polyfit(xy[:, 0], xy[:, 1], 1)[0] if np.ptp(xy[:, 0]) > 3 * np.ptp(xy[:, 1]) else 0.0
    xy[:, 1] -= slope * xy[:, 0]
    xy[:, 0] -= rng.uniform(-style.slant, style.slant) * xy[:, 1]
    xy[:, 0] *= rng.uniform(0.85, 1.2)
    margin = rng.uniform(1, 6, 4)
    scale = (_RENDER_HEIGHT - margin[0] - margin[1]) / max(1e-6, np.ptp(xy[:, 1]))
    # A line of lower-case letters or a dash alone must not be blown up to full height.
    scale = min(scale, _RENDER_HEIGHT * 0.33 * 12 / max(1e-6, np.ptp(xy[:, 0]))) if len(starts) < 60 else scale
    xy = (xy - xy.min(axis=0)) * scale
    period = rng.uniform(4, 12) * _RENDER_HEIGHT
    wave = style.drift * _RENDER_HEIGHT * rng.random() * np.sin(2 * np.pi * xy[:, 0] / period + rng.uniform(0, 6.3))
    xy[:, 1] += wave - wave.min()
    xy += (margin[2], margin[0])
    width = int(xy[:, 0].max() + margin[3]) + 1
    height = int(np.ceil(xy[:, 1].max() + margin[1])) + 1
    return _draw(xy, np.flatnonzero(starts), (height, width), rng, style)


def _draw(
    xy: NDArray[np.float64],
    firsts: NDArray[np.intp],
    shape: tuple[int, int],
    rng: np.random.Generator,
    style: StrokeStyle,
) -> NDArray[np.uint8]:
    # Drawn at double size and reduced: cv2's line widths are whole pixels.
    canvas = np.zeros((2 * shape[0], 2 * shape[1]), np.uint8)
    pen = rng.uniform(*style.pen_width) * 2
    points = np.round(xy * 2 * (1 << _SHIFT)).astype(np.int32)
    pressure = rng.uniform(0, 0.35)
    for part in np.split(points, firsts[firsts > 0]):
        width = max(1, round(pen * float(rng.uniform(1 - pressure, 1 + pressure))))
        depth = int(rng.uniform(200, 255))
        if len(part) == 1:
            center = (part[0] >> _SHIFT).tolist()
            cv2.circle(canvas, center, max(1, width // 2 + 1), depth, -1, cv2.LINE_AA)
        else:
            cv2.polylines(canvas, [part[:, None]], False, depth, width, cv2.LINE_AA, _SHIFT)
    ink_mask = cv2.resize(canvas, (shape[1], shape[0]), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    paper = rng.uniform(*style.paper)
    ink = min(rng.uniform(*style.ink), paper - 60)
    return np.asarray((paper + (ink - paper) * ink_mask).clip(0, 255), np.uint8)
