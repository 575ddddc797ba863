"""How much a language is to count for a recogniser, what it mends and what it breaks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from quillread.decode.confidence import (
    Report,
    calibrate,
    choose_for_review,
    doubt,
    expected_rate,
    fit_calibration,
    fit_error_curve,
)
from quillread.decode.hypothesis import Hypothesis, report_line, report_word, strip_emissions, word_runs
from quillread.errors import DataError
from quillread.evaluate.bootstrap import Interval, interval95, resampled_sums
from quillread.evaluate.calibration import expected_calibration_error, reliability_bins
from quillread.evaluate.metrics import EditCounts, score_line, total
from quillread.language.choice import LanguageSettings
from quillread.language.scoring import LanguageWeights
from quillread.models.model_folder import ModelInfo
from quillread.recognize.record import Record
from quillread.text.align import align
from quillread.text.normalise import scoring_words
from quillread.types import Calibration, ErrorCurve, Sample, Transcript


@dataclass(frozen=True, slots=True)
class Damage:
    """Words that a change touched; addable."""

    mended: int = 0
    """Words of the reference that were wrong before and are right after."""
    broken: int = 0
    """Words of the reference that were right before and are wrong after."""

    def __add__(self, other: "Damage") -> "Damage":
        """Add each count to its counterpart."""
        return Damage(self.mended + other.mended, self.broken + other.broken)


def count_damage(references: Sequence[str], before: Sequence[str], after: Sequence[str]) -> Damage:
    """Count words of the scoring form (`text.normalise.scoring_words`) that a change mended and broke."""
    result = Damage()
    for reference, old, new in zip(references, before, after, strict=True):
        words = scoring_words(reference)
        was, now = _right(words, scoring_words(old)), _right(words, scoring_words(new))
        result += Damage(
            sum(b and not a for a, b in zip(was, now, strict=True)),
            sum(a and not b for a, b in zip(was, now, strict=True)),
        )
    return result


def _right(words: Sequence[str], read: Sequence[str]) -> list[bool]:
    return [wanted == found for wanted, found in align(words, read) if wanted is not None]


_GRID = {
    "characters": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0),
    "words": (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8),
    "length": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6),
}
"""Weights that are tried, one at a time from the best so far."""

REVIEWED = 0.05
"""Error rate that may remain, of which the report tells whether it does."""


_FOLDS = 5
"""Of the cross-validation of expected errors."""


class Confidences(Protocol):
    """What says how sure a reading is: of a model without a language, or of its settings with one."""

    @property
    def line_calibration(self) -> Calibration:
        """Of lines."""

    @property
    def word_calibration(self) -> Calibration:
        """Of words."""

    @property
    def error_curve(self) -> ErrorCurve:
        """Errors to be expected."""


Read = Callable[[Sequence[Record], LanguageSettings], list[Hypothesis]]
"""Reads recorded lines with a language and settings."""


@dataclass(frozen=True, slots=True)
class TuningLine:
    """A line with known text, and what a network said of it."""

    group: str
    reference: str
    record: Record

    @property
    def plain(self) -> str:
        """What is read without a language."""
        return self.record.readings[0].text.strip()


def halve(lines: Sequence[TuningLine], rng: np.random.Generator) -> tuple[list[TuningLine], list[TuningLine]]:
    """Split lines by group: half of the groups to tune on, the others to report on. Of one group, halve the lines."""
    groups = sorted({line.group for line in lines})
    if len(groups) < 2:
        marks = rng.permutation(len(lines)) % 2
        return [x for x, m in zip(lines, marks, strict=True) if not m], [
            x for x, m in zip(lines, marks, strict=True) if m
        ]
    first = {groups[i] for i in rng.permutation(len(groups))[::2]}
    return [line for line in lines if line.group in first], [line for line in lines if line.group not in first]


def halve_all(
    sets: Mapping[str, Sequence[TuningLine]], rng: np.random.Generator
) -> dict[str, tuple[list[TuningLine], list[TuningLine]]]:
    """Halve data sets; the same sets in the same order, with the same draws, fall into the same halves.

    Raises:
        DataError: If a set has fewer than two lines.
    """
    for name, lines in sets.items():
        if len(lines) < 2:
            raise DataError(
                f"{name}: tuning needs at least 2 lines, to choose on and to report on, got {len(lines)}",
                hint="name more lines, of two writers or documents at least",
            )
    return {name: halve(lines, rng) for name, lines in sets.items()}


_AS_GOOD = 0.002
"""Shares of errors that differ by less are not told apart: an error or two more in one set of some dozens of lines."""


def choose_weights(
    parts: Sequence[Sequence[TuningLine]],
    read: Read,
    settings: LanguageSettings,
    progress: Callable[[LanguageWeights, float], None] | None = None,
) -> LanguageSettings:
    """Find the weights with the fewest errors, each set of lines counting the same.

    Of weights that are as good, those with the least of the language are taken: where it does not know a name, the
    strong ones make another word of it.

    Args:
        parts: Sets of lines to tune on.
        read: Reads with a language.
        settings: Where to start from.
        progress: Told all weights that are tried, and the mean of errors as a share of those without a language.
    """
    known: dict[LanguageWeights, float] = {}

    def loss(weights: LanguageWeights) -> float:
        if weights not in known:
            known[weights] = _relative(parts, read, replace(settings, weights=weights))
            if progress:
                progress(weights, known[weights])
        return known[weights]

    best = settings.weights
    for _ in range(3):
        before = best
        for name, values in _GRID.items():
            best = min(_variants(best, name, values), key=loss)
        if best == before:
            break
    as_good = [weights for weights in known if known[weights] <= known[best] + _AS_GOOD]
    return replace(settings, weights=min(as_good, key=lambda weights: (weights.characters, known[weights])))


def _variants(weights: LanguageWeights, name: str, values: Sequence[float]) -> list[LanguageWeights]:
    """The weights, and those that differ in one of them; words take part of what characters have."""
    changed = [{name: value} for value in values]
    kept = [c for c in changed if c.get("words", weights.words) <= c.get("characters", weights.characters)]
    return [weights, *(replace(weights, **change) for change in kept)]


def _relative(parts: Sequence[Sequence[TuningLine]], read: Read, settings: LanguageSettings) -> float:
    shares = []
    for lines in parts:
        texts = [h.text for h in read([line.record for line in lines], settings)]
        before = sum(score_line(line.reference, line.plain).cer_spacing.edits for line in lines)
        after = sum(score_line(x.reference, text).cer_spacing.edits for x, text in zip(lines, texts, strict=True))
        shares.append(after / max(before, 1))
    return float(np.mean(shares))


def fit_confidences(lines: Sequence[TuningLine], readings: Sequence[Hypothesis]) -> tuple[Calibration, Calibration]:
    """Fit the confidences of lines and words that were read with a language; those read without have others."""
    pairs = [(x, h) for x, h in zip(lines, readings, strict=True) if h.share is not None]
    of_lines = fit_calibration(
        [report_line(h) for _, h in pairs], [h.text.strip() == x.reference.strip() for x, h in pairs]
    )
    words = [word for x, h in pairs for word in _judged_words(x.reference, h)]
    return of_lines, fit_calibration([report for report, _ in words], [right for _, right in words])


def fit_curve(lines: Sequence[TuningLine], readings: Sequence[Hypothesis], by: Confidences) -> ErrorCurve:
    """Fit how many errors a reading is expected to hold, to lines that were all read with or all without a language."""
    texts = [(x.reference, h.text) for x, h in zip(lines, readings, strict=True)]
    return _fit_rates([x.group for x in lines], texts, [_doubt(h, by) for h in readings])


_LEAST_LIKELY = 1e-26
"""Less likely words count as this likely."""


def refit_curve(lines: Sequence[tuple[Sample, Transcript]], of_words: Calibration) -> ErrorCurve:
    """Fit the errors to be expected of a model without a language, whose words have a new calibration.

    Args:
        lines: Each with what a recogniser read that is not calibrated: its confidences are likelihoods.
        of_words: The calibration.
    """
    texts = [(sample.text, read.text) for sample, read in lines]
    doubts = [
        doubt(
            [
                (word.text, calibrate(Report(math.log(max(word.confidence, _LEAST_LIKELY))), of_words))
                for word in read.words
            ]
        )
        for _, read in lines
    ]
    groups = [sample.group for sample, _ in lines]
    if len(set(groups)) < 2:
        groups = [str(number) for number in range(len(lines))]
    return _fit_rates(groups, texts, doubts)


def _fit_rates(groups: Sequence[str], texts: Sequence[tuple[str, str]], of_lines: Sequence[float]) -> ErrorCurve:
    """The rates of texts, as they are and as they were read, by the doubts about them.

    They are made larger by as much as cross-validation over groups shows them to be too small for the lines that
    `--review 0.05` accepts.
    """
    edits = np.array([score_line(reference, read).cer.edits for reference, read in texts])
    lengths = np.array([max(len(read.strip()), 1) for _, read in texts])
    doubts = np.array(of_lines)
    names = sorted(set(groups))
    folds = np.array([names.index(group) for group in groups]) % _FOLDS
    rates = np.zeros(len(texts))
    for fold in range(_FOLDS):
        others = folds != fold
        curve = fit_error_curve(doubts[others].tolist(), edits[others].tolist(), lengths[others].tolist())
        rates[~others] = [expected_rate(curve, x) for x in doubts[~others]]
    chosen = choose_for_review(rates.tolist(), lengths.tolist(), REVIEWED)
    kept = np.setdiff1d(np.arange(len(texts)), chosen)
    actual = float(edits[kept].sum() / max(lengths[kept].sum(), 1))
    curve = fit_error_curve(doubts.tolist(), edits.tolist(), lengths.tolist())
    factor = max(1.0, actual / REVIEWED)
    return replace(curve, rates=tuple(round(rate * factor, 6) for rate in curve.rates))


def _doubt(reading: Hypothesis, by: Confidences) -> float:
    runs = word_runs(strip_emissions(reading.emissions))
    sure = [calibrate(report_word(run), by.word_calibration) for run in runs]
    return doubt([("".join(e.text for e in run), confidence) for run, confidence in zip(runs, sure, strict=True)])


def review_kept(
    lines: Sequence[TuningLine], readings: Sequence[Hypothesis], settings: LanguageSettings, info: ModelInfo
) -> dict[str, float]:
    """Leave the lines to a person that `quill read --review 0.05` names; tell what the others hold."""
    bys: list[Confidences] = [info if h.share is None else settings for h in readings]
    rates = [_expected_rate(h, by) for h, by in zip(readings, bys, strict=True)]
    chosen = set(choose_for_review(rates, [max(len(h.text.strip()), 1) for h in readings], REVIEWED))
    kept = [i for i in range(len(lines)) if i not in chosen]
    counts = total(score_line(lines[i].reference, readings[i].text).cer for i in kept)
    return {"target": REVIEWED, "accepted": len(kept) / max(len(lines), 1), "cer_of_accepted": counts.rate}


def _expected_rate(reading: Hypothesis, by: Confidences) -> float:
    """The error rate to be expected, as `LineRecognizer` tells it."""
    if not reading.text.strip():
        return 1 - calibrate(report_line(reading), by.line_calibration)
    return expected_rate(by.error_curve, _doubt(reading, by))


def _judged_words(reference: str, reading: Hypothesis) -> list[tuple[Report, bool]]:
    """For each word read what is reported of it, and whether it is right."""
    runs = word_runs(strip_emissions(reading.emissions))
    texts = ["".join(e.text for e in run) for run in runs]
    right = [wrote == found for wrote, found in align(reference.split(), texts) if found is not None]
    return [(report_word(run), is_right) for run, is_right in zip(runs, right, strict=True)]


def report(
    lines: Sequence[TuningLine],
    readings: Sequence[Hypothesis],
    settings: LanguageSettings,
    info: ModelInfo,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Tell what a language brings on lines that nothing was tuned on.

    Args:
        lines: The lines.
        readings: What was read with the language.
        settings: With the fitted confidences.
        info: With those of lines that were read without it.
        rng: Source of the draws for the interval.
    """
    texts = [h.text.strip() for h in readings]
    before = [score_line(x.reference, x.plain).cer_spacing for x in lines]
    after = [score_line(x.reference, text).cer_spacing for x, text in zip(lines, texts, strict=True)]
    damage = count_damage([x.reference for x in lines], [x.plain for x in lines], texts)
    of_lines: list[tuple[float, bool]] = []
    of_words: list[tuple[float, bool]] = []
    for x, h in zip(lines, readings, strict=True):
        by: Confidences = info if h.share is None else settings
        sure = calibrate(report_line(h), by.line_calibration)
        of_lines.append((sure, h.text.strip() == x.reference.strip()))
        judged = _judged_words(x.reference, h)
        of_words.extend((calibrate(report, by.word_calibration), right) for report, right in judged)
    return {
        "lines": len(lines),
        "cer_spacing_without": total(before).rate,
        "cer_spacing": total(after).rate,
        "gain": 1 - total(after).edits / max(total(before).edits, 1),
        "gain_ci95": _gain_interval(before, after, [x.group for x in lines], rng),
        "read_with_language": float(np.mean([h.share is not None for h in readings])),
        "words_mended": damage.mended,
        "words_broken": damage.broken,
        "ece_lines": _ece(of_lines),
        "ece_words": _ece(of_words),
        "review": review_kept(lines, readings, settings, info),
    }


def _gain_interval(
    before: Sequence[EditCounts], after: Sequence[EditCounts], groups: Sequence[str], rng: np.random.Generator
) -> Interval:
    edits = np.array([[b.edits, a.edits] for b, a in zip(before, after, strict=True)], np.float64)
    drawn = resampled_sums(edits, groups, rng, 1000)
    return interval95(1 - drawn[:, 1] / np.maximum(drawn[:, 0], 1))


def _ece(judged: Sequence[tuple[float, bool]]) -> float:
    return expected_calibration_error(reliability_bins([c for c, _ in judged], [right for _, right in judged]))
