"""Several models as one: their probabilities averaged by weight (linear interpolation; Jelinek and Mercer 1980)."""

import math
from collections.abc import Sequence

from quillread.decode.language_model import Characters, Words

_MOST_STATES = 100_000
"""States that are kept over from line to line."""


def _log_sum(weights: Sequence[float], logs: Sequence[float]) -> float:
    most = max(logs)
    return most + math.log(sum(w * math.exp(x - most) for w, x in zip(weights, logs, strict=True)))


class MixedCharacters:
    """Character models as one.

    Args:
        models: At least one.
        weights: How much each counts; they add up to 1.
    """

    def __init__(self, models: Sequence[Characters], weights: Sequence[float]) -> None:
        self._models = models
        self._weights = weights
        self.generation = 0
        self._clear()

    def _clear(self) -> None:
        self.generation += 1
        self._generations = [model.generation for model in self._models]
        self._states: list[tuple[int, ...]] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self._steps: list[dict[str, tuple[float, int]]] = []
        self.start = self._number(tuple(model.start for model in self._models))

    def tidy(self) -> bool:
        """Drop what was kept, if it is very much; tell whether it was."""
        for model in self._models:
            model.tidy()
        # A model may be part of several mixtures, and have been tidied by another one.
        is_stale = self._generations != [model.generation for model in self._models]
        if is_stale or len(self._states) > _MOST_STATES:
            self._clear()
            return True
        return False

    def step(self, state: int, character: str) -> tuple[float, int]:
        """Log probability of a character after a state, and the state that follows."""
        found = self._steps[state].get(character)
        if found is None:
            steps = [m.step(s, character) for m, s in zip(self._models, self._states[state], strict=True)]
            log_probability = _log_sum(self._weights, [p for p, _ in steps])
            found = self._steps[state][character] = (log_probability, self._number(tuple(s for _, s in steps)))
        return found

    def alone(self, character: str) -> float:
        """Log probability of a character, whatever comes before."""
        return _log_sum(self._weights, [model.alone(character) for model in self._models])

    def _number(self, state: tuple[int, ...]) -> int:
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self._states)
            self._states.append(state)
            self._steps.append({})
        return number


class MixedWords:
    """Word models as one.

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

    def __contains__(self, word: object) -> bool:
        """Whether one of the models knows a word in lower case."""
        return any(word in model for model in self._models)

    def score(self, before: int, word: str, spelled: float) -> tuple[float, int]:
        """Log probability of a word after the one with a number, and its own number; 0 if no model knows it."""
        scores = [m.score(b, word, spelled) for m, b in zip(self._models, self._known[before], strict=True)]
        key = tuple(number for _, number in scores)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._known)
            self._known.append(key)
        return _log_sum(self._weights, [p for p, _ in scores]), number
