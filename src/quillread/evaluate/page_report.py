"""How well whole pages are read: line finding, reading order and text, against pages whose text is known."""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quillread.data.page_lines import read_pages
from quillread.errors import DataError, ImageError
from quillread.evaluate.baselines import (
    BaselineScore,
    count_order_errors,
    line_distance,
    mean_iou,
    mean_score,
    score_page,
)
from quillread.evaluate.metrics import EditCounts, edit_counts, score_line, total
from quillread.evaluate.predictions import Prediction
from quillread.evaluate.report_text import markdown_table
from quillread.formats.export import words_of
from quillread.formats.ground_truth import place_below
from quillread.formats.outlines import outline_lines
from quillread.images.crop import crop_line
from quillread.images.tones import as_positive
from quillread.reader import Reader
from quillread.text.normalise import scoring_form
from quillread.types import Line, Page, Point, Progress
from quillread.version import __version__

log = logging.getLogger(__name__)

_NEAR = 0.5
"""Line distances from a true baseline within which a word that was read belongs to its line."""
_COLUMNS = (
    *("pages", "baseline_precision", "baseline_recall", "baseline_f1", "line_iou", "order_errors"),
    *("page_cer", "page_cer_free", "page_cer_on_lines", "lines_cer", "seconds_per_page"),
)
"""Of the table."""


@dataclass(frozen=True, slots=True)
class PageResult:
    """How one page was read. Edits are counted on the scoring form, in which spacing does not count."""

    prediction: Prediction
    """All of its text in reading order, against that of the ground truth."""
    baselines: BaselineScore
    line_iou: float
    order_errors: int
    """Lines that would have to be moved."""
    lines: int
    """Of the ground truth."""
    lines_found: int
    edits: EditCounts
    """Of the text in reading order."""
    on_lines_edits: EditCounts
    """Of the words that stand on each true line, whatever their place in the order."""
    astray: int
    """Characters that were read elsewhere, such as print that the ground truth lacks."""
    line_edits: EditCounts
    """Of the true lines, cut out along the ground truth."""
    seconds: float
    """Wall time of decoding the page, finding its lines and reading them."""
    error: str | None = None
    """Why it could not be read; it then counts as read without a line."""


@dataclass(frozen=True, slots=True)
class PageEvaluation:
    """How a folder of pages was read."""

    pages: tuple[PageResult, ...]
    left_out: tuple[str, ...]
    """What is wrong with ground truth that could not be used."""


def evaluate_pages(
    folder: Path,
    reader: Reader,
    *,
    by_baseline: bool = True,
    progress: Progress | None = None,
) -> PageEvaluation:
    """Read all pages below a folder that have a PAGE or ALTO file of their name, and compare.

    Args:
        folder: Images with their XML beside them, or in a folder `page` or `alto` there.
        reader: Reads the pages, and the lines of the ground truth.
        by_baseline: Cut those out along their baselines, as high as lines are apart; else along their polygons, which
            not all ground truth draws around all of the writing.
        progress: Counts pages.

    Raises:
        DataError: If there is no page to compare.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: is not a folder", hint="name a folder of images with PAGE or ALTO files beside them"
        )
    truths, faults = read_pages(folder)
    with_lines = {image: page for image, page in truths.items() if page.lines}
    faults += [f"{image}: its XML has no lines" for image in truths.keys() - with_lines.keys()]
    if not with_lines:
        what = f": {faults[0]}" if faults else ""
        raise DataError(f"{folder}: holds no page with ground truth{what}", hint="put page-1.xml beside page-1.jpg")
    results = []
    for number, (image, truth) in enumerate(with_lines.items(), start=1):
        if not truth.text:
            log.warning("%s: its XML has no text, and only the places of its lines are compared", image)
        lines = outline_lines(truth, "baseline" if by_baseline else "polygon").lines
        results.append(_evaluate(image, place_below(folder, image), truth, lines, reader))
        if progress:
            progress(number, len(with_lines))
    return PageEvaluation(tuple(results), tuple(faults))


def pages_summary(evaluation: PageEvaluation, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON document of an evaluation of pages: its figures for all pages and for each group.

    Args:
        evaluation: At least one page.
        facts: What was measured on what; goes in front.
    """
    pages = evaluation.pages
    groups = sorted({page.prediction.group for page in pages})
    by_group = {name: _figures([p for p in pages if p.prediction.group == name]) for name in groups}
    return {
        **facts,
        **_figures(pages),
        "groups": by_group if len(groups) > 1 else {},
        "failed": {page.prediction.id: page.error for page in pages if page.error is not None},
        "left_out": list(evaluation.left_out),
        "version": __version__,
    }


def pages_table(summary: Mapping[str, Any]) -> str:
    """Put a summary as a Markdown table, a row a group and one for all, ending in a newline."""
    rows = [["", *_COLUMNS]]
    for name, figures in (*summary["groups"].items(), ("all", summary)):
        rows.append([name, *(_cell(column, figures[column]) for column in _COLUMNS)])
    return markdown_table(rows)


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    return f"{100 * value:.2f} %" if "_cer" in column else f"{value:.3f}"


