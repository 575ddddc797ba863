"""An evaluation on lines: a model run over a data set, the JSON document, the report folder."""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quillread.data.check import is_page
from quillread.data.seen import mark
from quillread.data.source import Source, find_repeated_id, fixed_sample, readable
from quillread.data.spec import open_source, parse_spec
from quillread.errors import DataError
from quillread.evaluate.bootstrap import bootstrap_ci
from quillread.evaluate.calibration import expected_calibration_error, reliability_bins
from quillread.evaluate.metrics import METRICS, score_line, summarise
from quillread.evaluate.predictions import Prediction
from quillread.evaluate.report_html import render_report
from quillread.evaluate.report_text import summary_table
from quillread.files import write_json, write_text
from quillread.options import ReadOptions
from quillread.reader import Reader
from quillread.types import Progress, UInt8Image
from quillread.version import __version__

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
    """What is wrong with the images that could not be read; their lines are skipped."""
    marks: Sequence[str] = ()
    """Those of the lines, by which a model knows what it was trained on; none if it keeps no marks itself."""
    pages: int = 0
    """Images that are of pages or paragraphs, to judge by their texts and shapes; they are read as lines."""


def run_evaluation(reader: Reader, source: Source, progress: Progress | None = None) -> EvaluationRun:
    """Read every line of a source; those whose images cannot be read are skipped, and told in `faults`.

    Raises:
        DataError: If the source is empty, no image can be read, or two lines have the same id.
    """
    if len(source) == 0:
        raise DataError(f"{source.name}: holds no lines")
    if (repeated := find_repeated_id(source)) is not None:  # before hours of reading
        raise DataError(f"{source.name}: two lines have the id {repeated!r}")
    rows: list[Prediction] = []
    faults: list[DataError] = []
    position: dict[str, int] = {}
    marks: list[str] = []
    pages = 0
    start = time.perf_counter()
    lines = readable(source, range(len(source)), faults.append)
    while chunk := list(itertools.islice(lines, _CHUNK)):
        transcripts = reader.read_lines([sample.image for _, sample in chunk])
        for (index, sample), transcript in zip(chunk, transcripts, strict=True):
            if sample.id in position:
                raise DataError(f"{source.name}: two lines have the id {sample.id!r}")
            position[sample.id] = index
            pages += is_page(sample.text, sample.image.shape[1] / sample.image.shape[0])
            rows.append(Prediction(sample.id, sample.group, sample.text, transcript.text, transcript.confidence))
        if any(info.provenance.get("trained_on") for info in reader.infos):
            paused = time.perf_counter()
            marks += [mark(sample) for _, sample in chunk]
            start += time.perf_counter() - paused  # no part of reading
        if progress:
            progress(chunk[-1][0] + 1, len(source))
    seconds = (time.perf_counter() - start) / len(rows)

    def image_of(line_id: str) -> UInt8Image | None:
        return fixed_sample(source, position[line_id]).image if line_id in position else None

    return EvaluationRun(rows, seconds, image_of, [fault.message for fault in faults], marks, pages)


def measure(
    data: str, options: ReadOptions | None = None, *, split: str = "validation", **changes: Any
) -> dict[str, Any]:
    """Measure a model on lines with known text, as `quill evaluate` does: without a language unless one is asked for.

    >>> import quillread
    >>> quillread.measure("folder:other-lines", model="run/model")["cer_spacing"]

    Args:
        data: A data source, `kind:where`.
        options: What to read with; the defaults if not given.
        split: Split of the data.
        **changes: Options by name, on top of them.

    Returns:
        The figures, as `quill evaluate --json` writes them.

    Raises:
        DataError: If the data is missing, malformed or empty.
        QuillreadError: As `Reader` does.
    """
    bare = without_language((options or ReadOptions()).changed(**changes))
    source = open_source(parse_spec(data), split)
    with Reader(bare, lines=True) as reader:  # which needs no line finder
        result = run_evaluation(reader, source)
    return evaluation_summary(
        result.rows,
        model=", ".join(bare.models),
        data=data,
        split=split,
        seconds_per_line=result.seconds_per_line,
        rng=np.random.default_rng(0),
        unreadable=len(result.faults),
    )


def without_language(options: ReadOptions) -> ReadOptions:
    """The options of an evaluation: what is measured is the bare model, unless they ask for a language."""
    return options if options.lm is not None or options.lexicons else options.changed(lm=("none",))


def evaluation_summary(
    rows: Sequence[Prediction],
    *,
    model: str,
    data: str,
    split: str,
    seconds_per_line: float | None,
    rng: np.random.Generator,
    unreadable: int = 0,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Measure predictions and return the JSON document of the evaluation.

    Args:
        rows: One prediction per line, each with its reference.
        model: What was measured, as the user named it.
        data: The data specification.
        split: The split of the data.
        seconds_per_line: Wall time per line without start-up; None if it was not measured.
        rng: Source of the draws for the intervals.
        unreadable: Lines beside those of `rows` whose images could not be read.
        resamples: How many corpora are drawn.

    Returns:
        Plain data. Rates, intervals and shares are fractions; a rate without a reference to divide by is
        None. `groups` counts the named groups; `ci95` is {metric: [low, high]}.

    Raises:
        DataError: If there are no rows.
    """
    if not rows:
        raise DataError(f"{data}: there are no lines to evaluate in split {split!r}")
    scores = [score_line(row.reference, row.text) for row in rows]
    counts = {metric: [getattr(score, metric) for score in scores] for metric in METRICS}
    is_exact = [score.is_exact for score in scores]
    intervals = bootstrap_ci(counts, [row.group for row in rows], rng, resamples)
    bins = reliability_bins([row.confidence for row in rows], is_exact)
    return {
        "model": model,
        "data": data,
        "split": split,
        "lines": len(rows),
        "unreadable": unreadable,
        "groups": len({row.group for row in rows if row.group}),
        **{metric: _or_none(rate) for metric, rate in summarise(scores).items()},
        "ci95": {metric: [_or_none(end) for end in ends] for metric, ends in intervals.items()},
        "exact_lines": sum(is_exact) / len(rows),
        "expected_calibration_error": expected_calibration_error(bins),
        "seconds_per_line": seconds_per_line,
        "version": __version__,
    }


def write_report(
    folder: Path,
    rows: Sequence[Prediction],
    summary: Mapping[str, Any],
    image_of: Callable[[str], UInt8Image | None],
) -> Path:
    """Write `report.json`, `report.md` and `report.html`, one self-contained page that is read offline.

    Args:
        folder: Made if it is missing.
        rows: The predictions that `summary` was made from.
        summary: A document of `evaluation_summary`.
        image_of: Gives the line image of an id, uint8 RGB (H, W, 3), or None if there is none; asked only for
            the worst lines. The `get` of a dict fits.

    Returns:
        The path of the page.

    Raises:
        OutputError: If a file cannot be written.
    """
    page = folder / "report.html"
    write_json(folder / "report.json", summary)
    write_text(folder / "report.md", summary_table(summary))
    write_text(page, render_report(rows, summary, image_of))
    return page


def _or_none(value: float) -> float | None:
    # JSON has no nan.
    return None if math.isnan(value) else value
