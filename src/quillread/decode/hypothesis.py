"""A reading of one line as the networks give it, before it is placed on the image."""

from dataclasses import dataclass, replace


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
    rows: int = 1
    """Rows of writing that the image was seen to hold, if that was looked at."""

    def scaled(self, factor: float, limit: float) -> "Hypothesis":
        """The same with positions multiplied by `factor`, none beyond `limit`."""
        emissions = tuple(
            replace(e, start=min(e.start * factor, limit), stop=min(e.stop * factor, limit)) for e in self.emissions
        )
        return replace(self, emissions=emissions)
