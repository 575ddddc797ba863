"""Lines put together anew of words of one writer, and the cuts between words that it takes.

A network that sees the same few thousand sentences again and again learns them by heart; words in ever other company
keep it looking at the image (compare Shen and Messina 2016, "A method of synthesizing handwritten Chinese images").
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quillread.data.source import Source
from quillread.errors import DataError
from quillread.files import write_atomic
from quillread.images.augment import AUGMENT_HEIGHT
from quillread.images.fit import scale_to_height
from quillread.images.tones import paper_level, to_grey
from quillread.types import Character, Sample, UInt8Image


@dataclass(frozen=True, slots=True)
class LineCuts:
    """The cuts of one line."""

    index: int
    """Of the line in its source."""
    text: str
    cuts: tuple[tuple[int, float], ...]
    """For each cut the place of its space in the text, and its x as a share of the image's width."""


def find_cuts(text: str, characters: Sequence[Character], image: UInt8Image) -> tuple[tuple[int, float], ...]:
    """Find the spaces of a line that were read where they stand: with both their neighbours read rightly.

    Args:
        text: What is written.
        characters: What was read, with its place in pixels of the image.
        image: uint8 (H, W, 3) or (H, W).

    Returns:
        Cuts, as of `LineCuts`; each goes through the column with the least ink within its space.
    """
    read = "".join(c.text for c in characters)
    if len(read) != len(characters):  # characters of several code points: places in the two do not agree
        return ()
    ink = 255 - to_grey(image).mean(axis=0)
    cuts = []
    for block in SequenceMatcher(None, text, read, autojunk=False).get_matching_blocks():
        for offset in range(1, block.size - 1):
            if text[block.a + offset] == " ":
                space = characters[block.b + offset]
                low, high = max(0, int(space.x0)), min(len(ink), int(space.x1) + 1)
                if high > low:
                    flat = np.flatnonzero(ink[low:high] <= ink[low:high].min() + 1)
                    cuts.append((block.a + offset, (low + float(np.median(flat)) + 0.5) / len(ink)))
    return tuple(cuts)


def write_cuts(path: Path, lines: Iterable[LineCuts]) -> None:
    """Write the cuts of a source, one line a row."""
    rows = [json.dumps({"index": c.index, "text": c.text, "cuts": c.cuts}, ensure_ascii=False) for c in lines]
    write_atomic(path, ("\n".join(rows) + "\n").encode())


def read_cuts(path: Path) -> Iterator[LineCuts]:
    """Read a file of `write_cuts`.

    Raises:
        DataError: If it is missing, empty or malformed; names the row.
    """
    try:
        rows = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="make it with `quill data cuts`") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not a file of cuts", hint="make it with `quill data cuts`") from error
    if not any(row.strip() for row in rows):
        raise DataError(f"{path}: holds no cuts", hint="make it with `quill data cuts` of lines of several words")
    for number, row in enumerate(rows, 1):
        try:
            fields = json.loads(row)
            cuts = tuple((int(at), float(x)) for at, x in fields["cuts"])
            yield LineCuts(int(fields["index"]), str(fields["text"]), cuts)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}, row {number}: is not a row of cuts: {error}") from error


_MOST_WIDTH = 4096


@dataclass(frozen=True, slots=True)
class Fragment:
    """One or a few words of a line."""

    line: int
    """Index of the line in its source."""
    start: float
    """Left end, as a share of the line's width."""
    stop: float
    text: str


