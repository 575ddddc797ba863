"""Reads with a language: columns of class probabilities by beam search, or ready-made readings by comparing them."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from quillread.decode.beam import BeamConfig, Found, Scorer, search, search_jointly
from quillread.decode.ctc import LogProbs, greedy, greedy_text, spread
from quillread.decode.hypothesis import Emission, Hypothesis, in_language
from quillread.language.choice import LanguageChoice
from quillread.text.align import align
from quillread.text.charset import Charset

_WORDS = re.compile(r"\S+")


class Silence:
    """A scorer to which all texts are alike."""

    def start(self) -> None:
        """Nothing to begin with."""

    def extend(self, state: None, character: str) -> tuple[float, None]:
        """Add nothing."""
        return 0.0, None

    def finish(self, state: None) -> float:
        """Add nothing."""
        return 0.0


class LanguageDecoder:
    """Decodes the columns of a compact network with a language; without one where the line is in none.

    Args:
        charset: Characters of the classes.
        choice: The languages; None for reading without.
        beam: How widely to search.
        alternatives: Most other readings of each line.
    """

    def __init__(
        self, charset: Charset, choice: LanguageChoice | None, beam: BeamConfig, alternatives: int = 0
    ) -> None:
        self._charset = charset
        self._characters = ["", *charset.characters]
        self._choice = choice
        self._beam = beam
        self._alternatives = alternatives

    def __call__(self, views: Sequence[LogProbs]) -> Hypothesis:
        """Read a line from its columns and those of variants of it; positions in its own, which come first."""
        own = greedy_text(views[0], self._charset) if self._choice else ""
        tongue = self._choice.choose(own) if self._choice else None
        if tongue is not None and self._choice is not None:
            found = self._search(views, tongue.language)
            if self._choice.accepts(tongue, self._charset.decode(found[0].labels)):
                return in_language(self._place(found, views[0]), _nats(_best_path(views[0]), own))
        if len(views) == 1:
            best = greedy(views[0], self._charset)
            if not self._alternatives:
                return best
            others = self._place(self._search(views, Silence()), views[0], best.text).alternatives
            return replace(best, alternatives=others)
        plain = self._place(self._search(views, Silence()), views[0])
        # Its confidence is that of the network alone.
        emissions = tuple(replace(e, share=None) for e in plain.emissions)
        return replace(plain, share=None, alternative_shares=(), emissions=emissions)

    def _search(self, views: Sequence[LogProbs], scorer: Scorer) -> list[Found]:
        if len(views) == 1:
            return search(views[0], self._characters, scorer, self._beam)
        return search_jointly(views, self._characters, scorer, self._beam)

    def _place(self, found: Sequence[Found], log_probs: LogProbs, chosen: str | None = None) -> Hypothesis:
        """Put the best reading on its columns; the alternatives are those with another text than `chosen`, or it."""
        best = found[0]
        texts = [self._charset.decode(one.labels) for one in found]
        chosen = texts[0] if chosen is None else chosen
        shares = to_shares([one.score for one in found])
        of_words = word_shares(texts, shares)
        spans = spread([(column, column + 1) for column in best.columns], len(log_probs))
        emissions = tuple(
            Emission(character, float(np.exp(log_probs[column, label])), start, stop, share)
            for character, column, label, (start, stop), share in zip(
                texts[0], best.columns, best.labels, spans, of_words, strict=True
            )
        )
        others: dict[str, tuple[float, float]] = {}
        for text, one, share in zip(texts, found, shares, strict=True):
            if text.strip() != chosen.strip() and len(others) < self._alternatives:
                others.setdefault(text.strip(), (one.log_probability, share))
        return Hypothesis(
            texts[0],
            emissions,
            best.log_probability,
            alternatives=tuple((text, probability) for text, (probability, _) in others.items()),
            share=shares[0],
            alternative_shares=tuple(share for _, share in others.values()),
        )


class LanguageRescorer:
    """Chooses among the readings that a decoder wrote for a line.

    Args:
        choice: The languages.
    """

    def __init__(self, choice: LanguageChoice) -> None:
        self._choice = choice

    def __call__(self, readings: Sequence[Hypothesis]) -> list[Hypothesis]:
        """Order readings of one line, the decoder's favourite first, by what they are worth in the language.

        Each gets its share; none does where the line is in no language, and the order stays.
        """
        tongue = self._choice.choose(readings[0].text)
        if tongue is None:
            return list(readings)
        scores = [reading.log_probability + tongue.language.score(reading.text) for reading in readings]
        order = sorted(range(len(readings)), key=lambda i: -scores[i])
        if not self._choice.accepts(tongue, readings[order[0]].text):
            return list(readings)
        shares = to_shares([scores[i] for i in order])
        nats = _nats(readings[0].log_probability, readings[0].text)
        best, *others = (
            in_language(replace(readings[i], share=share), nats) for i, share in zip(order, shares, strict=True)
        )
        of_words = word_shares([best.text, *(other.text for other in others)], shares)
        emissions = tuple(replace(e, share=s) for e, s in zip(best.emissions, of_words, strict=True))
        return [replace(best, emissions=emissions), *others]


def _best_path(log_probs: LogProbs) -> float:
    """Log probability of the likeliest path through the columns."""
    return float(log_probs.max(axis=1).sum())


def _nats(log_probability: float, text: str) -> float:
    """Nats a character that a reading lacks to certainty."""
    return -log_probability / max(len(text.strip()), 1)


def to_shares(scores: Sequence[float]) -> list[float]:
    """Turn scores in nats into shares that add up to 1."""
    most = max(scores)
    masses = [math.exp(score - most) for score in scores]
    return [mass / sum(masses) for mass in masses]


def word_shares(texts: Sequence[str], shares: Sequence[float]) -> list[float]:
    """For each character of the first text, the shares of all texts that have its word; of a space 1.

    Args:
        texts: Readings of one line, at least one.
        shares: Theirs.
    """
    words = _WORDS.findall(texts[0])
    held = [0.0] * len(words)
    for text, share in zip(texts, shares, strict=True):
        number = 0
        for ours, theirs in align(words, _WORDS.findall(text)):
            if ours is not None:
                held[number] += share if ours == theirs else 0.0
                number += 1
    of_characters = [1.0] * len(texts[0])
    for match, share in zip(_WORDS.finditer(texts[0]), held, strict=True):
        of_characters[match.start() : match.end()] = [min(share, 1.0)] * len(match.group())
    return of_characters
