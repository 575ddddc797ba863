"""LineRecognizer: the only path from a line image to a transcript."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quillread.decode.confidence import calibrate
from quillread.decode.ctc import Emission, Hypothesis, LogProbs, greedy
from quillread.images.preprocess import ink_pixels
from quillread.models.checkpoint import ModelInfo
from quillread.text.charset import Charset
from quillread.types import Character, Polygon, Transcript, UInt8Image, Word

_PAD = 64
"""Line images are padded to a multiple of this width, so that their number of different shapes stays small."""


class CtcBackend(Protocol):
    """A network that gives class probabilities for each column."""

    def __call__(self, pixels: NDArray[np.float32]) -> LogProbs:
        """Map float32 (N, 1, h, W) to log probabilities float32 (N, W / column_width, classes)."""


class LineRecognizer:
    """Reads line images with a CTC model.

    Every line is padded by itself and batched only with lines of the same padded width: what is read in a line never
    depends on the lines beside it.

    Args:
        backend: The network.
        info: Its preprocessing, charset and calibration.
        batch_size: Most lines in one call of the network.
    """

    def __init__(self, backend: CtcBackend, info: ModelInfo, batch_size: int = 8) -> None:
        self.info = info
        self._backend = backend
        self._charset = Charset(info.charset)
        self._batch_size = batch_size

    def read(self, images: Sequence[UInt8Image]) -> list[Transcript]:
        """Read line images.

        Args:
            images: uint8 RGB, each (H, W, 3); one line of writing each.

        Returns:
            One transcript an image, in order; positions in pixels of that image.

        Raises:
            ImageError: If an image is empty or of another form.
        """
        lines = [ink_pixels(image, self.info.ink) for image in images]
        batches: dict[int, list[int]] = {}
        for i, line in enumerate(lines):
            batches.setdefault(-(-line.shape[1] // _PAD) * _PAD, []).append(i)
        transcripts: dict[int, Transcript] = {}
        for width, members in batches.items():
            for start in range(0, len(members), self._batch_size):
                part = members[start : start + self._batch_size]
                pixels = np.zeros((len(part), 1, self.info.ink.height, width), np.float32)
                for row, i in enumerate(part):
                    pixels[row, 0, :, : lines[i].shape[1]] = lines[i]
                for i, log_probs in zip(part, self._backend(pixels), strict=True):
                    columns = -(-lines[i].shape[1] // self.info.column_width)
                    hypothesis = greedy(log_probs[:columns], self._charset)
                    transcripts[i] = self._place(hypothesis, lines[i].shape[1], images[i])
        return [transcripts[i] for i in range(len(images))]

    def _place(self, hypothesis: Hypothesis, width: int, image: UInt8Image) -> Transcript:
        """Turn columns into pixels of the line image, and characters into words."""
        to_image = self.info.column_width * image.shape[1] / width
        # A line of spaces alone is an empty line, and spaces at the ends are no writing.
        kept = _strip(hypothesis.emissions)
        limit = float(image.shape[1])
        characters = tuple(
            Character(e.text, e.probability, min(e.start * to_image, limit), min(e.stop * to_image, limit))
            for e in kept
        )
        return Transcript(
            text="".join(c.text for c in characters),
            confidence=calibrate(hypothesis.log_probability, self.info.line_calibration),
            words=_words(characters, image.shape[0]),
            characters=characters,
        )


def _strip(emissions: tuple[Emission, ...]) -> tuple[Emission, ...]:
    inked = [i for i, e in enumerate(emissions) if e.text != " "]
    return emissions[inked[0] : inked[-1] + 1] if inked else ()


def _words(characters: Sequence[Character], height: int) -> tuple[Word, ...]:
    words: list[Word] = []
    run: list[Character] = []
    for character in [*characters, Character(" ", 1.0, 0.0, 0.0)]:
        if character.text != " ":
            run.append(character)
        elif run:
            x0, x1 = run[0].x0, run[-1].x1
            outline = Polygon(((x0, 0.0), (x1, 0.0), (x1, float(height)), (x0, float(height))))
            confidence = float(np.prod([c.confidence for c in run]))
            words.append(Word("".join(c.text for c in run), confidence, outline))
            run = []
    return tuple(words)
