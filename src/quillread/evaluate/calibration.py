"""Does the confidence mean what it says: the probability that a line is exactly right?"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quillread.decode.confidence import Report, calibrate, fit_calibration
from quillread.evaluate.metrics import EditCounts
from quillread.text.align import align
from quillread.types import Calibration, Transcript


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The lines whose confidence lies in [low, high); the last bin holds 1 too."""

    low: float
    high: float
    lines: int
    confidence: float
    """Mean confidence of its lines."""
    accuracy: float
    """Share of its lines that are exactly right."""


@dataclass(frozen=True, slots=True)
class AcceptancePoint:
    """What happens if only lines with at least this confidence are accepted."""

    threshold: float
    share: float
    """Share of all lines that are accepted, above 0."""
    cer: float
    """Error rate of the accepted lines; nan if their references are empty."""


def reliability_bins(confidence: Sequence[float], is_exact: Sequence[bool], bins: int = 10) -> list[ReliabilityBin]:
    """Sort lines into bins of equal width by confidence, 0 to 1; bins without lines are skipped."""
    values, exact = np.asarray(confidence, np.float64), np.asarray(is_exact, np.float64)
    return [
        ReliabilityBin(
            number / bins,
            (number + 1) / bins,
            int(members.sum()),
            float(values[members].mean()),
            float(exact[members].mean()),
        )
        for number in range(bins)
        if (members := bin_numbers(values, bins) == number).any()
    ]


def bin_numbers(confidence: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Return the number of the equal-width bin of each confidence, from 0."""
    return np.minimum((confidence * bins).astype(np.int64), bins - 1)


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Average |accuracy - confidence| over the bins by their share of lines; 0 to 1, nan without lines.

    Source: M. Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    lines = sum(part.lines for part in bins)
    if not lines:
        return float("nan")
    return sum(part.lines * abs(part.accuracy - part.confidence) for part in bins) / lines


def acceptance_curve(confidence: Sequence[float], counts: Sequence[EditCounts]) -> list[AcceptancePoint]:
    """Accept lines from the most confident on, and give the error rate of what is accepted.

    Lines of equal confidence are accepted together, since no threshold can part them.

    Returns:
        One point for each distinct confidence, in order of growing share; the last accepts every line.
    """
    values = np.asarray(confidence, np.float64)
    order = np.argsort(-values, kind="stable")
    edits = np.cumsum([counts[i].edits for i in order])
    lengths = np.cumsum([counts[i].length for i in order])
    ranked = values[order]
    last_of_its_kind = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
    return [
        AcceptancePoint(
            float(ranked[i]),
            float((i + 1) / len(ranked)),
            float(edits[i] / lengths[i]) if lengths[i] else float("nan"),
        )
        for i in last_of_its_kind
    ]


_LEAST = 1e-26
"""Less likely readings count as this likely."""


FEWEST = 50
"""Lines below which nothing is fitted where there is something to keep."""
_PARTS = 5
"""Of the cross-validation."""

_Reported = list[tuple[float, bool]]
"""Confidences, and whether what they are of was right."""


def fit_calibrations(
    read: Iterable[tuple[str, Transcript]], known: tuple[Calibration, Calibration] | None = None
) -> tuple[Calibration, Calibration]:
    """Fit the confidences of lines and of words: how often readings of a likelihood are exactly right.

    Args:
        read: The text of each line, and what a recogniser read that is not calibrated: its confidences are likelihoods.
        known: Those of lines and of words that the model had before. They are kept if there are few lines, or if a fit
            to four fifths of the lines says less of the other fifth.

    Returns:
        That of lines and that of words.
    """
    lines: list[_Reported] = []
    words: list[_Reported] = []
    for text, transcript in read:
        lines.append([(transcript.confidence, transcript.text == text.strip())])
        pairs = align(text.split(), [word.text for word in transcript.words])
        right = [wrote == found for wrote, found in pairs if found is not None]
        words.append(list(zip((word.confidence for word in transcript.words), right, strict=True)))
    of_lines, of_words = (None, None) if known is None else known
    return _choose(lines, of_lines), _choose(words, of_words)


def _choose(reported: Sequence[_Reported], known: Calibration | None) -> Calibration:
    """A calibration of what was reported of each line, or the known one."""
    if known is None:
        return _fit(reported)
    if len(reported) < FEWEST:
        return known
    kept = fitted = 0.0
    for part in range(_PARTS):
        held = reported[part::_PARTS]
        rest = [line for i, line in enumerate(reported) if i % _PARTS != part]
        kept += _surprise(held, known)
        fitted += _surprise(held, _fit(rest))
    return _fit(reported) if fitted < kept else known


def _fit(reported: Sequence[_Reported]) -> Calibration:
    pairs = list(itertools.chain.from_iterable(reported))
    return fit_calibration([Report(_log(p)) for p, _ in pairs], [right for _, right in pairs])


def _surprise(reported: Sequence[_Reported], calibration: Calibration) -> float:
    """How little calibrated confidences foresee what is right: the cross-entropy, in nats."""
    total = 0.0
    for p, right in itertools.chain.from_iterable(reported):
        confidence = calibrate(Report(_log(p)), calibration)
        total -= _log(confidence if right else 1 - confidence)
    return total


def _log(probability: float) -> float:
    return math.log(max(probability, _LEAST))