class RecombinedSource:
    """Lines made of fragments of one group's lines, two or more each.

    Args:
        source: The lines.
        cuts: Where they can be cut.
        lines: How many to make; their texts are always the same, the gaps between words are random at each look.
        characters: Least and most characters of a line, roughly.

    Raises:
        DataError: If the cuts belong to other lines, or no group has enough of them.
    """

    def __init__(
        self, source: Source, cuts: Iterable[LineCuts], lines: int, characters: tuple[int, int] = (8, 75)
    ) -> None:
        self.name = f"recombined:{source.name}"
        self.lines_of = source
        """The lines that the words are cut out of; an equal source may take its place."""
        groups: dict[str, list[Fragment]] = {}
        for line in cuts:
            if not (0 <= line.index < len(source) and source.text(line.index) == line.text):
                raise DataError(
                    f"{self.name}: the cuts of row {line.index} belong to another line",
                    hint="make them anew with `quill data cuts`",
                )
            groups.setdefault(source.group(line.index), []).extend(_fragments(line))
        pools = {name: fragments for name, fragments in groups.items() if len(fragments) >= 4}
        if not pools:
            raise DataError(f"{self.name}: no writer has enough words")
        rng = np.random.default_rng(0)
        names = list(pools)
        counts = np.array([len(pools[name]) for name in names], np.float64)
        drawn = rng.choice(len(names), lines, p=counts / counts.sum())
        self._groups: list[str] = [names[i] for i in drawn]
        self._lines = [_draw_line(pools[name], characters, rng) for name in self._groups]

    def __len__(self) -> int:
        return len(self._lines)

    def text(self, index: int) -> str:
        """The text of a line."""
        return " ".join(f.text for f in self._lines[index])

    def group(self, index: int) -> str:
        """The writer or document whose words a line is made of."""
        return self._groups[index]

    def aspect(self, index: int) -> float:
        """Width over height, but for the gaps."""
        return sum((f.stop - f.start) * self.lines_of.aspect(f.line) for f in self._lines[index])

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Put a line together; `rng` draws the gaps."""
        pieces = [self._cut(fragment) for fragment in self._lines[index]]
        image = _join(pieces, rng)
        return Sample(f"recombined-{index}", image, self.text(index), self.group(index))

    @property
    def needed(self) -> list[int]:
        """The lines of `lines_of` that words are taken from."""
        return sorted({fragment.line for line in self._lines for fragment in line})

    def _cut(self, fragment: Fragment) -> UInt8Image:
        image = self.lines_of.sample(fragment.line, np.random.default_rng(0)).image
        width = image.shape[1]
        low = min(width - 1, round(fragment.start * width))
        return scale_to_height(image[:, low : max(low + 1, round(fragment.stop * width))], AUGMENT_HEIGHT, _MOST_WIDTH)


def _fragments(line: LineCuts) -> list[Fragment]:
    """Cut a line at all its cuts."""
    ends = [(-1, 0.0), *line.cuts, (len(line.text), 1.0)]
    found = []
    for (before, start), (after, stop) in itertools.pairwise(ends):
        text = line.text[before + 1 : after].strip()
        if text and stop > start:
            found.append(Fragment(line.index, start, stop, text))
    return found if len(found) > 1 else []


def _draw_line(pool: Sequence[Fragment], characters: tuple[int, int], rng: np.random.Generator) -> list[Fragment]:
    """Draw fragments until the line is long enough."""
    wanted = int(rng.integers(characters[0], characters[1] + 1))
    line: list[Fragment] = []
    length = 0
    for place in rng.permutation(len(pool)):
        fragment = pool[place]
        if line and length + len(fragment.text) > characters[1]:
            continue
        line.append(fragment)
        length += len(fragment.text) + 1
        if length >= wanted and len(line) > 1:
            break
    return line


def _join(pieces: Sequence[UInt8Image], rng: np.random.Generator) -> UInt8Image:
    """Put pieces side by side on the paper of the first, with gaps a little wider or narrower than they were."""
    paper = np.array(paper_level(pieces[0]), np.float32)
    parts: list[NDArray[np.uint8]] = []
    for number, piece in enumerate(pieces):
        if number:
            gap = int(rng.uniform(-0.1, 0.3) * AUGMENT_HEIGHT)
            if gap > 0:
                parts.append(np.broadcast_to(paper.astype(np.uint8), (AUGMENT_HEIGHT, gap, 3)))
            elif piece.shape[1] > 2 * AUGMENT_HEIGHT:  # short words have no room to lose
                piece = piece[:, -gap:]
        shift = paper - np.array(paper_level(piece), np.float32)
        parts.append((piece + shift).clip(0, 255).astype(np.uint8))
    return np.concatenate(parts, axis=1)
