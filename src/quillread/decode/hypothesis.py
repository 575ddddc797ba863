"""A reading of one line as the networks give it, before it is placed on the image."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from quillread.decode.confidence import Report
from quillread.text.normalise import compositions

_LEAST = 1e-26
"""A character that is less likely counts as this likely."""


class Compared(NamedTuple):
    """How a line, or a part of a line that was read by itself, came to be read with a language."""

    share: float
    """Of its reading, among those that were compared."""
    nats: float
    """Nats a character that the network's own reading lacks to certainty."""


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
    line: Compared | None = None
    """Of the line that the character was read in, or the part of it; None without a language."""


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
    nats: float | None = None
    """Nats a character that the network's own reading lacks to certainty; None without a language."""

    def scaled(self, factor: float, limit: float) -> "Hypothesis":
        """The same with positions multiplied by `factor`, none beyond `limit`."""
        # Written out, as `replace` takes twice the time.
        emissions = tuple(
            Emission(e.text, e.probability, min(e.start * factor, limit), min(e.stop * factor, limit), e.share, e.line)
            for e in self.emissions
        )
        return replace(self, emissions=emissions)


def in_language(reading: Hypothesis, nats: float) -> Hypothesis:
    """A reading that was compared with others in a language; its words know that, and how unsure the network was."""
    line = None if reading.share is None else Compared(reading.share, nats)
    emissions = tuple(Emission(e.text, e.probability, e.start, e.stop, e.share, line) for e in reading.emissions)
    return replace(reading, emissions=emissions, nats=nats)


def strip_emissions(emissions: Sequence[Emission]) -> Sequence[Emission]:
    """Drop the spaces at both ends: a line of spaces alone is an empty line, and they are not writing."""
    inked = [i for i, e in enumerate(emissions) if e.text != " "]
    return emissions[inked[0] : inked[-1] + 1] if inked else ()


def compose_emissions(emissions: Sequence[Emission]) -> Sequence[Emission]:
    """Join the emissions of letters and marks that compose: their text is NFC then, with an emission a character.

    Classes of marks are those of letters that have no composed form; a network may write them on other letters, too.
    """
    joined: list[Emission] = []
    done = 0
    for start, stop, text in compositions([e.text for e in emissions]):
        joined += [*emissions[done:start], *_as_characters(emissions[start:stop], text)]
        done = stop
    return [*joined, *emissions[done:]] if done else emissions


def compose(hypothesis: Hypothesis) -> Hypothesis:
    """The same with its text and emissions as `compose_emissions` gives them."""
    emissions = compose_emissions(hypothesis.emissions)
    if emissions is hypothesis.emissions:
        return hypothesis
    return replace(hypothesis, text="".join(e.text for e in emissions), emissions=tuple(emissions))


def _as_characters(run: Sequence[Emission], text: str) -> Iterator[Emission]:
    """Share the place and the probability of a run out to the characters of its text, of which there is mostly one."""
    count = len(text)
    probability = math.prod(e.probability for e in run) ** (1 / count)
    width = (run[-1].stop - run[0].start) / count
    for i, character in enumerate(text):
        left = run[0].start + i * width
        right = left + width if i + 1 < count else run[-1].stop
        yield Emission(character, probability, left, right, word_share(run), run[0].line)


def word_runs(emissions: Sequence[Emission]) -> list[list[Emission]]:
    """Split emissions into words, at spaces."""
    runs: list[list[Emission]] = [[]]
    for emission in emissions:
        if emission.text == " ":
            runs.append([])
        else:
            runs[-1].append(emission)
    return [run for run in runs if run]


def word_share(run: Sequence[Emission]) -> float | None:
    """Share of the readings that have a word; None if none were compared."""
    return min((e.share for e in run if e.share is not None), default=None)


def report_line(reading: Hypothesis) -> Report:
    """What is reported of a reading."""
    return Report(reading.log_probability, reading.share, nats=reading.nats)


def report_word(run: Sequence[Emission]) -> Report:
    """What is reported of a word."""
    log_probability = sum(math.log(max(e.probability, _LEAST)) for e in run)
    line = run[0].line
    return Report(log_probability, word_share(run), line and line.share, line and line.nats)
