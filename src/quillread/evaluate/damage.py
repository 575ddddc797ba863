"""What a change of texts mended and what it broke, word by word."""

from collections.abc import Sequence
from dataclasses import dataclass

from quillread.text.align import align
from quillread.text.normalise import scoring_words


@dataclass(frozen=True, slots=True)
class Damage:
    """Words that a change touched; addable."""

    mended: int = 0
    """Words of the reference that were wrong before and are right after."""
    broken: int = 0
    """Words of the reference that were right before and are wrong after."""

    def __add__(self, other: "Damage") -> "Damage":
        """Add each count to its counterpart."""
        return Damage(self.mended + other.mended, self.broken + other.broken)


def count_damage(references: Sequence[str], before: Sequence[str], after: Sequence[str]) -> Damage:
    """Count words of the scoring form (`text.normalise.scoring_words`) that a change mended and broke."""
    result = Damage()
    for reference, old, new in zip(references, before, after, strict=True):
        words = scoring_words(reference)
        was, now = _right(words, scoring_words(old)), _right(words, scoring_words(new))
        result += Damage(
            sum(b and not a for a, b in zip(was, now, strict=True)),
            sum(a and not b for a, b in zip(was, now, strict=True)),
        )
    return result


def _right(words: Sequence[str], read: Sequence[str]) -> list[bool]:
    return [wanted == found for wanted, found in align(words, read) if wanted is not None]
