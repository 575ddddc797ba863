"""Where lines of writing can be cut between words: found by reading them with a model, kept as JSON lines."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from quillread.errors import DataError
from quillread.files import write_atomic
from quillread.images.ink import to_grey
from quillread.types import Character, UInt8Image


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
        DataError: If it is missing or malformed; names the row.
    """
    try:
        rows = path.read_text("utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}", hint="make it with `quill data cuts`") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no file of cuts", hint="make it with `quill data cuts`") from error
    for number, row in enumerate(rows, 1):
        try:
            fields = json.loads(row)
            cuts = tuple((int(at), float(x)) for at, x in fields["cuts"])
            yield LineCuts(int(fields["index"]), str(fields["text"]), cuts)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path}, row {number}: is no row of cuts: {error}") from error
