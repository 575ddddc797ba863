"""LineRecognizer: the only path from a line image to a transcript."""

import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

from quillread.decode.confidence import Report, calibrate, doubt, expected_rate
from quillread.decode.hypothesis import (
    Emission,
    Hypothesis,
    compose_emissions,
    report_line,
    report_word,
    strip_emissions,
    word_runs,
)
from quillread.images.geometry import CoordMap
from quillread.images.preprocess import StepCache, preprocess
from quillread.models.model_folder import ModelInfo
from quillread.text.normalise import nfc
from quillread.types import Alternative, Calibration, Character, Polygon, Transcript, UInt8Image, Word


class LineEngine(Protocol):
    """A family of networks: from cleaned line images to what is written there."""

    def __call__(self, images: Sequence[UInt8Image]) -> list[Hypothesis]:
        """Read line images, uint8 RGB (H, W, 3) each; one hypothesis an image, positions in pixels of that image."""


Correction = Callable[[Sequence[Transcript]], list[Transcript]]
"""Changes the transcripts of lines, one for one."""


class LineRecognizer:
    """Reads line images: cleans them, lets the engine read, places the words, calibrates the confidence.

    Args:
        engine: The network and its decoding.
        info: Its preprocessing and calibration.
        cache: Where slow steps of preprocessing are kept, for lines that are read again and again.
        correct: Corrects the transcripts of lines in reading order, if words are to be corrected.
    """

    def __init__(
        self, engine: LineEngine, info: ModelInfo, cache: StepCache | None = None, correct: Correction | None = None
    ) -> None:
        self.info = info
        self._engine = engine
        self._cache = cache
        self._correct = correct or list

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        """Read line images.

        Args:
            images: uint8 RGB, each (H, W, 3); one line of writing each.

        Returns:
            One transcript an image, in order; positions in pixels of that image.

        Raises:
            ImageError: If an image is empty or of another form.
        """
        cleaned = [preprocess(image, self.info.preprocess, self._cache) for image in images]
        hypotheses = self._engine([image for image, _ in cleaned])
        placed = [
            self._place(hypothesis, image.shape[0], back)
            for hypothesis, (image, back) in zip(hypotheses, cleaned, strict=True)
        ]
        return self._correct(placed)

    def _place(self, hypothesis: Hypothesis, height: int, back: CoordMap) -> Transcript:
        """Turn emissions into characters and words on the line image as it came."""
        kept = compose_emissions(strip_emissions(hypothesis.emissions))
        text = "".join(e.text for e in kept)
        by = self.info if hypothesis.share is None else self.info.language
        calibration = by.line_calibration
        words = _words(kept, height, back, by.word_calibration)
        confidence = calibrate(report_line(hypothesis), calibration)
        sure = expected_rate(by.error_curve, doubt([(word.text, word.confidence) for word in words]))
        return Transcript(
            text=text,
            confidence=confidence,
            words=words,
            characters=_characters(kept, height, back),
            alternatives=_alternatives(hypothesis, text, confidence, calibration),
            # Where nothing was read there is no word to be in doubt of; there may be writing all the same.
            expected_error=sure if words else 1 - confidence,
            rows=hypothesis.rows,
        )


def _alternatives(
    hypothesis: Hypothesis, text: str, confidence: float, calibration: Calibration
) -> tuple[Alternative, ...]:
    """Other texts than the one that was read, each once; none is surer than one before it.

    A calibration is fitted to best readings: of two others it may hold the one for surer that the search put behind.
    Where they were compared with the best reading, that goes for it, too.
    """
    others: dict[str, Alternative] = {}
    most = 1.0 if hypothesis.share is None else confidence
    for (other, p), share in itertools.zip_longest(hypothesis.alternatives, hypothesis.alternative_shares):
        composed = nfc(other.strip())
        if composed != text and composed not in others:  # two may differ in how they write an accent
            most = min(most, calibrate(Report(p, share, nats=hypothesis.nats), calibration))
            others[composed] = Alternative(composed, most)
    return tuple(others.values())


def _characters(emissions: Sequence[Emission], height: int, back: CoordMap) -> tuple[Character, ...]:
    if not emissions:
        return ()
    ends = back.back_points([(x, height / 2) for e in emissions for x in (e.start, e.stop)])[:, 0].tolist()
    return tuple(
        Character(e.text, e.probability, x0, x1) for e, x0, x1 in zip(emissions, ends[::2], ends[1::2], strict=True)
    )


def _words(emissions: Sequence[Emission], height: int, back: CoordMap, calibration: Calibration) -> tuple[Word, ...]:
    words: list[Word] = []
    for run in word_runs(emissions):
        x0, x1 = run[0].start, run[-1].stop
        corners = back.back_points([(x0, 0.0), (x1, 0.0), (x1, float(height)), (x0, float(height))])
        outline = Polygon(tuple((float(x), float(y)) for x, y in corners))
        sure = calibrate(report_word(run), calibration)
        words.append(Word("".join(e.text for e in run), sure, outline))
    return tuple(words)
