"""Marks of the lines that a model was trained on, by which they are known again."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quillread.data.source import Source, fixed_sample
from quillread.errors import DataError
from quillread.types import Sample

_MOST = 500
"""Lines that are marked; looking at all images of a large data set would take long."""
_BYTES = 6
_CHANCE = 2
"""Known lines that may be an accident: blank crops, a line that stands in two data sets."""


def mark(sample: Sample) -> str:
    """A short digest of a line's text and image."""
    digest = hashlib.blake2b(sample.text.encode(), digest_size=_BYTES)
    digest.update(sample.image.tobytes())
    return digest.hexdigest()


def mark_lines(sources: Sequence[Source], usable: Sequence[NDArray[np.int64]]) -> list[str]:
    """Mark lines of sources, evenly spread, at most 500 in all; those whose images cannot be read are skipped.

    Args:
        sources: Of real lines.
        usable: Which of their lines were trained on, for each source.
    """
    share = max(1, sum(map(len, usable)) / _MOST)
    marks: set[str] = set()
    for source, indices in zip(sources, usable, strict=True):
        picks = indices[np.linspace(0, len(indices) - 1, int(len(indices) / share)).round().astype(int)]
        for index in picks.tolist():
            with suppress(DataError):  # the training has named the line
                marks.add(mark(fixed_sample(source, index)))
    return sorted(marks)


def all_marks(provenances: Iterable[Mapping[str, Any]]) -> list[str]:
    """Marks of the lines that any of the models was trained on from which one is made."""
    return sorted({mark for provenance in provenances for mark in provenance.get("trained_on", [])})


def count_seen(marks: Iterable[str], known: Collection[str]) -> int:
    """Count the marks that are among those of a training; 0 for so few that it may be an accident."""
    seen = sum(each in known for each in marks)
    return seen if seen > _CHANCE else 0
