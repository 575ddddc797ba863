"""Writing texts with an exported decoder, token by token, several lines at a time.

Lines that are done leave, waiting ones take their place: nobody waits for the longest line of a batch. Greedy search
follows a draft where there is one: all its tokens are looked at in one pass, kept as far as the search would have
chosen them, and the rest is lined up again behind the first that it would not (compare Leviathan et al. 2023, "Fast
inference from transformers via speculative decoding"). Beam search gives what transformers 5.23 gives.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quillread.models.trocr.onnx_network import Cache, Next, OnnxTrocr
from quillread.recognize.trocr.backend import Written
from quillread.recognize.trocr.drafts import Draft

_NEVER = np.float32(-1e9)
"""As transformers writes that something must not be chosen."""
_MOST_AHEAD = 48
"""Tokens of a draft that are looked at in one pass."""
_PATIENCE = 3
"""Passes in a row that a draft was of no use in, after which it is dropped."""


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
class _Token:
    """A token of a text, with all before it."""

    token: int
    log_prob: float
    end_log_prob: float
    look: NDArray[np.float32]
    """(heads, columns)."""
    before: "_Token | None"

    def chain(self) -> list["_Token"]:
        """All tokens of the text up to this one."""
        found: list[_Token] = []
        at: _Token | None = self
        while at is not None:
            found.append(at)
            at = at.before
        return found[::-1]


@dataclass(slots=True)
class Task:
    """A line to be written: what is seen in it, and its draft."""

    number: int
    seen: Cache
    draft: Draft | None = None
    texts: list[Written] = field(default_factory=list)


class Bench:
    """Lines that are written side by side: their caches, one row a text.

    Args:
        network: What writes.
        lines: Most of them at a time.
        beams: Texts of each.
        length: Most tokens of a text, the one that starts it included.
    """

    def __init__(self, network: OnnxTrocr, lines: int, beams: int, length: int) -> None:
        self._network = network
        self._beams = beams
        facts = network.facts
        self.lengths = np.zeros(lines * beams, np.int64)
        """Known tokens of each text."""
        shape = (lines * beams, facts.heads, length, facts.head_width)
        self._past = [np.zeros(shape, np.float32) for _ in range(2 * facts.layers)]
        self._seen: Cache = []
        self._lines = lines

    def place(self, at: int, seen: Cache) -> None:
        """Put a line in a place, with no token known."""
        if not self._seen:
            self._seen = [np.empty((self._lines, *each.shape[1:]), np.float32) for each in seen]
        for kept, new in zip(self._seen, seen, strict=True):
            kept[at] = new[0]
        self.lengths[self._rows(at)] = 0

    def move(self, source: int, target: int) -> None:
        """Put what is in one place in another."""
        for kept in self._seen:
            kept[target] = kept[source]
        length = int(self.lengths[self._rows(source)].max(initial=0))
        for past in self._past:
            past[self._rows(target), :, :length] = past[self._rows(source), :, :length]
        self.lengths[self._rows(target)] = self.lengths[self._rows(source)]

    def run(self, lines: int, tokens: Sequence[Sequence[int]]) -> Next:
        """Run the decoder over the new tokens of each text of the first lines; they are not known before `keep`."""
        texts, most = lines * self._beams, max(map(len, tokens))
        known = int(self.lengths[:texts].max())
        padded = np.zeros((texts, most), np.int64)
        for row, new in zip(padded, tokens, strict=True):
            row[: len(new)] = new
        lengths = self.lengths[:texts, None]
        places = np.minimum(lengths + np.arange(most), self._network.facts.positions - 1)
        mask = np.full((texts, 1, most, known + most), _NEVER, np.float32)
        mask[:, 0, :, :known][np.broadcast_to((np.arange(known) < lengths)[:, None], (texts, most, known))] = 0.0
        mask[:, 0, :, known:][:, np.tri(most, dtype=bool)] = 0.0
        past = [np.ascontiguousarray(each[:texts, :, :known]) for each in self._past]
        return self._network.step(padded, places, mask, past, [each[:lines] for each in self._seen])

    def keep(self, row: int, found: Next, count: int) -> None:
        """Make the first new tokens of a text known."""
        start = int(self.lengths[row])
        for past, new in zip(self._past, found.cache, strict=True):
            past[row, :, start : start + count] = new[row, :, :count]
        self.lengths[row] += count

    def reorder(self, at: int, origins: NDArray[np.int64]) -> None:
        """Let each beam of a line go on from the one that it comes from."""
        if (origins == np.arange(self._beams)).all():
            return
        rows, length = self._rows(at), int(self.lengths[at * self._beams])
        for past in self._past:
            past[rows, :, :length] = past[rows][origins, :, :length]

    def close(self, seen: Cache, tokens: Sequence[int]) -> float | None:
        """Log probability that a text ends after its last token; None if the decoder has no position to tell."""
        facts = self._network.facts
        if len(tokens) >= facts.positions:
            return None
        whole = [facts.start, *tokens]
        count = len(whole)
        mask = np.where(np.tri(count, dtype=bool), np.float32(0), _NEVER)[None, None]
        none = np.zeros((1, facts.heads, 0, facts.head_width), np.float32)
        found = self._network.step(
            np.array([whole]), np.arange(count)[None], mask.astype(np.float32), [none] * len(self._past), seen
        )
        return float(_sum(found.log_probs[0, -1, list(facts.ends)]))

    def _rows(self, at: int) -> slice:
        return slice(at * self._beams, (at + 1) * self._beams)


def write_greedy(network: OnnxTrocr, tasks: Iterator[Task], config: SearchConfig, lines: int) -> Iterator[Task]:
    """Write the likeliest token each time.

    Args:
        network: What writes.
        tasks: Lines, taken as there is room for them.
        config: How.
        lines: Most lines at a time.

    Yields:
        Lines with their text, as they are done.
    """
    bench = Bench(network, lines, 1, config.max_tokens + 1 + _MOST_AHEAD)
    writers: list[_Greedy] = []

    def sit(at: int) -> bool:
        task = next(tasks, None)
        if task is None:
            return False
        bench.place(at, task.seen)
        writers[at : at + 1] = [_Greedy(task, config)]
        return True

    while len(writers) < lines and sit(len(writers)):
        pass
    while writers:
        found = bench.run(len(writers), [writer.new() for writer in writers])
        for row, writer in enumerate(writers):
            bench.keep(row, found, writer.hear(found.log_probs[row], found.attention[row]))
        for at in range(len(writers) - 1, -1, -1):
            writer = writers[at]
            if not writer.is_done:
                continue
            writer.task.texts = [writer.text(bench)]
            yield writer.task
            if not sit(at):
                last = len(writers) - 1
                if at != last:
                    bench.move(last, at)
                    writers[at] = writers[last]
                writers.pop()


class _Greedy:
    """One line of `write_greedy`."""

    def __init__(self, task: Task, config: SearchConfig) -> None:
        self.task = task
        self._config = config
        self._last: _Token | None = None
        self._tokens: list[int] = []
        self._ended = False
        self._ahead: list[int] = []
        self._useless = 0
        self._plan()

    @property
    def is_done(self) -> bool:
        return self._ended or len(self._tokens) >= self._config.max_tokens

    def new(self) -> list[int]:
        """The tokens to look at: the last one, and those that are expected to follow."""
        return [self._tokens[-1] if self._tokens else self._config.start, *self._ahead]

    def hear(self, log_probs: NDArray[np.float32], attention: NDArray[np.float32]) -> int:
        """Take the likeliest tokens as long as they are those that were expected, and one more.

        Args:
            log_probs: (T, vocabulary).
            attention: (heads, T, columns).

        Returns:
            How many of the tokens that were looked at belong to the text.
        """
        config, ahead = self._config, self._ahead
        for i in range(len(ahead) + 1):
            scores = _forbid(log_probs[i], self._tokens, config.no_repeat_ngram)
            token = int(scores.argmax())
            end = float(_sum(log_probs[i, list(config.ends)]))
            self._last = _Token(token, float(log_probs[i, token]), end, attention[:, i].copy(), self._last)
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

    def text(self, bench: Bench) -> Written:
        """What was written."""
        return _written(self._last, self._ended, bench, self.task.seen)


def write_beams(
    network: OnnxTrocr, tasks: Iterator[Task], config: SearchConfig, lines: int, readings: int
) -> Iterator[Task]:
    """Follow several texts of each line at once; see `write_greedy`."""
    bench = Bench(network, lines, config.beams, config.max_tokens + 1)
    writers: list[_Beams] = []

    def sit(at: int) -> bool:
        task = next(tasks, None)
        if task is None:
            return False
        bench.place(at, task.seen)
        writers[at : at + 1] = [_Beams(task, config)]
        return True

    while len(writers) < lines and sit(len(writers)):
        pass
    while writers:
        found = bench.run(len(writers), [[token] for writer in writers for token in writer.last()])
        for at, writer in enumerate(writers):
            rows = range(at * config.beams, (at + 1) * config.beams)
            for row in rows:
                bench.keep(row, found, 1)
            bench.reorder(at, writer.hear(found.log_probs[rows, 0], found.attention[rows, :, 0]))
        for at in range(len(writers) - 1, -1, -1):
            writer = writers[at]
            if not writer.is_done:
                continue
            writer.task.texts = writer.best(bench, readings)
            yield writer.task
            if not sit(at):
                last = len(writers) - 1
                if at != last:
                    bench.move(last, at)
                    writers[at] = writers[last]
                writers.pop()


class _Beams:
    """One line of `write_beams`."""

    def __init__(self, task: Task, config: SearchConfig) -> None:
        self.task = task
        self._config = config
        self._running: list[tuple[float, _Token | None]] = [
            (0.0 if i == 0 else float(_NEVER), None) for i in range(config.beams)
        ]
        self._finished: list[tuple[float, _Token | None, bool]] = [(float(_NEVER), None, False)] * config.beams
        """Score, text, whether it is one."""
        self._length = 0
        self._may_improve = True
        self.is_done = False

    def last(self) -> list[int]:
        """The last token of each beam."""
        return [self._config.start if text is None else text.token for _, text in self._running]

    def hear(self, log_probs: NDArray[np.float32], attention: NDArray[np.float32]) -> NDArray[np.int64]:
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
            _forbid(row, _tokens(text), config.no_repeat_ngram) + np.float32(score)
            for row, (score, text) in zip(log_probs, self._running, strict=True)
        ])  # fmt: skip
        flat = scores.reshape(-1)
        chosen = np.argpartition(-flat, count)[:count] if count < len(flat) else np.arange(len(flat))
        chosen = chosen[np.lexsort((chosen, -flat[chosen]))]
        origins, tokens = np.divmod(chosen, log_probs.shape[1])
        ends = log_probs[:, list(config.ends)]
        texts = [
            _Token(int(token), float(log_probs[origin, token]), float(_sum(ends[origin])), attention[origin],
                   self._running[origin][1])
            for origin, token in zip(origins, tokens, strict=True)
        ]  # fmt: skip
        self._length += 1
        at_limit = self._length >= config.max_tokens
        stops = np.array([at_limit or text.token in config.ends for text in texts])
        self._finish(flat[chosen], texts, stops)
        follow = np.argsort(-(flat[chosen] + stops * _NEVER), kind="stable")[:beams]
        self._running = [(float(flat[chosen[i]] + stops[i] * _NEVER), texts[i]) for i in follow]
        self._settle(at_limit)
        return origins[follow]

    def _finish(self, scores: NDArray[np.float32], texts: list[_Token], stops: NDArray[np.bool_]) -> None:
        """Put those among the first beams that end beside the texts that ended before, and keep the best."""
        config = self._config
        is_full = all(is_text for *_, is_text in self._finished) and config.early_stopping is True
        merged = list(self._finished)
        for i, (score, text) in enumerate(zip(scores, texts, strict=True)):
            ends_now = bool(stops[i]) and i < config.beams
            value = float(score) / self._length**config.length_penalty
            value += float(_NEVER) * (is_full + (not self._may_improve) + (not ends_now))
            merged.append((value, text, ends_now))
        order = sorted(range(len(merged)), key=lambda i: -merged[i][0])
        self._finished = [merged[i] for i in order[: config.beams]]

    def _settle(self, at_limit: bool) -> None:
        """Whether it is worth going on."""
        config = self._config
        length = config.max_tokens if config.early_stopping == "never" and config.length_penalty > 0 else self._length
        hope = self._running[0][0] / length**config.length_penalty
        least = min(score for score, *_ in self._finished)
        worst = [least if is_text else float(_NEVER) for *_, is_text in self._finished]
        self._may_improve = self._may_improve and any(hope > score for score in worst)
        is_full = all(is_text for *_, is_text in self._finished) and config.early_stopping is True
        self.is_done = at_limit or is_full or not self._may_improve

    def best(self, bench: Bench, readings: int) -> list[Written]:
        """The best texts, in order."""
        found = [text for _, text, is_text in self._finished if is_text] or [self._running[0][1]]
        ends = self._config.ends
        return [
            _written(text, text is not None and text.token in ends, bench, self.task.seen) for text in found[:readings]
        ]


def _tokens(text: _Token | None) -> list[int]:
    return [each.token for each in text.chain()] if text is not None else []


def _written(last: _Token | None, ended: bool, bench: Bench, seen: Cache) -> Written:
    chain = last.chain() if last is not None else []
    ends = [each.end_log_prob for each in chain]
    if ended:
        chain = chain[:-1]
    else:
        after = bench.close(seen, [each.token for each in chain])
        ends += [] if after is None else [after]
    looks = [each.look for each in chain]
    attention = np.stack(looks, axis=1) if looks else np.zeros((1, 0, 1), np.float32)
    return Written([each.token for each in chain], ended, [each.log_prob for each in chain], ends, attention)


def _sum(log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log of the sum of some probabilities."""
    return np.asarray(np.logaddexp.reduce(log_probs))


def _forbid(log_probs: NDArray[np.float32], tokens: Sequence[int], size: int) -> NDArray[np.float32]:
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
