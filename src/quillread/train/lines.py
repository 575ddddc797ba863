"""The lines of a run: opens the sources, sorts out what cannot be used, holds out validation lines."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quillread.data.fonts import FontSource
from quillread.data.recombined import RecombinedSource
from quillread.data.source import Source, readable
from quillread.data.spec import SYNTHETIC_KINDS, DataSpec, open_source
from quillread.data.split import HeldSource, hold_out, leave_out
from quillread.data.strokes import StrokeSource
from quillread.errors import ConfigError, DataError
from quillread.train.config import TrainConfig
from quillread.train.dataset import LineForm
from quillread.train.plan import Plan
from quillread.types import Sample, Transcript

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """The lines of one source that are read at each validation."""

    name: str
    samples: Sequence[Sample]


def pair_up(sets: Sequence[ValidationSet], read: Sequence[Sequence[Transcript]]) -> Iterator[tuple[str, Transcript]]:
    """The text of each validation line with what was read in it."""
    for part, transcripts in zip(sets, read, strict=True):
        yield from ((sample.text, got) for sample, got in zip(part.samples, transcripts, strict=True))


@dataclass(frozen=True, slots=True)
class RunLines:
    """What a run trains on and validates with."""

    sources: Sequence[Source]
    usable: Sequence[NDArray[np.int64]]
    """Which lines of each are trained on."""
    plan: Plan
    validation: Sequence[ValidationSet]
    report: Sequence[str]
    """For each source: how many lines are used, how many are skipped, and why."""
    remark: str | None
    """What the form of the lines has to say of them."""


@dataclass(frozen=True, slots=True)
class Usable:
    """The lines of a source that can be trained on."""

    indices: NDArray[np.int64]
    left_out: Counter[str]
    """Why lines are skipped -> how many."""
    truncated: int = 0
    """Lines the end of whose text is not learnt."""

    def report(self, name: str) -> str:
        """One line that says what is used and what is skipped, and why."""
        reasons = "; ".join(f"{count} {why}" for why, count in self.left_out.most_common(10))
        cut = f"; {self.truncated} of them truncated" if self.truncated else ""
        return f"{name}: {len(self.indices)} lines" + (f" (skipped: {reasons})" if reasons else "") + cut


_PAGE = "that are pages or paragraphs, not lines"
_CUT = "cut them into lines with: quill data lines PAGE... --output DIR"
_LONG, _SQUAT, _DENSE = 20, 4.0, 0.06
"""Characters of a text, width over height of an image, and that per character: a line has ten times as much."""


def find_usable(source: Source, form: LineForm) -> Usable:
    """Sort out the lines that a network cannot learn from.

    Raises:
        DataError: If none is left.
    """
    kept = []
    left_out: Counter[str] = Counter()
    for i in range(len(source)):
        text, aspect = source.text(i), source.aspect(i)
        fault = _PAGE if _is_page(text, aspect) else form.fault(text, aspect) if text.strip() else "without text"
        if fault:
            left_out[fault] += 1
        else:
            kept.append(i)
    usable = Usable(np.array(kept, np.int64), left_out, sum(form.cuts(source.text(i)) for i in kept))
    if not kept:
        hint = _CUT if left_out[_PAGE] else None
        raise DataError(f"no line can be used: {usable.report(source.name)}", hint=hint)
    return usable


def _is_page(text: str, aspect: float) -> bool:
    """Whether an image has so much text for its shape that it must be of a page or a paragraph."""
    return len(text) >= _LONG and aspect < _SQUAT and aspect / len(text) < _DENSE


def open_sources(config: TrainConfig) -> list[Source]:
    """Open the sources of a run.

    Raises:
        ConfigError: If a source needs `root` and it is not set.
        DataError: If none is named, or one is missing or malformed.
    """
    if not config.data:
        raise DataError("no training data is named", hint="name at least one source in data")
    return [open_source(spec, "train") for spec in config.placed(config.data)]


def open_lines(config: TrainConfig, form: LineForm, sources: Sequence[Source]) -> RunLines:
    """Sort out the lines of a run.

    Args:
        config: Its settings.
        form: Lines that it finds fault with are skipped, and counted.
        sources: Those of `open_sources`.

    Raises:
        ConfigError: If only some sources have a weight.
        DataError: If a source has no usable line, or validation lines cannot be had.
    """
    specs = config.placed(config.data)
    parts = [find_usable(source, form) for source in sources]
    # Without the folders of this machine: the report is stored with the model.
    report = [part.report(str(spec)) for part, spec in zip(parts, config.public().data, strict=True)]
    usable = [part.indices for part in parts]
    named_validation = () if config.fold else config.validation
    validation = open_validation(config.placed(named_validation), config.validation_lines)
    if not validation and (config.validation_share > 0 or config.fold):
        if any(spec.kind == "recombined" for spec in specs):
            hint = "set validation, or validation_share=0"
            raise ConfigError("lines that are held out would be trained on as recombined words", hint=hint)
        real = [i for i, spec in enumerate(specs) if spec.kind not in SYNTHETIC_KINDS]
        for i in real:
            usable[i], held = _hold_out(sources[i], usable[i], config, i)
            name = _name(specs[i].where, validation)
            validation.append(_validation_set(name, sources[i], held, config.validation_lines))
            report[i] += f"; {len(held)} of them held out for validation"
    if config.in_memory:
        sources = _hold(sources, usable)
    aspects = np.array([source.aspect(int(i)) for source, part in zip(sources, usable, strict=True) for i in part])
    remark = form.remark(aspects)
    for line in [*report, *([remark] if remark else [])]:
        # What is skipped must be seen without asking for it.
        log.log(logging.WARNING if "skipped" in line or "truncated" in line else logging.INFO, "%s", line)
    named = [spec.weight is not None for spec in specs]
    if any(named) and not all(named):
        raise ConfigError(
            f"{config.data[named.index(False)]}: has no weight, while others have one",
            hint="give every source a weight, SPEC@0.3, or none",
        )
    counts = [len(indices) for indices in usable]
    weights = [n if spec.weight is None else spec.weight for spec, n in zip(specs, counts, strict=True)]
    plan = Plan(sources, usable, weights, config.epoch_lines or sum(counts), config.batch_size, config.seed)
    return RunLines(sources, usable, plan, validation, report, remark)


def _hold(sources: Sequence[Source], usable: Sequence[NDArray[np.int64]]) -> list[Source]:
    """Keep the images of real lines in memory, once for each data set."""
    held = {
        source.name: HeldSource(source, indices.tolist())
        for source, indices in zip(sources, usable, strict=True)
        if not isinstance(source, FontSource | StrokeSource | RecombinedSource)
    }
    for source in sources:
        if isinstance(source, RecombinedSource):
            lines = source.lines_of
            source.lines_of = held.get(lines.name) or HeldSource(lines, source.needed)
    return [held.get(source.name, source) for source in sources]


def open_validation(specs: Sequence[DataSpec], lines: int) -> list[ValidationSet]:
    """Open the validation split of sources.

    Args:
        specs: The sources.
        lines: How many lines to take of each, evenly spread; 0 for all.

    Raises:
        DataError: If a source is missing or malformed.
    """
    sets: list[ValidationSet] = []
    for spec in specs:
        source = open_source(spec, "validation")
        sets.append(_validation_set(_name(spec.where, sets), source, np.arange(len(source)), lines))
    return sets


def _name(where: str, taken: Sequence[ValidationSet]) -> str:
    """A name for the metrics of a source: its file or folder, with a number if that is taken."""
    stem = Path(where).stem.replace("-", "_") or "lines"
    name, number = stem, 2
    while name in {part.name for part in taken}:
        name, number = f"{stem}_{number}", number + 1
    return name


def _validation_set(name: str, source: Source, indices: NDArray[np.int64], lines: int) -> ValidationSet:
    """Take evenly spread lines, all if `lines` is 0."""
    count = min(lines, len(indices)) if lines else len(indices)
    picks = indices[np.linspace(0, len(indices) - 1, count).round().astype(int)]
    return ValidationSet(name, [sample for _, sample in readable(source, picks.tolist())])


def _hold_out(
    source: Source, indices: NDArray[np.int64], config: TrainConfig, number: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if len(indices) < 2:
        raise DataError(f"{source.name}: one line cannot be split", hint="set validation, or validation_share=0")
    groups = [source.group(int(i)) for i in indices]
    rng = np.random.default_rng((config.seed, 3, number))
    if config.fold:
        kept, held = leave_out(groups, *config.fold, rng)
    else:
        kept, held = hold_out(groups, config.validation_share, rng)
    return indices[kept], indices[held]