def _figures(pages: Sequence[PageResult]) -> dict[str, Any]:
    score = mean_score([page.baselines for page in pages])
    return {
        "pages": len(pages),
        "lines": sum(page.lines for page in pages),
        "lines_found": sum(page.lines_found for page in pages),
        "baseline_precision": score.precision,
        "baseline_recall": score.recall,
        "baseline_f1": score.f1,
        "line_iou": float(np.mean([page.line_iou for page in pages])),
        "order_errors": sum(page.order_errors for page in pages),
        "page_cer": _rate(page.edits for page in pages),
        "page_cer_free": _rate(page.on_lines_edits + EditCounts(insertions=page.astray) for page in pages),
        "page_cer_on_lines": _rate(page.on_lines_edits for page in pages),
        "lines_cer": _rate(page.line_edits for page in pages),
        "seconds_per_page": sum(page.seconds for page in pages) / len(pages),
    }


def _rate(counts: Any) -> float | None:
    rate = total(counts).rate
    return None if math.isnan(rate) else rate  # JSON has no nan


def _evaluate(image: Path, name: Path, truth: Page, lines: Sequence[Line], reader: Reader) -> PageResult:
    start = time.perf_counter()
    reading = reader.read(image)
    seconds = time.perf_counter() - start
    found = reading.pages[0].lines if reading.pages else ()
    text = reading.pages[0].text if reading.pages else ""
    confidences = [line.transcript.confidence for line in found if line.transcript]
    confidence = float(np.mean(confidences)) if confidences else 0.0
    on_lines, astray = _count_free(truth.lines, found)
    group = name.parent.as_posix() if name.parent != Path() else ""
    prediction = Prediction(name.with_suffix("").as_posix(), group, truth.text, text, confidence)
    return PageResult(
        prediction=prediction,
        baselines=score_page(truth.lines, found),
        line_iou=mean_iou(truth.lines, found, (truth.width, truth.height)),
        order_errors=count_order_errors(truth.lines, found),
        lines=len(truth.lines),
        lines_found=len(found),
        edits=score_line(truth.text, text).cer_spacing,
        on_lines_edits=on_lines,
        astray=astray,
        line_edits=_count_lines(image, lines, reader),
        seconds=seconds,
        error=str(reading.faults[0]) if reading.faults else None,
    )


def _count_free(truth: Sequence[Line], found: Sequence[Line]) -> tuple[EditCounts, int]:
    """Compare each true line with the words that were read on it; count the characters of those that are on none."""
    near = _NEAR * line_distance(truth)
    on_line: list[list[tuple[float, str]]] = [[] for _ in truth]
    astray: list[str] = []
    for line in found:
        for word in words_of(line):
            box = word.polygon.bounds
            at = _nearest_point(line.baseline, ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2))[0]
            distances = [math.dist(at, _nearest_point(other.baseline, at)[0]) for other in truth]
            best = int(np.argmin(distances))
            if distances[best] <= near:
                on_line[best].append((_nearest_point(truth[best].baseline, at)[1], word.text))
            else:
                astray.append(word.text)
    counts = [
        _counts(line.transcript.text if line.transcript else "", " ".join(text for _, text in sorted(words)))
        for line, words in zip(truth, on_line, strict=True)
    ]
    return total(counts), len(scoring_form(" ".join(astray)))


def _counts(reference: str, text: str) -> EditCounts:
    return edit_counts(scoring_form(reference), scoring_form(text))


def _nearest_point(baseline: Sequence[Point], point: Point) -> tuple[Point, float]:
    """Return the point of a baseline nearest to another, and its distance along the baseline from the start."""
    vertices, target = np.asarray(baseline, np.float64), np.asarray(point, np.float64)
    start, step = vertices[:-1], np.diff(vertices, axis=0)
    share = np.clip(((target - start) * step).sum(axis=1) / np.maximum((step**2).sum(axis=1), 1e-9), 0, 1)
    points = start + share[:, None] * step
    best = int(np.linalg.norm(points - target, axis=1).argmin())
    lengths = np.linalg.norm(step, axis=1)
    return (float(points[best, 0]), float(points[best, 1])), float(lengths[:best].sum() + share[best] * lengths[best])


def _count_lines(image: Path, lines: Sequence[Line], reader: Reader) -> EditCounts:
    """Read the lines of the ground truth; one that cannot be cut out counts as read without a character."""
    texts = [line.transcript.text if line.transcript else "" for line in lines]
    try:
        with reader.open(image) as document:
            page = as_positive(document.page(0))
    except ImageError:
        return total(_counts(text, "") for text in texts)
    counts, cuts = [], []
    for line, text in zip(lines, texts, strict=True):
        if not text:
            continue
        try:
            cuts.append((crop_line(page, line, reader.options.crop)[0], text))
        except ImageError:
            counts.append(_counts(text, ""))
    read = reader.read_lines([cut for cut, _ in cuts])
    return total([*counts, *(_counts(text, got.text) for (_, text), got in zip(cuts, read, strict=True))])
