"""Marks that editors put into a text: illegible, struck out, added above the line, letters of an abbreviation.

They stand in the text as signs that no hand writes, near the Leiden conventions: `[…]` cannot be read, `⟦struck out⟧`,
`⸌added above the line⸍`, and letters that an editor supplies, which the hand does not write, as in `d⟨omi⟩n⟨u⟩s`.
"""

import re
from dataclasses import dataclass
from typing import Literal

MarkKind = Literal["illegible", "struck", "added", "expanded"]

_KINDS: dict[str, MarkKind] = {"[": "illegible", "⟦": "struck", "⸌": "added", "⟨": "expanded"}
_MARKS = re.compile(r"\[…\]|⟦[^⟦⟧]*⟧|⸌[^⸌⸍]*⸍|⟨[^⟨⟩]*⟩")
_EXPANDED = re.compile(r"⟨[^⟨⟩]*⟩")
_SIGNS = re.compile(r"[⟦⟧⸌⸍⟨⟩]")


@dataclass(frozen=True, slots=True)
class Mark:
    """A part of a text that is marked."""

    kind: MarkKind
    start: int
    """Of its first sign, in characters."""
    stop: int
    """Behind its last sign."""


def find_marks(text: str) -> list[Mark]:
    """Find the marks of a text, in order; signs without their counterpart are text."""
    return [Mark(_KINDS[match[0][0]], match.start(), match.end()) for match in _MARKS.finditer(text)]


def without_signs(text: str) -> str:
    """The text as one reads it, abbreviations expanded, without the signs."""
    pieces, at = [], 0
    for mark in find_marks(text):
        inner = text[mark.start : mark.stop] if mark.kind == "illegible" else text[mark.start + 1 : mark.stop - 1]
        pieces += [text[at : mark.start], inner]
        at = mark.stop
    plain = "".join([*pieces, text[at:]])
    # Marks may lie within each other; one level is taken at a time.
    return without_signs(plain) if plain != text else plain


def as_written(text: str) -> str | None:
    """The text as the hand wrote it, for teaching: without letters that an editor supplied, and without signs.

    Returns:
        None if a part of it cannot be read: nobody can tell what the ink says there.
    """
    if "[…]" in text:
        return None
    return without_signs(_EXPANDED.sub("", text))
