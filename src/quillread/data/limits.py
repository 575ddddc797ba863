"""What a model can learn to write: the characters it knows, and how much of them it can write in a line."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal, Protocol

from quillread.decode.ctc import columns_needed
from quillread.text.charset import Charset

Misfit = Literal["too_narrow", "too_long"]
"""An image too narrow for its text; a text of too many tokens."""


class Limits(Protocol):
    """What a model can learn to write."""

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters of a text that the model cannot write."""

    def misfit(self, text: str, aspect: float) -> tuple[Misfit, str] | None:
        """Say why the model cannot write a text of known characters, on an image `aspect` times as wide as high."""


@dataclass(frozen=True, slots=True)
class CtcLimits:
    """The `Limits` of a CTC model."""

    charset: Charset
    columns: float
    """Output columns for a piece of image as wide as high."""

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters outside the charset."""
        return self.charset.unknown(text)

    def misfit(self, text: str, aspect: float) -> tuple[Misfit, str] | None:
        """Fewer columns than characters, and blanks between equal ones."""
        columns, needed = int(aspect * self.columns), columns_needed(text)
        return ("too_narrow", f"{columns} columns, needs {needed}") if columns < needed else None


class Speller(Protocol):
    """A tokenizer, and how many tokens a line may have."""

    max_length: int
    """Most tokens of a line, the end included."""

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters that the tokens do not give back."""

    def length(self, text: str) -> int:
        """Tokens of a text, the end included."""


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """The `Limits` of a model that writes tokens."""

    speller: Speller

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters that the tokens do not give back."""
        return self.speller.unknown(text)

    def misfit(self, text: str, aspect: float) -> tuple[Misfit, str] | None:
        """More tokens than a line may have; the shape of the image does not matter."""
        length, limit = self.speller.length(text), self.speller.max_length
        return ("too_long", f"{length} tokens, at most {limit}") if length > limit else None
