"""Confidences of a trained model, fitted on what it read in the validation lines."""

import math
from collections.abc import Sequence

from quillread.decode.confidence import fit_calibration
from quillread.text.align import align
from quillread.train.lines import ValidationSet
from quillread.types import Calibration, Transcript

_LEAST = 1e-26
"""Less likely readings count as this likely."""


def fit_calibrations(
    sets: Sequence[ValidationSet], read: Sequence[Sequence[Transcript]]
) -> tuple[Calibration, Calibration]:
    """Fit the confidences of lines and of words: how often readings of a likelihood are exactly right.

    Args:
        sets: Validation lines.
        read: What was read in them by a recogniser that is not calibrated: its confidences are likelihoods.

    Returns:
        That of lines and that of words.
    """
    lines: list[tuple[float, bool]] = []
    words: list[tuple[float, bool]] = []
    for part, transcripts in zip(sets, read, strict=True):
        for sample, transcript in zip(part.samples, transcripts, strict=True):
            lines.append((transcript.confidence, transcript.text == sample.text.strip()))
            pairs = align(sample.text.split(), [word.text for word in transcript.words])
            right = [wrote == found for wrote, found in pairs if found is not None]
            words.extend(zip((word.confidence for word in transcript.words), right, strict=True))
    return _fit(lines), _fit(words)


def _fit(reported: Sequence[tuple[float, bool]]) -> Calibration:
    return fit_calibration([math.log(max(p, _LEAST)) for p, _ in reported], [right for _, right in reported])
