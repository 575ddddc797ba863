"""Printed words for synthetic pages: forms, letterheads and stamps beside the writing."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from quillread.extras import require

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
        text: Of at least one character that is no space.
        face: Any number; the same gives the same type.
    """
    font = _open_face(_FACES[face % len(_FACES)])
    left, top, right, bottom = font.getbbox(text, anchor="ls")
    image = Image.new("L", (max(1, int(right - left) + 4), max(1, int(bottom - top) + 4)))
    ImageDraw.Draw(image).text((2 - left, 2 - top), text, font=font, fill=255, anchor="ls")
    body = -font.getbbox("x", anchor="ls")[1]
    return Written(np.asarray(image, np.float32) / np.float32(255), float(2 - top), float(body))


@cache
def _open_face(name: str) -> ImageFont.FreeTypeFont:
    folder = Path(require("matplotlib", "train").get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / name), _SIZE)
