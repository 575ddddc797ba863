"""Which language a line is in, if in any of those that are known, and what goes with a model that reads with it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from quillread.decode.beam import BeamConfig
from quillread.errors import ConfigError
from quillread.language.scoring import Characters, Language, LanguageWeights, Words, evidence, mean_log_probability
from quillread.language.spelling import SpellingConfig
from quillread.types import Calibration, ErrorCurve


@dataclass(frozen=True, slots=True)
class Tongue:
    """A language that lines may be read with."""

    name: str
    characters: Characters
    words: Words
    language: Language


class LanguageChoice:
    """Chooses a language for a line by what was read without one.

    Args:
        tongues: Languages to choose from.
        rivals: Characters of other languages: a text that one of them predicts better is in none of `tongues`.
        least_evidence: A reading has this much evidence for its language, or the language is dropped.
    """

    def __init__(self, tongues: Sequence[Tongue], rivals: Sequence[Characters], least_evidence: float) -> None:
        self._tongues = tongues
        self._rivals = rivals
        self._least = least_evidence

    def choose(self, text: str) -> Tongue | None:
        """The language that a text is most likely in; None if it is more likely in a rival, or there is no text."""
        if not text.strip():
            return None
        # Those that are never chosen would remember every text that they were asked about.
        for known in (*(tongue.characters for tongue in self._tongues), *self._rivals):
            known.tidy()
        likely = [mean_log_probability(tongue.characters, text) for tongue in self._tongues]
        best = max(range(len(likely)), key=likely.__getitem__)
        if any(mean_log_probability(rival, text) > likely[best] for rival in self._rivals):
            return None
        return self._tongues[best]

    def accepts(self, tongue: Tongue, text: str) -> bool:
        """Whether a reading with a language is a text in that language, as far as one can tell."""
        return evidence(tongue.characters, text) >= self._least


@dataclass(frozen=True, slots=True)
class LanguageSettings:
    """Settings of reading with a language; chosen for a model by `quill lm tune`."""

    weights: LanguageWeights = field(default_factory=lambda: LanguageWeights(0.5, 0.3, 0.6))
    beam: BeamConfig = field(default_factory=BeamConfig)
    least_evidence: float = 1.4
    """Readings that the language predicts by less than this, in nats a character, are left as they are without it."""
    spelling: SpellingConfig = field(default_factory=SpellingConfig)
    """How boldly words are corrected."""
    line_calibration: Calibration = field(default_factory=Calibration)
    """Of line confidences of readings with a language."""
    word_calibration: Calibration = field(default_factory=Calibration)
    """Of word confidences, likewise."""
    error_curve: ErrorCurve = field(default_factory=ErrorCurve)
    """Errors to be expected in readings with a language."""

    def __post_init__(self) -> None:
        if not -10 <= self.least_evidence <= 10:
            raise ConfigError(f"least_evidence is a number of nats a character, got {self.least_evidence}")
