"""Measuring two models on lines that neither was taught: as the collection is read, with intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from quillread.data.source import fixed_sample
from quillread.data.spec import DataSpec, open_source
from quillread.errors import TrainingError
from quillread.evaluate.bootstrap import bootstrap_ci
from quillread.evaluate.compare import compare
from quillread.evaluate.metrics import score_line
from quillread.evaluate.predictions import Prediction
from quillread.options import ReadOptions
from quillread.processes import Worker
from quillread.reader import Reader
from quillread.types import Sample, UInt8Image

_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of it."""

    figures: dict[str, Any]
    """`cer_before`, `cer_after` with `ci95_before` and `ci95_after`, their `difference` with `ci95` and `p`, and three
    `examples`. Rates are fractions, spacing around punctuation ignored."""
    is_better: bool


def evaluate(
    options: ReadOptions, before: Path | str, after: Path, lines: Path, cancelled: Callable[[], bool]
) -> Evaluation | None:
    """Read the lines that were held back with both models.

    Args:
        options: That the collection is read with; the models take the place of theirs.
        before: The model that it was read with so far.
        after: The taught one.
        lines: Folder of the data set.
        cancelled: Asked now and then whether to stop.

    Returns:
        None if it was stopped.

    Raises:
        TrainingError: If a model cannot read them.
    """
    source = open_source(DataSpec("hub", str(lines)), "validation")
    samples = [fixed_sample(source, i) for i in range(len(source))]
    read = []
    for model in (before, after):
        rows = _read(options.changed(models=(str(model),), threads=1), samples, cancelled)
        if rows is None:
            return None
        read.append(rows)
    return weigh(*read)


def weigh(before: Sequence[Prediction], after: Sequence[Prediction]) -> Evaluation:
    """Compare what two models read in the same lines."""
    draws = np.random.default_rng(0)
    found = next(each for each in compare(before, after, draws) if each.metric == "cer_spacing")
    groups = [row.group for row in before]
    scores = [[score_line(row.reference, row.text).cer_spacing for row in rows] for rows in (before, after)]
    intervals = [bootstrap_ci({"cer": counts}, groups, np.random.default_rng(0))["cer"] for counts in scores]
    gained = [first.edits - second.edits for first, second in zip(*scores, strict=True)]
    order = sorted(range(len(gained)), key=lambda i: -gained[i])
    shown = dict.fromkeys(order[place] for place in (0, len(order) // 2, len(order) - 1))
    return Evaluation(
        {
            "cer_before": _rounded(found.baseline),
            "cer_after": _rounded(found.candidate),
            "ci95_before": [_rounded(end) for end in intervals[0]],
            "ci95_after": [_rounded(end) for end in intervals[1]],
            "difference": _rounded(found.difference),
            "ci95": [_rounded(end) for end in found.ci95],
            "p": _rounded(found.p_value),
            "examples": [
                {"truth": before[i].reference, "before": before[i].text, "after": after[i].text} for i in shown
            ],
        },
        found.difference < 0,
    )


def _read(options: ReadOptions, samples: Sequence[Sample], cancelled: Callable[[], bool]) -> list[Prediction] | None:
    rows: list[Prediction] = []
    with Worker(partial(_open, options), _look, threads=1) as worker:
        for start in range(0, len(samples), _AT_ONCE):
            if cancelled():
                return None
            part = samples[start : start + _AT_ONCE]
            worker.submit([sample.image for sample in part])
            outcome = worker.result()
            if outcome.error is not None or outcome.value is None:
                raise TrainingError(f"{options.models[0]}: cannot be measured: {outcome.error}") from outcome.error
            rows += [
                Prediction(sample.id, sample.group, sample.text, text, confidence)
                for sample, (text, confidence) in zip(part, outcome.value, strict=True)
            ]
    return rows


def _open(options: ReadOptions) -> Reader:
    return Reader(options, lines=True)


def _look(reader: Reader, images: list[UInt8Image]) -> list[tuple[str, float]]:
    return [(read.text, read.confidence) for read in reader.read_lines(images)]


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 5)
