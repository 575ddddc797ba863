"""Where the words of a searchable PDF stand.

Poppler (pdftotext, Evince, Okular) takes a word apart where its baseline rises by half a point, and joins words whose
gap is small for the size of the font. So words are level, or turned by quarters of a circle; those of a line have one
size, less than their height. The glyph is higher than the size, so that a selection covers the writing.

It takes a line apart, too, where a word stands half a size above another one, and mixes the pieces with those of other
lines; PDFium does so with whole pages. So the words of a line stand on one height, or nearly, although the page lies
askew: a selection then covers those at its ends in part. (Text that is turned with its line comes out in more pieces,
not in fewer.)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quillread.text.directions import has_leftward, is_leftward, visual_order
from quillread.types import Point, Polygon, Word

GLYPH = 0.5
"""Width of the blank glyph, in font sizes."""
ASCENT, DESCENT = 1.2, 0.4
"""Extent of the blank glyph above and below the baseline, in font sizes. Of the 4,839 words of our validation pages,
pdftotext loses 0.1 % with this height of 1.6, and 0.8 % with 1; with 2.5 it mixes up lines."""
_GAP = 0.25
"""Free space between two words, in font sizes; where they stand closer, the first one ends earlier."""
_STRAY = 0.2
"""How far a word may stand above or below the height of its line, in font sizes."""
_STEEP = 0.1
"""Slope (5.7 degrees) beyond which the words of a line stay where they are: they would be too far off."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Row:
    """The words of a line, measured along it and down from it, in the directions of the page nearest to its own."""

    along: FloatArray
    down: FloatArray
    starts: FloatArray
    ends: FloatArray
    middles: FloatArray
    size: float
    """Of the font."""

    def mean(self, values: FloatArray) -> float:
        """Average over the words by their lengths."""
        return float(np.average(values, weights=np.maximum(self.ends - self.starts, 1e-6)))

    def slope(self) -> float:
        """Slope of the straight line through the middles of the words; 0 for one word."""
        xs = (self.starts + self.ends) / 2
        off = xs - self.mean(xs)
        spread = self.mean(off**2)
        return self.mean(off * self.middles) / spread if spread > 0 else 0.0


def place_words(lines: Sequence[Sequence[Word]], scale: tuple[float, float], height: float) -> list[tuple[str, str]]:
    """Place the words of a region.

    Args:
        lines: Words of each line, in pixels of the page.
        scale: Points per pixel, across and down.
        height: Of the page, in points.

    Returns:
        For each word, operators that set its size, stretch and place, so that its glyphs fill its box from end to end,
        and its characters from left to right as they stand on paper, which is the order of a PDF: readers turn letters
        from right to left back. Nothing for words without text.
    """
    told = [parts for words in lines if (parts := _parts(words))]
    rows = [_row([word for word, _ in parts], scale) for parts in told]
    placed: list[tuple[str, str]] = []
    for row, line_height, parts in zip(rows, _heights(rows), told, strict=True):
        texts = [text for _, text in parts]
        placed += zip(_placements(row, line_height, texts, height), texts, strict=True)
    return placed


def _parts(words: Sequence[Word]) -> list[tuple[Word, str]]:
    """Words that have text, with it as they stand on paper; one that is a whole line from right to left is parted."""
    leftward = is_leftward(" ".join(word.text for word in words))
    parts: list[tuple[Word, str]] = []
    for word in words:
        is_line = " " in word.text and has_leftward(word.text)
        for part in _split(word, leftward) if is_line else [word]:
            text = part.text
            if has_leftward(text):  # readers leave numbers as they are
                text = "".join(sign for _, sign in visual_order(text, leftward=leftward))
            parts += [(part, text)] if text else []
    return parts


