"""A character n-gram model that is read where it lies in a file: a trie in flat arrays, one byte a number.

The n-grams of one length are a level, sorted; so those that continue a context stand side by side in the next level, in
the order of their last symbols.
"""

import itertools
import math
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quillread.language.kneser_ney import Grams, Keys
from quillread.text.normalise import letter_of

_STEP = 1 / 16
"""Log probabilities are held in steps of this size, in nats."""

UNKNOWN = 0
"""The symbol of all characters that the model does not know."""

_PLAIN = {"’": "'", "‘": "'", "‚": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "\u00a0": " ", "\n": " "}
"""Typography that the model does not tell apart."""

_DIGITS = frozenset("0123456789")
_ANY_DIGIT = "0"
_DIGIT_COST = round(math.log(10) / _STEP)
"""All digits are one symbol, and equally likely: a language knows where a number stands and not which one it is."""

_MOST_STATES = 100_000
"""Contexts that are kept over from line to line."""


@dataclass(frozen=True, slots=True)
class Level:
    """All n-grams of one length, one byte each in every array."""

    symbols: NDArray[np.uint8]
    """Their last symbols, shape (M,)."""
    costs: NDArray[np.uint8]
    """Negative log probabilities of the last symbol, in sixteenths of a nat."""
    backoff_costs: NDArray[np.uint8]
    """Negative log of the weight of shorter contexts; empty in the longest level."""
    children: NDArray[np.uint8]
    """How many n-grams of the next level continue each; empty in the longest level."""


def pack(grams: Sequence[Grams]) -> list[Level]:
    """Pack the n-grams of a smoothed model into levels."""
    levels = []
    for n, gram in enumerate(grams):
        is_last = n + 1 == len(grams)
        counts = np.zeros(0, np.uint8) if is_last else _count_children(gram.keys, grams[n + 1].keys)
        levels.append(
            Level(
                (gram.keys & np.uint64(255)).astype(np.uint8),
                _quantise(gram.log_probs),
                np.zeros(0, np.uint8) if is_last else _quantise(gram.backoffs),
                counts,
            )
        )
    return levels


def _count_children(contexts: Keys, longer: Keys) -> NDArray[np.uint8]:
    return np.bincount(np.searchsorted(contexts, longer >> np.uint64(8)), minlength=len(contexts)).astype(np.uint8)


def _quantise(logs: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.round(-logs / _STEP), 0, 255).astype(np.uint8)


class CharacterState:
    """The characters before, as far back as a model looks, and what was worked out of those that follow.

    A state belongs to whoever holds it: it stays right when its model forgets, which only drops the way to find it.
    """

    __slots__ = ("context", "lengths", "places", "steps")

    def __init__(self, context: bytes, lengths: bytes, places: tuple[int, ...]) -> None:
        """Hold the longest end of the text that is listed, and all ends of it that are, the longest first.

        Args:
            context: Symbols of the longest end.
            lengths: Of each end.
            places: Of each end, among the n-grams of its length.
        """
        self.context = context
        self.lengths = lengths
        self.places = places
        self.steps: dict[str, tuple[float, CharacterState]] = {}


