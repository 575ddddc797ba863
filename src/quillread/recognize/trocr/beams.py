"""Beam search, as transformers 5.23 does it."""

import numpy as np
from numpy.typing import NDArray

from quillread.models.trocr.onnx_network import Next
from quillread.recognize.trocr.backend import Written
from quillread.recognize.trocr.bench import NEVER, Bench, Task, log_sum
from quillread.recognize.trocr.search import SearchConfig, Token, forbid, tokens_of, written_of


class Beams:
    """The most probable texts of one line, several at once: a `Writer`."""

    def __init__(self, task: Task, config: SearchConfig, readings: int) -> None:
        self.task = task
        self.is_done = False
        self._config = config
        self._readings = readings
        self._running: list[tuple[float, Token | None]] = [
            (0.0 if i == 0 else float(NEVER), None) for i in range(config.beams)
        ]
        self._finished: list[tuple[float, Token | None, bool]] = [(float(NEVER), None, False)] * config.beams
        """Score, text, whether it is one."""
        self._length = 0
        self._may_improve = True

    def new(self) -> list[list[int]]:
        """The last token of each beam."""
        return [[self._config.start if text is None else text.token] for _, text in self._running]

    def hear(self, found: Next, at: int, bench: Bench) -> None:
        """Take what the decoder says of them."""
        rows = range(at * self._config.beams, (at + 1) * self._config.beams)
        for row in rows:
            bench.keep(row, found, 1)
        bench.reorder(at, self._step(found.log_probs[rows, 0], found.attention[rows, :, 0]))

    def _step(self, log_probs: NDArray[np.float32], attention: NDArray[np.float32]) -> NDArray[np.int64]:
        """Take a step.

        Args:
            log_probs: (beams, vocabulary).
            attention: (beams, heads, columns).

        Returns:
            From which beam each goes on.
        """
        config, beams = self._config, self._config.beams
        count = max(2, 1 + len(config.ends)) * beams
        scores = np.stack([
            forbid(row, tokens_of(text), config.no_repeat_ngram) + np.float32(score)
            for row, (score, text) in zip(log_probs, self._running, strict=True)
        ])  # fmt: skip
        flat = scores.reshape(-1)
        chosen = np.argpartition(-flat, count)[:count] if count < len(flat) else np.arange(len(flat))
        chosen = chosen[np.lexsort((chosen, -flat[chosen]))]
        origins, tokens = np.divmod(chosen, log_probs.shape[1])
        ends = log_probs[:, list(config.ends)]
        texts = [
            Token(int(token), float(log_probs[origin, token]), log_sum(ends[origin]), attention[origin],
                   self._running[origin][1])
            for origin, token in zip(origins, tokens, strict=True)
        ]  # fmt: skip
        self._length += 1
        at_limit = self._length >= config.max_tokens
        stops = np.array([at_limit or text.token in config.ends for text in texts])
        self._finish(flat[chosen], texts, stops)
        follow = np.argsort(-(flat[chosen] + stops * NEVER), kind="stable")[:beams]
        self._running = [(float(flat[chosen[i]] + stops[i] * NEVER), texts[i]) for i in follow]
        self._settle(at_limit)
        return origins[follow]

    def _finish(self, scores: NDArray[np.float32], texts: list[Token], stops: NDArray[np.bool_]) -> None:
        """Put those among the first beams that end beside the texts that ended before, and keep the best."""
        config = self._config
        is_full = all(is_text for *_, is_text in self._finished) and config.early_stopping is True
        merged = list(self._finished)
        for i, (score, text) in enumerate(zip(scores, texts, strict=True)):
            ends_now = bool(stops[i]) and i < config.beams
            value = float(score) / self._length**config.length_penalty
            value += float(NEVER) * (is_full + (not self._may_improve) + (not ends_now))
            merged.append((value, text, ends_now))
        order = sorted(range(len(merged)), key=lambda i: -merged[i][0])
        self._finished = [merged[i] for i in order[: config.beams]]

    def _settle(self, at_limit: bool) -> None:
        """Whether it is worth going on."""
        config = self._config
        length = config.max_tokens if config.early_stopping == "never" and config.length_penalty > 0 else self._length
        hope = self._running[0][0] / length**config.length_penalty
        least = min(score for score, *_ in self._finished)
        worst = [least if is_text else float(NEVER) for *_, is_text in self._finished]
        self._may_improve = self._may_improve and any(hope > score for score in worst)
        is_full = all(is_text for *_, is_text in self._finished) and config.early_stopping is True
        self.is_done = at_limit or is_full or not self._may_improve

    def texts(self, at: int, bench: Bench) -> list[Written]:
        """The best texts, in order."""
        found = [text for _, text, is_text in self._finished if is_text] or [self._running[0][1]]
        ends = self._config.ends
        return [
            written_of(text, text is not None and text.token in ends, at, bench) for text in found[: self._readings]
        ]
