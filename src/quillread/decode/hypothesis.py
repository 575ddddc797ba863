"""A reading of one line as the networks give it, before it is placed on the image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

_LEAST = 1e-26
"""A character that is less likely counts as this likely."""


@dataclass(frozen=True, slots=True)
class Emission:
    """One decoded character and where it stands."""

    text: str
    probability: float
    """Of the character, 0 to 1; the product over the characters of a word is that of the word."""
    start: float
    """Left end, from 0: in columns as the decoder gives it, in pixels of the line image as an engine gives it."""
    stop: float
    """Right end, exclusive."""
    share: float | None = None
    """Share of the readings that were compared which have the word of this character, by their scores; 0 to 1."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A reading of one line."""

    text: str
    emissions: tuple[Emission, ...]
    """One for each character of `text`."""
    log_probability: float
    """Log of the probability that the network gives to `text`."""
    alternatives: tuple[tuple[str, float], ...] = ()
    """Other readings, the best first, with their log probabilities."""
    share: float | None = None
    """Share of this reading among those that were compared with a language, by their scores; None if none were."""
    rows: int = 1
    """Rows of writing that the image was seen to hold, if that was looked at."""
    alternative_shares: tuple[float, ...] = ()
    """Of `alternatives`, as `share`; empty if none were compared."""

    def scaled(self, factor: float, limit: float) -> "Hypothesis":
        """The same with positions multiplied by `factor`, none beyond `limit`."""
        # Written out, as `replace` takes twice the time.
        emissions = tuple(
            Emission(e.text, e.probability, min(e.start * factor, limit), min(e.stop * factor, limit), e.share)
            for e in self.emissions
        )
        return replace(self, emissions=emissions)


def strip_emissions(emissions: Sequence[Emission]) -> Sequence[Emission]:
    """Drop the spaces at both ends: a line of spaces alone is an empty line, and they are not writing."""
    inked = [i for i, e in enumerate(emissions) if e.text != " "]
    return emissions[inked[0] : inked[-1] + 1] if inked else ()


def word_runs(emissions: Sequence[Emission]) -> list[list[Emission]]:
    """Split emissions into words, at spaces."""
    runs: list[list[Emission]] = [[]]
    for emission in emissions:
        if emission.text == " ":
            runs.append([])
        else:
            runs[-1].append(emission)
    return [run for run in runs if run]


def word_report(run: Sequence[Emission]) -> tuple[float, float | None]:
    """What the network says of a word, as a log probability, and the share of the readings that have it."""
    shares = [e.share for e in run if e.share is not None]
    return sum(math.log(max(e.probability, _LEAST)) for e in run), min(shares, default=None)
