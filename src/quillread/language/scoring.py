"""What a language makes of a text: characters and words weighed together; mixtures of several languages."""

import math
import threading
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from quillread.errors import ConfigError
from quillread.language.words import UNKNOWN, is_linking
from quillread.text.normalise import is_mark, nfc

_NAME = -11.5
"""A word of the lexicon is at least this likely (log of 1e-5): as a rare word of the language is."""


_PARTED = -3.5
"""A line ends within a word about this often (log of 3 %)."""

_DIGITS = frozenset("0123456789")
_BEFORE_MARKS = "\u02ff"
"""The last character before all combining marks."""


class CharactersState(Protocol):
    """What a model of characters knows of the text before."""

    @property
    def steps(self) -> Mapping[str, tuple[float, Any]]:
        """What it has said of characters that follow: log probability, and the state then."""


class Characters(Protocol):
    """Gives the probability of each next character."""

    @property
    def start(self) -> Any:
        """State at the start of a line."""

    def step(self, state: Any, character: str) -> tuple[float, Any]:
        """Log probability of a character after a state, and the state that follows."""

    def alone(self, character: str) -> float:
        """Log probability of a character, whatever comes before."""

    def tidy(self) -> None:
        """Forget all states if there are very many; those that are in use stay right."""


class Words(Protocol):
    """Gives the probability of each next word."""

    def __contains__(self, word: object) -> bool:
        """Whether a word in lower case is known."""

    def score(self, before: int, word: str, spelled: float) -> tuple[float, int]:
        """Log probability of a word in lower case after the one with a number, and its own number; 0 is unknown."""


@dataclass(frozen=True, slots=True)
class LanguageWeights:
    """How much a language counts beside what was seen; chosen by `quill lm tune`."""

    characters: float = 0.5
    """Of the log probability of each character."""
    words: float = 0.3
    """How much of that goes to words instead: each counts as much as this times its own log probability, and its
    spelling as much less. At most `characters`."""
    length: float = 0.0
    """What each character adds, in nats: without it short texts win."""

    def __post_init__(self) -> None:
        if not (0 <= self.words <= self.characters <= 10 and abs(self.length) <= 10):
            raise ConfigError(
                f"weights of a language lie in 0 to 10, that of words at most that of characters, got {self}"
            )


class State(NamedTuple):
    """Where a text stands."""

    characters: CharactersState
    """State of the character model."""
    before: int
    """Number of the last whole word; 0 at the start of a clause."""
    word: str
    """Letters since then, in lower case."""
    spelled: float
    """Their log probability."""
    in_number: bool = False
    """Whether the last character is a digit."""
    parted: float | None = None
    """What the last character added, if it is a hyphen behind letters: a word that may go on in the next line."""


def mean_log_probability(characters: Characters, text: str) -> float:
    """Log probability of a line of text by its number of characters; 0 if it is empty."""
    return sum(_each(characters, text)) / max(len(text), 1)


def evidence(characters: Characters, text: str) -> float:
    """Tell how much better a model predicts the letters of a text than by their frequency: nats a letter.

    About 2 for a text in the model's language, much less for one in another; 0 if there are no letters.
    """
    logs = zip(text, _each(characters, text), strict=True)
    gains = [log_probability - characters.alone(c) for c, log_probability in logs if c.isalpha()]
    return sum(gains) / max(len(gains), 1)


def _each(characters: Characters, text: str) -> list[float]:
    """Log probability of each character of a line."""
    logs, state = [], characters.start
    for character in text:
        log_probability, state = characters.step(state, character)
        logs.append(log_probability)
    return logs


