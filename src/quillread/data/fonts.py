"""Synthetic lines from handwriting fonts and running text."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from quillread.errors import DataError
from quillread.extras import require
from quillread.text.charset import WESTERN_EUROPEAN
from quillread.types import Sample

_SUFFIXES = {".ttf", ".otf", ".woff", ".woff2"}
_SIZE = 44
"""Font size in pixels; the rendered line is cropped to its ink, so it only sets the resolution."""
_TRIES = 1000
"""Random texts that are tried for a line before a font is taken to have none that it can write."""


@dataclass(frozen=True, slots=True)
class FontLineConfig:
    """What the synthetic lines say."""

    words: tuple[int, int] = (1, 10)
    """Fewest and most words of a line."""
    accents: float = 0.12
    """Share of lines in which letters are given accents at random, to teach letters that the texts lack."""
    symbols: float = 0.12
    """Share of lines of numbers, dates, sums, capitals and signs."""
    lines: int = 100_000
    """How many lines count as one pass; they are made, not stored."""


class FontSource:
    """Endless lines of a text in many handwriting fonts; line i always has the same text and font.

    A font that lacks a character of the line is never used for it.

    Args:
        folder: Holds the fonts (ttf, otf, woff, woff2), searched recursively.
        texts: UTF-8 text files, one paragraph a line.
        config: What the lines say.

    Raises:
        DataError: If there are no fonts, no text, or a file that cannot be read.
    """

    def __init__(self, folder: Path, texts: Sequence[Path], config: FontLineConfig | None = None) -> None:
        self.name = f"fonts:{folder}"
        self._config = config or FontLineConfig()
        paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _SUFFIXES)
        self._fonts = [(path, _characters(path)) for path in paths]
        # A subset file with the extended letters only cannot write a word.
        self._fonts = [(path, chars) for path, chars in self._fonts if set("aeiou ") <= chars]
        if not self._fonts:
            raise DataError(f"{folder}: holds no usable fonts ({', '.join(sorted(_SUFFIXES))})")
        if not texts:
            raise DataError(f"{self.name}: has no text to write", hint="add ?text=FILE, a text file in UTF-8")
        self._words: list[list[str]] = []
        for path in texts:
            try:
                words = unicodedata.normalize("NFC", path.read_text(encoding="utf-8")).split()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error
            if not words:
                raise DataError(f"{path}: holds no words")
            self._words.append(words)
        self._loaded: dict[Path, ImageFont.FreeTypeFont] = {}

    def __len__(self) -> int:
        return self._config.lines

    def text(self, index: int) -> str:
        """The text of line `index`."""
        return self._choose(index)[0]

    def group(self, index: int) -> str:
        """Empty: these lines are never held out."""
        return ""

    def aspect(self, index: int) -> float:
        """Estimated width over height of the rendered line."""
        return 0.36 * len(self.text(index)) + 0.5

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Render line `index`, with random ink, paper and spacing."""
        text, path = self._choose(index)
        grey = _render(text, self._font(path), rng)
        return Sample(f"{path.stem}-{index}", np.repeat(grey[..., None], 3, axis=2), text, group=path.stem)

    def _font(self, path: Path) -> ImageFont.FreeTypeFont:
        if path not in self._loaded:
            self._loaded[path] = ImageFont.truetype(str(path), _SIZE)
        return self._loaded[path]

    def _choose(self, index: int) -> tuple[str, Path]:
        rng = np.random.default_rng((0x51, index))
        for _ in range(_TRIES):
            text = self._write(rng)
            needed = set(text)
            for i in rng.permutation(len(self._fonts))[:12]:
                path, characters = self._fonts[i]
                if needed <= characters:
                    return text, path
        raise DataError(f"{self.name}: no font has the characters of the texts")

    def _write(self, rng: np.random.Generator) -> str:
        if rng.random() < self._config.symbols:
            return write_symbols(rng)
        words = self._words[int(rng.integers(len(self._words)))]
        count = int(rng.integers(self._config.words[0], self._config.words[1] + 1))
        start = int(rng.integers(max(1, len(words) - count)))
        text = " ".join(words[start : start + count])
        if rng.random() < self._config.accents:
            text = accent_letters(text, rng)
        if rng.random() < 0.04:
            text = text.upper()
        return text if all(c in WESTERN_EUROPEAN for c in text) else write_symbols(rng)


