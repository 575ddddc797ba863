"""The form of texts in which they are searched: letters without marks, case, or ties, parted into words.

Folding is done here rather than by the databases, so that SQLite and PostgreSQL find the same.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from quillread.text.align import align

_LETTERS = {"æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ħ": "h", "ı": "i"}
"""Letters that stand for others though no normal form of Unicode says so; after case is folded."""
_BREAK = "xqalt"
"""A word that nobody writes: phrases do not reach from a text into its doubtful readings."""
_LONGEST = 100
"""Characters of a word; PostgreSQL drops those of more than 2,046 bytes."""


class FoldedWord(NamedTuple):
    """A word of a text as it is searched."""

    text: str
    start: int
    """Of its first character in the text."""
    end: int


class _Folding(dict[int, str]):
    """What becomes of a character: letters and digits; nothing, if it belongs to the one before; a space."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold_character(chr(code))
        return folded


_folding = _Folding()


def _fold_character(character: str) -> str:
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
    bare = "".join(_LETTERS.get(part, part) for part in apart if not unicodedata.combining(part))
    if not bare:
        return ""
    kept = "".join(part for part in bare if unicodedata.category(part)[0] in "LNM")
    if kept and _stands_alone(character):
        return f" {kept} "
    if kept:
        return kept
    # Joiners, soft hyphens and marks of direction lie within words.
    return "" if unicodedata.category(character) == "Cf" else " "


def _stands_alone(character: str) -> bool:
    """Whether it is of a script that writes no spaces between words: Han, Kana."""
    return "\u3040" <= character <= "\u30ff" or "\u3400" <= character <= "\u9fff" or character >= "\U00020000"


def fold(text: str) -> list[str]:
    """The words of a text as they are searched."""
    return [word[:_LONGEST] for word in text.translate(_folding).split()]


def fold_words(text: str) -> list[FoldedWord]:
    """The same, with their places in the text."""
    words: list[FoldedWord] = []
    current, start, end = "", 0, 0
    for index, character in enumerate(text):
        folded = _folding[ord(character)]
        if folded.startswith(" "):
            if current:
                words.append(FoldedWord(current[:_LONGEST], start, end))
            current = ""
            if folded.strip():
                words.append(FoldedWord(folded.strip(), index, index + 1))
        elif folded or current:
            start = start if current else index
            current, end = current + folded, index + 1
    if current:
        words.append(FoldedWord(current[:_LONGEST], start, end))
    return words


def fold_line(text: str, alternatives: Iterable[str] = ()) -> str:
    """All that a line is found by: the words of its text, then those of its other readings that differ.

    Words of other readings come with the word before and the word after, so that phrases find them, too.
    """
    words = fold(text)
    parts = [" ".join(words)]
    for alternative in alternatives:
        parts += (" ".join(part) for part in _differing(words, fold(alternative)))
    return f" {_BREAK} ".join(dict.fromkeys(parts))


def _differing(words: Sequence[str], others: Sequence[str]) -> list[list[str]]:
    """Runs of words of another reading that hold one that is not in the text there."""
    pairs = align(words, others)
    kept: list[bool] = []
    new = [own != other and other is not None for own, other in pairs]
    for index, (_, other) in enumerate(pairs):
        if other is not None:
            kept.append(any(new[max(index - 1, 0) : index + 2]))
    runs: list[list[str]] = []
    is_open = False
    for other, keep in zip(others, kept, strict=True):
        if keep and not is_open:
            runs.append([])
        if keep:
            runs[-1].append(other)
        is_open = keep
    return runs
