"""What another model read in a line, as the tokens that a decoder may be expected to write."""

from collections.abc import Sequence
from typing import Any

import numpy as np

_SPACE = "\u2581"
"""How sentencepiece writes a space."""


class Draft:
    """A text that a line is expected to have.

    Args:
        text: Of one line.
        tokenizer: A `tokenizers.Tokenizer`.
    """

    def __init__(self, text: str, tokenizer: Any) -> None:
        self._text = text
        self._tokenizer = tokenizer
        self._first = self._encode(text, follows=False)

    def ahead(self, written: Sequence[int]) -> list[int]:
        """The tokens that are expected to follow those that are written.

        Where what is written is another text than the draft, its rest is lined up behind: after the part of the draft
        that is nearest to what is written.
        """
        if list(written) == self._first[: len(written)]:
            return self._first[len(written) :]
        text = self._tokenizer.decode(list(written), skip_special_tokens=True)
        return self._encode(self._text[nearest_prefix(text, self._text) :], follows=True)

    def _encode(self, text: str, *, follows: bool) -> list[int]:
        if not text:
            return []
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        piece = self._tokenizer.id_to_token(tokens[0]) if tokens else None
        if follows and piece is not None and piece.startswith(_SPACE) and not text.startswith(" "):
            # The rest begins inside a word: sentencepiece would put a space before it.
            bare = self._tokenizer.token_to_id(piece[len(_SPACE) :]) if piece != _SPACE else None
            tokens = [*([] if bare is None else [bare]), *tokens[1:]]
        return tokens


def nearest_prefix(text: str, draft: str) -> int:
    """Find the beginning of a draft that is nearest to a text by edit distance.

    Of equally near ones that with the same last letter is taken, and of these the one of most like length.

    Returns:
        Its length in characters.
    """
    costs = np.arange(len(draft) + 1)
    letters = np.array(list(draft), dtype="U1")
    for letter in text:
        replaced = costs[:-1] + (letters != letter)
        row = np.empty_like(costs)
        row[0] = costs[0] + 1
        row[1:] = np.minimum(replaced, costs[1:] + 1)
        # Insertions: each place is at most one dearer than the one before.
        steps = np.arange(len(row))
        costs = np.minimum.accumulate(row - steps) + steps
    best = np.flatnonzero(costs == costs.min())
    return int(min(best, key=lambda n: (not text or n == 0 or draft[n - 1] != text[-1], abs(n - len(text)))))
