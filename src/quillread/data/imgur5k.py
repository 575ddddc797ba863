"""Imgur5K: handwritten words cut out of photographs.

A box is the string "[xc, yc, w, h, a]": centre, width along the writing and height in pixels, and the angle in degrees
counterclockwise as seen on the screen, so that writing with a positive angle rises to the right. (So says the README of
the data set's repository; in the annotations, lines that rise have positive angles, lines that fall negative ones.)
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from shlex import quote
from typing import Any

import cv2
import numpy as np

from quillread.data.imgur5k_lists import find_images, hash_file, list_image, read_annotations, read_hashes
from quillread.data.source import Source
from quillread.data.spec import DataSpec
from quillread.errors import DataError, ImageError, SplitError
from quillread.images.pictures import read_size
from quillread.images.read import open_document
from quillread.text.normalise import line_text
from quillread.types import Sample, UInt8Image

log = logging.getLogger(__name__)

_ILLEGIBLE = (".", "")
_SMALLEST = 2.0  # pixels: a box with a shorter side shows nothing
_LEAST_INSIDE = 0.5  # of a box's area: with less on the image, its word is not to be read

_RotatedBox = tuple[float, float, float, float, float]


@dataclass(slots=True)
class SplitReport:
    """What is there of one split; images and words are named by their ids."""

    images: int = 0
    """Images that the annotations name."""
    annotated: int = 0
    """Words that the annotations name."""
    words: int = 0
    """Words that can be used."""
    missing: list[str] = field(default_factory=list)
    """Images that are not in the folder."""
    changed: list[str] = field(default_factory=list)
    """Images whose file is another than the annotators saw, if hashes were checked."""
    unreadable: list[str] = field(default_factory=list)
    """Images whose file is none."""
    illegible: list[str] = field(default_factory=list)
    """Words marked `.`, or without a text."""
    degenerate: list[str] = field(default_factory=list)
    """Words whose box is not five numbers, or has a side below two pixels."""
    outside: list[str] = field(default_factory=list)
    """Words of whose box less than half lies on the image."""
    leaving: list[str] = field(default_factory=list)
    """Words whose box reaches beyond the image; they are used, with the image's border continued."""


@dataclass(frozen=True, slots=True)
class _Word:
    id: str
    image_id: str
    image: Path
    box: _RotatedBox
    text: str


class Imgur5kSource:
    """Words of Imgur5K, each cut upright out of its photograph."""

    def __init__(self, name: str, words: Sequence[_Word], margin: float) -> None:
        self.name = name
        self._words = words
        self._margin = margin

    def __len__(self) -> int:
        return len(self._words)

    def text(self, index: int) -> str:
        """NFC text of a word."""
        return self._words[index].text

    def group(self, index: int) -> str:
        """Id of the photograph: its words are mostly by one hand."""
        return self._words[index].image_id

    def aspect(self, index: int) -> float:
        """Width over height of the box, margin included."""
        _, _, width, height, _ = _widen(self._words[index].box, self._margin)
        return width / height

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """The word with its image; `rng` is not used."""
        word = self._words[index]
        try:
            image = _decode(word.image)
        except ImageError as error:
            raise DataError(f"{self.name}, row {index} ({word.id}): {error.message}", hint=error.hint) from error
        return Sample(word.id, cut_word(image, _widen(word.box, self._margin)), word.text, word.image_id)


def open_imgur5k(spec: DataSpec, split: str) -> Source:
    """Open a split of a folder in the official layout (source `imgur5k:`).

    Options: `margin`, kept around each box, as a fraction of its height (default 0); `check=none`, which
    takes images as they are. Otherwise every file is read and hashed, and skipped if it is another than the annotators
    saw. What is skipped is logged.
    """
    spec.refuse_unknown(("margin", "check"))
    name = f"imgur5k:{spec.where}"
    check = spec.option("check", "hashes")
    if check not in ("none", "hashes"):
        raise DataError(f"{name}: check must be none or hashes, got {check!r}")
    margin = _read_margin(spec.option("margin", "0"), name)
    words, report = _scan(Path(spec.where), split, check_hashes=check == "hashes")
    _log_faults(f"{name} ({split})", report)
    if not words:
        error = SplitError if len(report.missing) == report.images else DataError
        raise error(
            f"{name} ({split}): holds no word that can be used; images missing: {len(report.missing)}, "
            f"changed: {len(report.changed)} of {report.images}",
            hint=f"quill data fetch imgur5k --output {quote(spec.where)}; ?check=none takes changed images too",
        )
    return Imgur5kSource(f"{name} ({split})", words, margin)


def inspect_imgur5k(folder: Path, split: str, *, check_hashes: bool = True) -> SplitReport:
    """List what is missing, changed or unusable in a split.

    Raises:
        DataError: If the annotations are missing or malformed.
    """
    return _scan(folder, split, check_hashes=check_hashes)[1]


