"""What all searches have in common: their settings, tokens with all before them, what was written in the end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quillread.recognize.trocr.backend import Written
from quillread.recognize.trocr.bench import Bench


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """How texts are searched for."""

    beams: int
    max_tokens: int
    start: int
    ends: tuple[int, ...]
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    no_repeat_ngram: int = 0


@dataclass(frozen=True, slots=True)
class Token:
    """A token of a text, with all before it."""

    token: int
    log_prob: float
    end_log_prob: float
    look: NDArray[np.float32]
    """(heads, columns)."""
    before: "Token | None"

    def chain(self) -> list["Token"]:
        """All tokens of the text up to this one."""
        found: list[Token] = []
        at: Token | None = self
        while at is not None:
            found.append(at)
            at = at.before
        return found[::-1]


def tokens_of(text: Token | None) -> list[int]:
    """The tokens of a text."""
    return [each.token for each in text.chain()] if text is not None else []


def written_of(last: Token | None, ended: bool, at: int, bench: Bench, known: int = 0) -> Written:
    """A text of the line at a place as the engine takes it.

    Args:
        last: Its last token, the one that ends it included.
        ended: Whether it has ended.
        at: Place of the line.
        bench: Where that is.
        known: As `Bench.close` takes it.
    """
    chain = last.chain() if last is not None else []
    ends = [each.end_log_prob for each in chain]
    if ended:
        chain = chain[:-1]
    else:
        after = bench.close(at, [each.token for each in chain], known)
        ends += [] if after is None else [after]
    looks = [each.look for each in chain]
    attention = np.stack(looks, axis=1) if looks else np.zeros((1, 0, 1), np.float32)
    return Written([each.token for each in chain], ended, [each.log_prob for each in chain], ends, attention)


def forbid(log_probs: NDArray[np.float32], tokens: Sequence[int], size: int) -> NDArray[np.float32]:
    """Log probabilities without the tokens that would write a sequence of some size again."""
    if not size or len(tokens) + 1 < size:
        return log_probs
    recent = tuple(tokens[len(tokens) - size + 1 :])
    again = [tokens[i + size - 1] for i in range(len(tokens) - size + 1) if tuple(tokens[i : i + size - 1]) == recent]
    if not again:
        return log_probs
    changed = log_probs.copy()
    changed[again] = -np.inf
    return changed