class CharacterModel:
    """Gives the probability of each next character; what it worked out is kept. Threads may share a model.

    Args:
        alphabet: The characters that it knows, of digits and typography the plain ones (`plain`); that at place i has
            symbol i + 1.
        levels: The n-grams, those of one symbol first: all symbols, in order.
    """

    def __init__(self, alphabet: str, levels: Sequence[Level]) -> None:
        self.alphabet = alphabet
        self.order = len(levels)
        self._levels = levels
        self._symbol_of = {c: i for i, c in enumerate(alphabet, 1)}
        self._symbols = [level.symbols.tobytes() for level in levels]
        # Where the continuations of each n-gram begin in the next level.
        self._starts = [np.cumsum(np.append(0, level.children), dtype=np.uint32).data for level in levels[:-1]]
        self._costs = [level.costs.tobytes() for level in levels]
        self._backoff_costs = [level.backoff_costs.tobytes() for level in levels]
        self._states: dict[bytes, CharacterState] = {}

    @property
    def start(self) -> CharacterState:
        """The state at the start of a line."""
        return self._lone_state(self._symbol(" "))

    def tidy(self) -> None:
        """Forget all states if there are very many; those that are in use stay right."""
        if len(self._states) > _MOST_STATES:
            self._states = {}

    def step(self, state: CharacterState, character: str) -> tuple[float, CharacterState]:
        """Return the log probability of a character after a state, and the state that follows.

        A combining mark that the model does not know costs nothing: texts that it was made from do without.
        """
        found = state.steps.get(character)
        if found is None:
            symbol = self._symbol(character)
            if symbol == UNKNOWN and unicodedata.combining(character):
                log_probability, after = 0.0, state
            else:
                log_probability, after = self._work_out(state, symbol)
            found = state.steps[character] = (log_probability - _digit_cost(character), after)
        return found

    def alone(self, character: str) -> float:
        """Log probability of a character, whatever comes before."""
        return -self._costs[0][self._symbol(character)] * _STEP - _digit_cost(character)

    def _symbol(self, character: str) -> int:
        symbol = self._symbol_of.get(plain(character))
        if symbol is None and character.isalpha():  # in a model of texts without them, ſ counts as s and ā as a
            symbol = self._symbol_of.get(letter_of(character))
        return UNKNOWN if symbol is None else symbol

    def _work_out(self, state: CharacterState, symbol: int) -> tuple[float, CharacterState]:
        """Log probability of a symbol after a state, and the state that follows: what the model lists of the context.

        An n-gram is only listed together with the context that it continues, so all ends of the new context that are
        listed continue ends of the old one that are.
        """
        cost, is_listed = 0, False
        lengths: list[int] = []
        places: list[int] = []
        for length, context in zip(state.lengths, state.places, strict=True):
            starts = self._starts[length - 1]
            place = self._symbols[length].find(symbol, starts[context], starts[context + 1])
            if place < 0:
                cost += 0 if is_listed else self._backoff_costs[length - 1][context]
                continue
            if not is_listed:
                cost, is_listed = cost + self._costs[length][place], True
            if length < self.order - 1:
                if not lengths:
                    after = self._states.get(state.context[-length:] + bytes((symbol,)))
                    if after is not None:
                        return -cost * _STEP, after
                lengths.append(length + 1)
                places.append(place)
        if not is_listed:
            cost += self._costs[0][symbol]
        if not lengths:
            return -cost * _STEP, self._lone_state(symbol)
        context_after = state.context[1 - lengths[0] :] + bytes((symbol,))
        after = CharacterState(context_after, bytes((*lengths, 1)), (*places, symbol))
        return -cost * _STEP, self._states.setdefault(context_after, after)

    def _lone_state(self, symbol: int) -> CharacterState:
        """The state of which a model knows no more than the last symbol; of a model without contexts not even that."""
        context = bytes((symbol,)) if self.order > 1 else b""
        return self._states.get(context) or self._states.setdefault(
            context, CharacterState(context, b"\1"[: len(context)], (symbol,)[: len(context)])
        )


def plain(character: str) -> str:
    """What a character counts as in a model."""
    return _ANY_DIGIT if character in _DIGITS else _PLAIN.get(character, character)


def _digit_cost(character: str) -> float:
    return _DIGIT_COST * _STEP if character in _DIGITS else 0.0


def to_symbols(texts: Iterable[str], alphabet: str) -> NDArray[np.uint8]:
    """Turn paragraphs into one text of symbols, white space made single spaces."""
    symbols = {c: i for i, c in enumerate(alphabet, 1)}
    text = " " + " ".join(itertools.chain.from_iterable(text.split() for text in texts))
    table = {c: symbols.get(plain(c), UNKNOWN) for c in set(text)}
    return np.array([table[c] for c in text], np.uint8)
