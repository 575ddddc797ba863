"""Runs a model over a data set."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from quillread.data.source import Source, fixed_sample, readable
from quillread.errors import DataError
from quillread.evaluate.predictions import Prediction
from quillread.recognize.ensemble import LineReader
from quillread.types import Progress, UInt8Image

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
    faults: Sequence[str] = ()
    """What is wrong with the images that could not be read; their lines are left out."""


def run_evaluation(recognizer: LineReader, source: Source, progress: Progress | None = None) -> EvaluationRun:
    """Read every line of a source; those whose images cannot be read are left out, and told in `faults`.

    Raises:
        DataError: If the source is empty, no image can be read, or two lines have the same id.
    """
    if len(source) == 0:
        raise DataError(f"{source.name}: holds no lines")
    rows: list[Prediction] = []
    faults: list[DataError] = []
    position: dict[str, int] = {}
    start = time.perf_counter()
    lines = readable(source, range(len(source)), faults.append)
    while chunk := list(itertools.islice(lines, _CHUNK)):
        transcripts = recognizer.read([sample.image for _, sample in chunk])
        for (index, sample), transcript in zip(chunk, transcripts, strict=True):
            if sample.id in position:
                raise DataError(f"{source.name}: two lines have the id {sample.id!r}")
            position[sample.id] = index
            rows.append(Prediction(sample.id, sample.group, sample.text, transcript.text, transcript.confidence))
        if progress:
            progress(chunk[-1][0] + 1, len(source))
    seconds = (time.perf_counter() - start) / len(rows)

    def image_of(line_id: str) -> UInt8Image | None:
        return fixed_sample(source, position[line_id]).image if line_id in position else None

    return EvaluationRun(rows, seconds, image_of, [fault.message for fault in faults])