class Language:
    """Scores texts in a language.

    Args:
        characters: Its characters.
        words: Its words, if they are to count.
        weights: How much they count.
        lexicon: More words in lower case, at least as likely as a rare word.
    """

    def __init__(
        self,
        characters: Characters,
        words: Words | None,
        weights: LanguageWeights,
        lexicon: Container[str] = (),
    ) -> None:
        self._characters = characters
        self._words = words if weights.words else None
        self._weights = weights
        self._for_characters, self._for_length = weights.characters, weights.length
        self._lexicon = lexicon

    def start(self) -> State:
        """The state at the start of a line."""
        self._characters.tidy()
        return State(self._characters.start, UNKNOWN, "", 0.0)

    def extend(self, state: State, character: str) -> tuple[float, State]:
        """Return what one more character adds to the score, and the state after it."""
        # Most steps are known already: a look into the state is cheaper than a call.
        log_probability, after = state[0].steps.get(character) or self._characters.step(state[0], character)
        score = self._for_characters * log_probability + self._for_length
        if character.isalpha():
            return score, State(after, state[1], state[2] + character.lower(), state[3] + log_probability)
        if character > _BEFORE_MARKS and state[2] and is_mark(character):
            return score, State(after, state[1], nfc(state[2] + character), state[3] + log_probability)
        if character in _DIGITS:
            # A number is not made shorter: any of them is as good as another.
            return max(score, 0.0) if state[4] else score, State(after, UNKNOWN, "", 0.0, True)
        before = state[1]
        if state[2]:
            ended, before = self._end_word(state)
            score += ended
        parted = score if state[2] and character == "-" else None
        return score, State(after, before if is_linking(character) else UNKNOWN, "", 0.0, False, parted)

    def finish(self, state: State) -> float:
        """What the end of the line adds: it ends a word."""
        log_probability, _ = self._characters.step(state[0], " ")
        if state.parted is not None:
            # No text that a language is learnt from has lines; so this is set, not learnt.
            return max(self._weights.characters * log_probability, self._weights.characters * _PARTED - state.parted)
        return self._weights.characters * log_probability + (self._end_word(state)[0] if state[2] else 0.0)

    def score(self, text: str) -> float:
        """Score of a whole line."""
        total, state = 0.0, self.start()
        for character in text:
            added, state = self.extend(state, character)
            total += added
        return total + self.finish(state)

    def _end_word(self, state: State) -> tuple[float, int]:
        before, word, spelled = state[1:4]
        raised = 0.0
        if word in self._lexicon and spelled < _NAME:
            raised = self._weights.characters * (_NAME - spelled)
            spelled = _NAME
        if self._words is None:
            return raised, UNKNOWN
        log_probability, number = self._words.score(before, word, spelled)
        if word in self._lexicon:
            log_probability = max(log_probability, _NAME)
        return raised + self._weights.words * (log_probability - spelled), number


_MOST_STATES = 100_000
"""States that are kept over from line to line."""


def _log_sum(weights: Sequence[float], logs: Sequence[float]) -> float:
    most = max(logs)
    return most + math.log(sum(w * math.exp(x - most) for w, x in zip(weights, logs, strict=True)))


class MixedState:
    """A state of each model of a mixture, and what was worked out of the characters that follow."""

    __slots__ = ("states", "steps")

    def __init__(self, states: tuple[Any, ...]) -> None:
        self.states = states
        self.steps: dict[str, tuple[float, MixedState]] = {}


class MixedCharacters:
    """Character models as one. Threads may share it.

    Args:
        models: At least one.
        weights: How much each counts; they add up to 1.
    """

    def __init__(self, models: Sequence[Characters], weights: Sequence[float]) -> None:
        self._models = models
        self._weights = weights
        self._known: dict[tuple[Any, ...], MixedState] = {}

    @property
    def start(self) -> MixedState:
        """State at the start of a line."""
        return self._state(tuple(model.start for model in self._models))

    def tidy(self) -> None:
        """Forget all states if there are very many; those that are in use stay right."""
        for model in self._models:
            model.tidy()
        if len(self._known) > _MOST_STATES:
            self._known = {}

    def step(self, state: MixedState, character: str) -> tuple[float, MixedState]:
        """Log probability of a character after a state, and the state that follows."""
        found = state.steps.get(character)
        if found is None:
            steps = [m.step(s, character) for m, s in zip(self._models, state.states, strict=True)]
            log_probability = _log_sum(self._weights, [p for p, _ in steps])
            found = state.steps[character] = (log_probability, self._state(tuple(s for _, s in steps)))
        return found

    def alone(self, character: str) -> float:
        """Log probability of a character, whatever comes before."""
        return _log_sum(self._weights, [model.alone(character) for model in self._models])

    def _state(self, states: tuple[Any, ...]) -> MixedState:
        return self._known.setdefault(states, MixedState(states))


class MixedWords:
    """Word models as one. Threads may share it.

    Args:
        models: At least one.
        weights: How much each counts; they add up to 1.
    """

    def __init__(self, models: Sequence[Words], weights: Sequence[float]) -> None:
        self._models = models
        self._weights = weights
        nothing = (0,) * len(models)
        self._numbers = {nothing: 0}
        self._known = [nothing]
        self._lock = threading.Lock()

    def __contains__(self, word: object) -> bool:
        """Whether one of the models knows a word in lower case."""
        return any(word in model for model in self._models)

    def score(self, before: int, word: str, spelled: float) -> tuple[float, int]:
        """Log probability of a word after the one with a number, and its own number; 0 if no model knows it."""
        scores = [m.score(b, word, spelled) for m, b in zip(self._models, self._known[before], strict=True)]
        key = tuple(number for _, number in scores)
        number = self._numbers.get(key)
        if number is None:
            with self._lock:
                number = self._numbers.get(key)
                if number is None:
                    number = len(self._known)
                    self._known.append(key)  # before its number can be had
                    self._numbers[key] = number
        return _log_sum(self._weights, [p for p, _ in scores]), number
