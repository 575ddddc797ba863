"""The characters that a compact model can write, and their class numbers."""

import string
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from quillread.errors import ConfigError

_LATIN = "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿŒœŠšŽžŸẞĲĳ"
_PUNCTUATION = "‘’‚“”„«»‹›–—…·•¡¿†‡"
_SYMBOLS = "£€¢§¶°ºª²³¹½¼¾×÷±µ©®™№¬¨´¯"

WESTERN_EUROPEAN = string.printable[:95] + _LATIN + _PUNCTUATION + _SYMBOLS
"""Printable ASCII and the letters and punctuation of English, French, German, Spanish, Italian, Portuguese, Dutch,
Danish, Norwegian, Swedish, Finnish and Icelandic."""

BLANK = 0
"""The class of "no character" in CTC."""


@dataclass(frozen=True, slots=True)
class Charset:
    """A fixed list of characters; class 0 is the CTC blank, character i has class i + 1."""

    characters: str
    _classes: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(set(self.characters)) != len(self.characters):
            twice = [c for c, n in Counter(self.characters).items() if n > 1]
            raise ConfigError(f"charset holds characters twice: {twice}")
        object.__setattr__(self, "_classes", {c: i + 1 for i, c in enumerate(self.characters)})

    def __len__(self) -> int:
        """Number of classes, the blank included."""
        return len(self.characters) + 1

    def encode(self, text: str) -> list[int]:
        """Turn text into classes.

        Raises:
            ConfigError: If the text holds a character outside the charset; ask `unknown` first.
        """
        try:
            return [self._classes[c] for c in text]
        except KeyError as error:
            raise ConfigError(f"character {error.args[0]!r} of {text!r} is not in the charset") from error

    def decode(self, classes: Iterable[int]) -> str:
        """Turn classes other than the blank into text."""
        return "".join(self.characters[c - 1] for c in classes)

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters of `text` that the charset lacks."""
        return Counter(c for c in text if c not in self._classes)
