"""Greedy search, which follows a draft where there is one.

All tokens of the draft are looked at in one pass, kept as far as the search would have chosen them, and the rest is
lined up again behind the first that it would not (compare Leviathan et al. 2023, "Fast inference from transformers via
speculative decoding").
"""

import numpy as np
from numpy.typing import NDArray

from quillread.models.trocr.onnx_network import Next
from quillread.recognize.trocr.backend import Written
from quillread.recognize.trocr.bench import Bench, Task, log_sum
from quillread.recognize.trocr.search import SearchConfig, Token, forbid, written_of

_MOST_AHEAD = 48
"""Tokens of a draft that are looked at in one pass."""
_PATIENCE = 3
"""Passes in a row that a draft was of no use in, after which it is dropped."""


class Greedy:
    """The likeliest token each time, in one line: a `Writer`."""

    def __init__(self, task: Task, config: SearchConfig) -> None:
        self.task = task
        self._config = config
        self._last: Token | None = None
        self._tokens: list[int] = []
        self._ended = False
        self._ahead: list[int] = []
        self._useless = 0
        self._plan()

    @property
    def is_done(self) -> bool:
        """Whether the text has ended, or has as many tokens as it may have."""
        return self._ended or len(self._tokens) >= self._config.max_tokens

    def new(self) -> list[list[int]]:
        """The tokens to look at: the last one, and those that are expected to follow."""
        return [[self._tokens[-1] if self._tokens else self._config.start, *self._ahead]]

    def hear(self, found: Next, at: int, bench: Bench) -> None:
        """Take what the decoder says of them."""
        bench.keep(at, found, self._take(found.log_probs[at], found.attention[at]))

    def _take(self, log_probs: NDArray[np.float32], attention: NDArray[np.float32]) -> int:
        """Take the likeliest tokens as long as they are those that were expected, and one more.

        Args:
            log_probs: (T, vocabulary).
            attention: (heads, T, columns).

        Returns:
            How many of the tokens that were looked at belong to the text.
        """
        config, ahead = self._config, self._ahead
        for i in range(len(ahead) + 1):
            scores = forbid(log_probs[i], self._tokens, config.no_repeat_ngram)
            token = int(scores.argmax())
            end = log_sum(log_probs[i, list(config.ends)])
            self._last = Token(token, float(log_probs[i, token]), end, attention[:, i].copy(), self._last)
            if token in config.ends:
                self._ended = True
                break
            self._tokens.append(token)
            if self.is_done or i == len(ahead) or token != ahead[i]:
                break
        if ahead:
            self._useless = 0 if i > 0 else self._useless + 1
        if not self.is_done:
            self._plan()
        return i + 1

    def _plan(self) -> None:
        draft = self.task.draft
        if draft is None or self._useless >= _PATIENCE:
            self._ahead = []
            return
        room = min(_MOST_AHEAD, self._config.max_tokens - len(self._tokens) - 1)
        self._ahead = draft.ahead(self._tokens)[: max(room, 0)]

    def texts(self, at: int, bench: Bench) -> list[Written]:
        """What was written."""
        return [written_of(self._last, self._ended, at, bench, int(bench.lengths[at]))]
