"""What goes with a model that reads with a language: weights, search, when to leave the language out, confidences."""

from dataclasses import dataclass, field

from quillread.decode.language_model import LanguageWeights
from quillread.decode.prefix_beam import BeamConfig
from quillread.decode.spelling import SpellingConfig
from quillread.errors import ConfigError
from quillread.types import Calibration, ErrorCurve


@dataclass(frozen=True, slots=True)
class LanguageSettings:
    """Settings of reading with a language; chosen for a model by `quill lm tune`."""

    weights: LanguageWeights = field(default_factory=lambda: LanguageWeights(0.5, 0.3, 0.6))
    beam: BeamConfig = field(default_factory=BeamConfig)
    least_evidence: float = 1.4
    """Readings that the language foresees by less than this, in nats a character, are left as they are without it."""
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