_ACCENTED: dict[str, str] = {}
for _character in WESTERN_EUROPEAN:
    _base = unicodedata.normalize("NFD", _character)[0]
    if _base != _character and _base.isascii() and _base.isalpha():
        _ACCENTED[_base] = _ACCENTED.get(_base, "") + _character
for _base, _more in {
    "o": "øœ",
    "O": "ØŒ",
    "a": "æ",
    "A": "Æ",
    "d": "ð",
    "D": "Ð",
    "s": "ß",
    "t": "þ",
}.items():
    _ACCENTED[_base] = _ACCENTED.get(_base, "") + _more


def accent_letters(text: str, rng: np.random.Generator) -> str:
    """Replace about a fifth of the letters that have an accented form in the charset by one of those."""
    return "".join(str(rng.choice(list(_ACCENTED[c]))) if c in _ACCENTED and rng.random() < 0.2 else c for c in text)


def write_symbols(rng: np.random.Generator) -> str:
    """A line of numbers, dates, sums, capitals and punctuation marks."""
    kinds = (
        lambda: str(rng.integers(10 ** int(rng.integers(1, 6)))),
        lambda: f"{rng.integers(1, 32)}/{rng.integers(1, 13)}/{rng.integers(1700, 2030)}",
        lambda: f"{rng.integers(1, 32)}.{rng.integers(1, 13)}.",
        lambda: f"{rng.choice(list('£$€'))}{rng.integers(1, 1000)}.{rng.integers(10, 100)}",
        lambda: f"{rng.integers(1, 100)},{rng.integers(10, 100)} €",
        lambda: f"{rng.integers(1, 101)} %",
        lambda: f"n° {rng.integers(1, 400)}",
        lambda: "".join(rng.choice(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), int(rng.integers(2, 8)))),
        lambda: f"({rng.integers(1, 20)})",
        lambda: "".join(rng.choice(list(WESTERN_EUROPEAN.replace(" ", "")), int(rng.integers(1, 5)))),
        lambda: f"{rng.integers(1, 13)}:{rng.integers(10, 60)}",
        lambda: f"+{rng.integers(10, 100)} {rng.integers(100, 1000)} {rng.integers(1000, 10000)}",
    )
    return " ".join(kinds[int(rng.integers(len(kinds)))]() for _ in range(int(rng.integers(1, 6))))


def _characters(path: Path) -> frozenset[str]:
    """The characters that a font file can write; some files map a few to glyphs without an outline."""
    tt = require("fontTools.ttLib", "train")
    try:
        with path.open("rb") as file, tt.TTFont(file, lazy=True) as font:
            mapping = font.getBestCmap() or {}
        drawn = ImageFont.truetype(str(path), 16)
    except (tt.TTLibError, OSError, AssertionError) as error:
        raise DataError(f"{path}: is not a font that can be read: {error}") from error
    known = {c for c in WESTERN_EUROPEAN if mapping.get(ord(c), ".notdef") != ".notdef"}
    return frozenset(c for c in known if c == " " or drawn.getmask(c).getbbox())


def _render(text: str, font: ImageFont.FreeTypeFont, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw text with uneven letter and word gaps; uint8 (H, W), cropped to the ink with a small margin."""
    left, top, right, bottom = font.getbbox(text)
    spread = int(_SIZE * 0.6) * (text.count(" ") + 1) + 2 * _SIZE
    mask = Image.new("L", (int(right - min(left, 0)) + spread, int(bottom - min(top, 0)) + 2 * _SIZE))
    draw = ImageDraw.Draw(mask)
    x, gap = float(_SIZE), float(rng.uniform(0.0, 0.25)) * _SIZE
    for word in text.split(" "):
        draw.text((x, _SIZE * 0.7 + rng.normal(0, 0.02) * _SIZE), word, font=font, fill=255)
        x += font.getlength(word + " ") + gap * rng.uniform(0.3, 1.0)
    box = mask.getbbox()
    if box is None:
        return np.full((64, 64), 255, np.uint8)
    margin = rng.integers(1, 7, 4)
    shape = (box[3] - box[1] + margin[1] + margin[3], box[2] - box[0] + margin[0] + margin[2])
    ink_mask = np.zeros(shape, np.float32)
    ink_mask[margin[1] : shape[0] - margin[3], margin[0] : shape[1] - margin[2]] = np.asarray(mask.crop(box))
    paper = rng.uniform(150, 255)
    ink = min(rng.uniform(0, 110), paper - 60)
    return np.asarray((paper + (ink - paper) * ink_mask / 255).clip(0, 255), np.uint8)
