"""Printed words for pages to learn from: forms, letterheads and stamps beside the writing."""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from quillread.extras import require_fonts
from quillread.train.finder.page_samples import PageSample, TargetLine

_FACES = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Italic.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "STIXGeneralItalic.ttf",
    "cmss10.ttf",
)
"""Free printing types that come with matplotlib."""
_SIZE = 40
_LETTERS = "eeeeeeaaaaiiiissssnnnnttttrrrroooolllluuuddddccmmpphhggbbffvvyqjxkwzéèà.,'"
_TRIES = 8
"""Places looked at for one that is empty."""


@dataclass(frozen=True, slots=True)
class Written:
    """A piece of writing, cut out of its paper."""

    alpha: NDArray[np.float32]
    """float32 (h, w): 1 where there is ink."""
    foot: float
    """Row of the baseline."""
    body: float
    """Height of the small letters, in pixels."""


def print_text(text: str, face: int) -> Written:
    """Set a line of text in one of the types.

    Args:
        text: Of at least one character that is not a space.
        face: Any number; the same gives the same type.
    """
    font = _open_face(_FACES[face % len(_FACES)])
    left, top, right, bottom = font.getbbox(text, anchor="ls")
    image = Image.new("L", (max(1, int(right - left) + 4), max(1, int(bottom - top) + 4)))
    ImageDraw.Draw(image).text((2 - left, 2 - top), text, font=font, fill=255, anchor="ls")
    body = -font.getbbox("x", anchor="ls")[1]
    return Written(np.asarray(image, np.float32) / np.float32(255), float(2 - top), float(body))


def make_words(rng: np.random.Generator) -> str:
    """Make a few words without a meaning."""
    lengths = rng.integers(1, 11, int(rng.integers(2, 14)))
    words = ["".join(rng.choice(list(_LETTERS), length)) for length in lengths]
    return " ".join(word.capitalize() if rng.random() < 0.1 else word for word in words)


def add_print(page: PageSample, view: float, rng: np.random.Generator) -> PageSample:
    """Print a few small lines where a page is empty, if there is such a place: a form, a letterhead.

    Without print on real paper, paper alone would tell the network what is print.

    Args:
        page: A page.
        view: Its resolution over that of the network's view.
        rng: Draws place, type and text.
    """
    height, width = page.grey.shape
    body = view * float(np.exp(rng.uniform(np.log(2.5), np.log(9))))
    pitch, face, count = body * rng.uniform(2.0, 3.2), int(rng.integers(100)), int(rng.integers(1, 5))
    for _ in range(_TRIES):
        left, right = np.sort(rng.uniform(0.01, 0.99, 2)) * width
        top = rng.uniform(0, height - (count + 1) * pitch)
        bottom = top + (count + 0.6) * pitch
        if (
            right - left > 8 * body
            and top >= 0
            and _is_empty(page.grey[int(top) : int(bottom), int(left) : int(right)])
        ):
            break
    else:
        return page
    grey = page.grey.astype(np.float32)
    known = None if page.known is None else page.known.copy()
    if known is not None:
        known[int(top) : int(bottom), max(0, int(left - 2 * body)) : int(right + 2 * body)] = 1
    lines, depth = list(page.lines), rng.uniform(0.4, 0.95)
    for number in range(count):
        foot = top + (number + 1) * pitch
        end = _set_line(grey, (left, right, foot), body, face, depth, rng)
        lines.append(TargetLine(np.array([(left, foot), (end, foot)]), body, printed=True))
    return PageSample(np.clip(grey, 0, 255).astype(np.uint8), lines, known)


def _is_empty(part: NDArray[np.uint8]) -> bool:
    """Whether next to nothing there is much darker than the paper."""
    few = part[::2, ::2]
    return bool(few.size and (few < 0.8 * np.median(few)).mean() < 0.005)


def _set_line(
    grey: NDArray[np.float32],
    place: tuple[float, float, float],
    body: float,
    face: int,
    depth: float,
    rng: np.random.Generator,
) -> float:
    """Darken `grey` with one printed line from x0 to at most x1 on the height y; returns where it ends."""
    x0, x1, y = place
    printed = print_text(" ".join(make_words(rng) for _ in range(3)), face)
    factor = body / printed.body
    size = max(1, round(printed.alpha.shape[1] * factor)), max(1, round(printed.alpha.shape[0] * factor))
    alpha = cv2.resize(printed.alpha, size, interpolation=cv2.INTER_AREA)[:, : int(x1 - x0)]
    top = max(0, round(y - printed.foot * factor))
    target = grey[top : top + alpha.shape[0], int(x0) : int(x0) + alpha.shape[1]]
    target *= 1 - depth * alpha[: target.shape[0], : target.shape[1]]
    return float(x0 + alpha.shape[1])


@cache
def _open_face(name: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(require_fonts() / name), _SIZE)