def cut_word(image: UInt8Image, box: _RotatedBox) -> UInt8Image:
    """Cut a rotated box out of an image so that it stands upright; one pixel stays one pixel.

    Args:
        image: uint8 RGB, shape (H, W, 3).
        box: Centre x and y, width, height (pixels), and angle in degrees counterclockwise on the screen. Beyond
            the image, its border is continued.

    Returns:
        uint8 RGB, shape (round(height), round(width), 3).
    """
    x, y, width, height, angle = box
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    size = max(1, round(width)), max(1, round(height))
    # Turned by less than a pixel, a box is cut along the pixels: interpolation would only blur it.
    along_pixels = min(abs(cos), abs(sin)) * max(size) < 1
    if along_pixels:
        cos, sin = round(cos), round(sin)
    axes = np.array(((cos, sin), (-sin, cos)))  # columns: where the word's right and down point on the image
    corner = (x, y) - axes @ size / 2
    if along_pixels:
        corner = np.round(corner)
    first = corner + axes @ (0.5, 0.5) - 0.5  # index of the pixel that becomes (0, 0)
    ends = first + np.array(((0, 0), (size[0], 0), (0, size[1]), size)) @ axes.T
    limit = np.array(image.shape[1::-1])
    low = np.clip(np.floor(ends.min(axis=0)) - 2, 0, limit - 1).astype(int)
    high = np.clip(np.ceil(ends.max(axis=0)) + 3, low + 1, limit).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    matrix = np.column_stack((axes, first - low))
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(part, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.uint8)


# Words of one photograph that are read one after another decode it once; random order over thousands gains little.
@lru_cache(maxsize=8)
def _decode(path: Path) -> UInt8Image:
    with open_document(path) as document:
        return document.page(0)


def _widen(box: _RotatedBox, margin: float) -> _RotatedBox:
    x, y, width, height, angle = box
    added = 2 * margin * height
    return x, y, width + added, height + added, angle


def _read_margin(text: str, name: str) -> float:
    try:
        margin = float(text)
    except ValueError:
        margin = math.nan
    if not 0 <= margin <= 1:
        raise DataError(f"{name}: margin must be a number from 0 to 1, got {text!r}")
    return margin


def _scan(folder: Path, split: str, *, check_hashes: bool) -> tuple[list[_Word], SplitReport]:
    annotations = read_annotations(folder, split)
    hashes = read_hashes(folder) if check_hashes else {}
    paths = find_images(folder)
    report = SplitReport()
    words: list[_Word] = []
    for image_id, entry in annotations.images.items():
        marks = annotations.words_of(image_id)
        report.images += 1
        report.annotated += len(marks)
        path = paths.get(image_id)
        if path is None:
            report.missing.append(image_id)
        elif check_hashes and hash_file(path) != list_image(image_id, entry, hashes).md5:
            report.changed.append(image_id)
        elif (size := _image_size(path)) is None:
            report.unreadable.append(image_id)
        else:
            words += _usable(marks, image_id, path, size, report)
    report.words = len(words)
    return words, report


def _usable(
    marks: Mapping[str, Mapping[str, Any]], image_id: str, path: Path, size: tuple[int, int], report: SplitReport
) -> list[_Word]:
    """Make words of the marks on one image; those that cannot be used go into the report."""
    words = []
    for word_id, mark in marks.items():
        text = line_text(str(mark.get("word", "")))
        if text in _ILLEGIBLE:
            report.illegible.append(word_id)
            continue
        box = _read_box(mark.get("bounding_box"))
        if box is None:
            report.degenerate.append(word_id)
            continue
        inside = _share_inside(box, size)
        if not inside >= _LEAST_INSIDE:  # which NaN of an absurdly large box is not either
            report.outside.append(word_id)
            continue
        if inside < 1:
            report.leaving.append(word_id)
        words.append(_Word(word_id, image_id, path, box, text))
    return words


def _read_box(value: Any) -> _RotatedBox | None:
    try:
        numbers = json.loads(value) if isinstance(value, str) else value
        x, y, width, height, angle = map(float, numbers)
    except (ValueError, TypeError):
        return None
    if not all(map(math.isfinite, (x, y, width, height, angle))) or min(width, height) < _SMALLEST:
        return None
    return x, y, width, height, angle


def _share_inside(box: _RotatedBox, size: tuple[int, int]) -> float:
    """Share of a box's area that lies on the image, 0 to 1; what reaches out by a pixel at most counts as inside."""
    x, y, width, height, angle = box
    across = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    reach_x = (across[0] * width + across[1] * height) / 2
    reach_y = (across[1] * width + across[0] * height) / 2
    if min(x - reach_x, y - reach_y) >= -1 and x + reach_x <= size[0] + 1 and y + reach_y <= size[1] + 1:
        return 1.0
    corners = cv2.boxPoints(((x, y), (width, height), -angle))
    image = np.array(((0, 0), (size[0], 0), size, (0, size[1])), np.float32)
    area, _ = cv2.intersectConvexConvex(corners, image)
    return float(area) / (width * height)


def _image_size(path: Path) -> tuple[int, int] | None:
    try:
        return read_size(path)
    except ImageError:
        return None


def _log_faults(name: str, report: SplitReport) -> None:
    what = {
        "missing": "images are missing (skipped)",
        "changed": "images are other files than were annotated (skipped)",
        "unreadable": "images cannot be read (skipped)",
        "illegible": "words are marked illegible (skipped)",
        "degenerate": "words have no box with an area (skipped)",
        "outside": "words lie mostly off their image (skipped)",
        "leaving": "words reach beyond their image (kept)",
    }
    for kind, text in what.items():
        ids = getattr(report, kind)
        if ids:
            rest = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
            log.warning("%s: %d %s: %s%s", name, len(ids), text, ", ".join(ids[:3]), rest)
