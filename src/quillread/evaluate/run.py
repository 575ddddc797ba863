"""Runs a model over a data set."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from quillread.data.source import Source
from quillread.errors import DataError
from quillread.evaluate.predictions import Prediction
from quillread.recognize.ensemble import LineReader
from quillread.types import Progress, Sample, UInt8Image

_CHUNK = 64
"""Lines held in memory at a time."""


@dataclass(frozen=True, slots=True)
class EvaluationRun:
    """What a model read in a data set."""

    rows: list[Prediction]
    seconds_per_line: float
    """Wall time of decoding the images and reading them, without loading the model."""
    image_of: Callable[[str], UInt8Image | None]
    """Gives the image of a line by its id, uint8 RGB (H, W, 3)."""


def run_evaluation(recognizer: LineReader, source: Source, progress: Progress | None = None) -> EvaluationRun:
    """Read every line of a source.

    Raises:
        DataError: If the source is empty, an image cannot be read, or two lines have the same id.
    """
    if len(source) == 0:
        raise DataError(f"{source.name}: holds no lines")
    rows: list[Prediction] = []
    position: dict[str, int] = {}
    start = time.perf_counter()
    for first in range(0, len(source), _CHUNK):
        samples = [_sample(source, i) for i in range(first, min(first + _CHUNK, len(source)))]
        transcripts = recognizer.read([sample.image for sample in samples])
        for sample, transcript in zip(samples, transcripts, strict=True):
            if sample.id in position:
                raise DataError(f"{source.name}: two lines have the id {sample.id!r}")
            position[sample.id] = len(rows)
            rows.append(Prediction(sample.id, sample.group, sample.text, transcript.text, transcript.confidence))
        if progress:
            progress(len(rows), len(source))
    seconds = (time.perf_counter() - start) / len(rows)

    def image_of(line_id: str) -> UInt8Image | None:
        return _sample(source, position[line_id]).image if line_id in position else None

    return EvaluationRun(rows, seconds, image_of)


def _sample(source: Source, index: int) -> Sample:
    # Synthetic lines look the same whenever they are asked for.
    return source.sample(index, np.random.default_rng((0, index)))
