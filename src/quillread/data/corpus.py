"""Plain text that a language is learnt from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quillread.errors import DataError

_WRONG = re.compile("[\x80-\x9f\ufffd]")
"""Control characters that no text holds, and the sign for bytes that could not be read: a file decoded wrongly."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Text in paragraphs."""

    paragraphs: list[str]
    dropped: int
    """Paragraphs that were left out because they had been decoded wrongly at some time."""


def read_corpus(paths: Sequence[Path]) -> Corpus:
    """Read text files, UTF-8, one paragraph a line.

    Raises:
        DataError: If one cannot be read, or they hold no text.
    """
    lines: list[str] = []
    for path in paths:
        try:
            lines += path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as text: {error}", hint="it must be UTF-8 text") from error
    filled = [line.strip() for line in lines if line.strip()]
    kept = [line for line in filled if not _WRONG.search(line)]
    if not kept:
        raise DataError(f"{', '.join(map(str, paths))}: no text in it", hint="give UTF-8 text, the more the better")
    return Corpus(kept, len(filled) - len(kept))
