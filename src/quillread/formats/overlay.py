"""A picture of what was read: lines and their order on the page, the text beside it, coloured by confidence."""

import io
from functools import lru_cache
from importlib import resources

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from quillread.formats.export import words_of
from quillread.types import Line, Page, Point, Scan, UInt8Image

_LONG_SIDE = 2000
"""Pixels of the longer side of the page in the picture."""
_Colour = tuple[int, int, int]
_DOUBTFUL, _MIDDLING, _SURE, _UNREAD = (200, 30, 30), (200, 130, 0), (0, 120, 60), (120, 120, 120)
_LEVEL = 0.05
"""Slope in radians up to which words are written level: turned letters are less sharp."""
_TINT = 0.25
"""Share of the colour in the area of a line."""


def draw_overlay(scan: Scan) -> UInt8Image | None:
    """Draw a page with its lines, and beside it its text, word by word where and as the words stand.

    Colours go from red (surely wrong) over amber to green (surely right): those of words by their confidence, those
    of lines by the mean of their words' (that of a line is for all of it to be right, and few lines would not be red).
    Grey lines were not read. The number is the place in the reading order.

    Returns:
        uint8 RGB, the page at most 2000 pixels long, and as wide again for the text; None for a page whose image
        cannot be decoded.
    """
    if scan.image is None or min(scan.page.width, scan.page.height) < 1:
        return None
    scale = min(1.0, _LONG_SIDE / max(scan.page.width, scan.page.height))
    size = (max(1, round(scan.page.width * scale)), max(1, round(scan.page.height * scale)))
    left = np.asarray(cv2.resize(scan.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    picture = Image.fromarray(np.hstack((_draw_lines(left, scan.page, scale), np.full_like(left, 255))))
    draw = ImageDraw.Draw(picture)
    for number, line in enumerate(scan.page.lines, start=1):
        _number(draw, number, line, scale)
        _write(picture, line, scale, size[0])
    draw.line((size[0], 0, size[0], size[1]), _UNREAD)
    if scan.page.fault is not None:
        draw.multiline_text((size[0] + 10, 10), str(scan.page.fault), _DOUBTFUL, _font(20))
    return np.array(picture)


def colour_of(confidence: float) -> _Colour:
    """Blend red over amber to green as a confidence goes from 0 over 0.5 to 1."""
    low, high = (_DOUBTFUL, _MIDDLING) if confidence < 0.5 else (_MIDDLING, _SURE)
    share = min(max(2 * confidence - (confidence >= 0.5), 0.0), 1.0)
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(low, high, strict=True))
    return red, green, blue


def _draw_lines(image: UInt8Image, page: Page, scale: float) -> UInt8Image:
    tinted, strokes = image.copy(), []
    for line in page.lines:
        colour = _UNREAD if line.transcript is None else colour_of(_certainty(line))
        outline, baseline = _scaled(line.polygon.points, scale), _scaled(line.baseline, scale)
        cv2.fillPoly(tinted, [outline], colour)
        strokes.append((outline, baseline, colour))
    result = cv2.addWeighted(image, 1 - _TINT, tinted, _TINT, 0)
    for outline, baseline, colour in strokes:
        cv2.polylines(result, [outline], True, colour, 1, cv2.LINE_AA)
        cv2.polylines(result, [baseline], False, colour, 2, cv2.LINE_AA)
    return np.asarray(result, np.uint8)


def _certainty(line: Line) -> float:
    """Mean confidence of the words, by their length; 0 without words."""
    words = words_of(line)
    return sum(len(word.text) * word.confidence for word in words) / max(1, sum(len(word.text) for word in words))


def _scaled(points: tuple[Point, ...], scale: float) -> np.ndarray:
    return np.rint(np.multiply(points, scale)).astype(np.int32)


def _number(draw: ImageDraw.ImageDraw, number: int, line: Line, scale: float) -> None:
    x, y = np.multiply(line.baseline[0], scale).tolist()
    font = _font(18)
    draw.rectangle(draw.textbbox((max(0, x - 6), y), str(number), font, anchor="rs"), "white")
    draw.text((max(0, x - 6), y), str(number), (0, 0, 0), font, anchor="rs")


def _write(picture: Image.Image, line: Line, scale: float, offset: int) -> None:
    """Write the words of a line as it runs, each no wider than on the page, all in the smallest size that one needs."""
    words = words_of(line)
    if not words:
        return
    start, stop = np.array(line.baseline[0]), np.array(line.baseline[-1])
    angle = float(np.arctan2(*(stop - start)[::-1]))
    along = np.array([np.cos(angle), np.sin(angle)])
    # How far along the line, and across it downwards, the outline of each word reaches.
    turned = [(np.array(word.polygon.points) - start) @ np.array([along, (-along[1], along[0])]).T for word in words]
    low, high = (np.array([bound(points, axis=0) for points in turned]) * scale for bound in (np.min, np.max))
    sizes = high - low
    height = max(8, round(float(sizes[:, 1].min()) * 0.7))
    natural = sum(_font(height).getlength(word.text) for word in words)
    font = _font(max(8, min(height, int(height * float(sizes[:, 0].sum()) / max(natural, 1.0)))))
    end = -np.inf
    for word, (x, y), size in zip(words, low, sizes, strict=True):
        at = max(float(x), end)
        place = start * scale + at * along + (y + 0.7 * size[1]) * np.array([-along[1], along[0]])
        _stamp(picture, word.text, (float(place[0]) + offset, float(place[1])), angle, colour_of(word.confidence), font)
        end = at + font.getlength(word.text + " ")


def _stamp(
    picture: Image.Image, text: str, place: Point, angle: float, colour: _Colour, font: ImageFont.FreeTypeFont
) -> None:
    """Write text from a place on, at an angle in radians, clockwise from level."""
    if abs(angle) < _LEVEL:
        ImageDraw.Draw(picture).text(place, text, colour, font, anchor="ls")
        return
    reach = int(np.hypot(font.getlength(text), 2 * font.size)) + 1
    mask = Image.new("L", (2 * reach, 2 * reach))
    ImageDraw.Draw(mask).text((reach, reach), text, 255, font, anchor="ls")
    mask = mask.rotate(-np.degrees(angle), Image.Resampling.BICUBIC)
    picture.paste(colour, (round(place[0]) - reach, round(place[1]) - reach), mask)


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Machines need not have any font, and the one in Pillow has no accents: ours is a part of DejaVu Sans, with the
    # letters of Latin, Greek and Cyrillic.
    content = resources.files(__package__).joinpath("assets", "overlay.ttf").read_bytes()
    return ImageFont.truetype(io.BytesIO(content), size)