def _split(word: Word, leftward: bool) -> list[Word]:
    """Part a word that has spaces into words, each with its share of the outline, in the order of reading."""
    places = {index: place for place, (index, _) in enumerate(visual_order(word.text, leftward=leftward))}
    corners = np.array(_corners(word))
    parts = []
    for match in re.finditer(r"\S+", word.text):
        taken = [places[index] for index in range(*match.span())]
        shares = np.array([[min(taken)], [max(taken) + 1]]) / len(word.text)
        tops, feet = (corners[a] + (corners[b] - corners[a]) * shares for a, b in ((0, 1), (3, 2)))
        outline = tuple((float(x), float(y)) for x, y in (*tops, *feet[::-1]))
        parts.append(Word(match[0], word.confidence, Polygon(outline)))
    return parts


def _row(words: Sequence[Word], scale: tuple[float, float]) -> _Row:
    # Word, corner, x and y; top left, top right, bottom right, bottom left.
    corners = np.multiply([_corners(word) for word in words], scale)
    x, y = (corners[:, 1] - corners[:, 0] + corners[:, 2] - corners[:, 3]).sum(axis=0)
    along = np.array([np.sign(x) or 1.0, 0.0] if abs(x) >= abs(y) else [0.0, np.sign(y)])
    down = np.array([-along[1], along[0]])
    starts = (corners[:, 0] + corners[:, 3]) @ along / 2
    ends = (corners[:, 1] + corners[:, 2]) @ along / 2
    heights = (corners[:, 2:] - corners[:, 1::-1]).mean(axis=1) @ down
    size = max(float(np.median(heights)) / (ASCENT + DESCENT), 0.1)
    return _Row(along, down, np.minimum(starts, ends), np.maximum(starts, ends), corners.mean(axis=1) @ down, size)


def _heights(rows: Sequence[_Row]) -> list[float | None]:
    """Height of each line; None for a steep one.

    That is where it crosses the middle of its region: with the heights of their own middles, a short line on a page
    that lies askew would come near to a long one.
    """
    slopes = [row.slope() for row in rows]
    heights: list[float | None] = [None] * len(rows)
    for direction in {tuple(row.along) for row in rows}:
        level = [i for i, row in enumerate(rows) if tuple(row.along) == direction and abs(slopes[i]) <= _STEEP]
        if not level:
            continue
        weights = [float(np.ptp(rows[i].starts)) ** 2 for i in level]
        slope = float(np.average([slopes[i] for i in level], weights=weights)) if any(weights) else 0.0
        middle = (min(rows[i].starts.min() for i in level) + max(rows[i].ends.max() for i in level)) / 2
        for i in level:
            off = middle - rows[i].mean((rows[i].starts + rows[i].ends) / 2)
            heights[i] = rows[i].mean(rows[i].middles) + slope * float(off)
    return heights


def _placements(row: _Row, level: float | None, texts: Sequence[str], page_height: float) -> list[str]:
    size, middles = row.size, row.middles
    if level is not None:
        middles = np.clip(middles, level - _STRAY * size, level + _STRAY * size)
    lengths = np.maximum(_ends_with_gaps(row.starts, row.ends, _GAP * size) - row.starts, 0.1)
    stretches = 100 * lengths / (GLYPH * size * np.array([len(text) for text in texts]))
    baselines = middles + size * (ASCENT - DESCENT) / 2
    places = np.outer(row.starts, row.along) + np.outer(baselines, row.down)
    cos, sin = row.along
    # y runs upwards in a PDF.
    turn = f"{cos:.0f} {-sin:.0f} {sin:.0f} {cos:.0f}"
    return [
        f"/F {size:.3f} Tf {stretch:.3f} Tz {turn} {x:.2f} {page_height - y:.2f} Tm"
        for stretch, (x, y) in zip(stretches, places, strict=True)
    ]


def _ends_with_gaps(starts: FloatArray, ends: FloatArray, gap: float) -> FloatArray:
    """Where words end so that a gap is free before the next one, of which half a word is given up at most."""
    order = np.sort(starts)
    after = np.searchsorted(order, starts, side="right")
    following = np.append(order, np.inf)[after]
    return np.maximum(np.minimum(ends, following - gap), (starts + ends) / 2)


def _corners(word: Word) -> tuple[Point, ...]:
    """Top left, top right, bottom right, bottom left, as the word is read: recognisers give words these four."""
    if len(word.polygon.points) == 4:
        return word.polygon.points
    box = word.polygon.bounds
    return (box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)
