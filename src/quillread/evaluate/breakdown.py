"""Where the errors lie: by character, length, confidence and group; all on text as it is (`cer`)."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from quillread.evaluate.calibration import bin_numbers
from quillread.evaluate.metrics import EditCounts, LineScore, total
from quillread.evaluate.predictions import Prediction
from quillread.text.align import align

LENGTH_LIMITS = (10, 20, 30, 40, 50, 60, 80, 100)
"""Upper ends, in characters, of the classes of `cer_by_length`; one more class is open above."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Confusion:
    """A character error and how often it happens."""

    reference: str
    """The character that was written; empty for an insertion."""
    read: str
    """The character that was read; empty for a deletion."""
    count: int


@dataclass(frozen=True, slots=True)
class Confusions:
    """The most frequent character errors of each kind, most frequent first."""

    substitutions: tuple[Confusion, ...]
    insertions: tuple[Confusion, ...]
    deletions: tuple[Confusion, ...]


@dataclass(frozen=True, slots=True)
class Bucket:
    """The error rate of a part of the lines."""

    label: str
    lines: int
    cer: float
    """nan if the references are empty."""


def confusions(rows: Sequence[Prediction], top: int = 30) -> Confusions:
    """Count which characters are taken for which, in the shortest alignment of each line."""
    counts = Counter(
        (wanted or "", read or "")
        for row in rows
        if row.reference != row.text
        for wanted, read in align(row.reference.strip(), row.text.strip())
        if wanted != read
    )
    ranked = sorted(
        (Confusion(wanted, read, count) for (wanted, read), count in counts.items()),
        key=lambda confusion: (-confusion.count, confusion.reference, confusion.read),
    )
    return Confusions(
        substitutions=tuple([c for c in ranked if c.reference and c.read][:top]),
        insertions=tuple([c for c in ranked if not c.reference][:top]),
        deletions=tuple([c for c in ranked if not c.read][:top]),
    )


def cer_by_length(scores: Sequence[LineScore]) -> list[Bucket]:
    """Part the lines by the length of their reference in characters; classes without lines are skipped."""
    numbers = np.searchsorted(LENGTH_LIMITS, [score.cer.length for score in scores])
    starts = (0, *(limit + 1 for limit in LENGTH_LIMITS))
    labels = [f"{low}–{high}" for low, high in zip(starts, LENGTH_LIMITS, strict=False)]
    labels.append(f"{starts[-1]}+")
    return [Bucket(labels[number], lines, cer) for number, lines, cer in sorted(_by_key(scores, numbers.tolist()))]


def cer_by_confidence(rows: Sequence[Prediction], scores: Sequence[LineScore], bins: int = 10) -> list[Bucket]:
    """Part the lines into bins of equal width by confidence in percent; bins without lines are skipped."""
    numbers = bin_numbers(np.array([row.confidence for row in rows], np.float64), bins)
    return [
        Bucket(f"{100 * number / bins:.0f}–{100 * (number + 1) / bins:.0f}", lines, cer)
        for number, lines, cer in sorted(_by_key(scores, numbers.tolist()))
    ]


def cer_by_group(rows: Sequence[Prediction], scores: Sequence[LineScore]) -> list[Bucket]:
    """Part the lines by group, worst group first; lines without a group are skipped."""
    named = [(row.group, score) for row, score in zip(rows, scores, strict=True) if row.group]
    buckets = [
        Bucket(group, lines, cer)
        for group, lines, cer in _by_key([score for _, score in named], [group for group, _ in named])
    ]
    return sorted(buckets, key=lambda bucket: (math.isnan(bucket.cer), -bucket.cer, bucket.label))


def _by_key(scores: Sequence[LineScore], keys: Sequence[Key]) -> list[tuple[Key, int, float]]:
    """Return (key, lines, cer) for each key."""
    members: dict[Key, list[EditCounts]] = {}
    for key, score in zip(keys, scores, strict=True):
        members.setdefault(key, []).append(score.cer)
    return [(key, len(counts), total(counts).rate) for key, counts in members.items()]
