"""The lines of a run: opens the sources, sorts out what cannot be used, holds out validation lines."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quillread.data.check import is_page
from quillread.data.fonts import FontSource
from quillread.data.recombined import RecombinedSource
from quillread.data.seen import count_seen, mark
from quillread.data.source import Source, fixed_sample, list_few, readable
from quillread.data.spec import SYNTHETIC_KINDS, DataSpec, open_source, parse_spec
from quillread.data.split import HeldSource, hold_out, leave_out
from quillread.data.strokes import StrokeSource
from quillread.errors import ConfigError, DataError
from quillread.train import ranks
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


def find_usable(source: Source, form: LineForm) -> Usable:
    """Sort out the lines that a network cannot learn from.

    Raises:
        DataError: If none is left.
    """
    kept = []
    left_out: Counter[str] = Counter()
    for i in range(len(source)):
        text, aspect = source.text(i), source.aspect(i)
        fault = _PAGE if is_page(text, aspect) else form.fault(text, aspect) if text.strip() else "without text"
        if fault:
            left_out[fault] += 1
        else:
            kept.append(i)
    usable = Usable(np.array(kept, np.int64), left_out, sum(form.cuts(source.text(i)) for i in kept))
    if not kept:
        hint = _CUT if left_out[_PAGE] else None
        raise DataError(f"no line can be used: {usable.report(source.name)}", hint=hint)
    return usable


def open_sources(config: TrainConfig) -> list[Source]:
    """Open the sources of a run.

    Raises:
        ConfigError: If a source needs `root` and it is not set.
        DataError: If none is named, or one is missing or malformed.
    """
    if not config.data:
        raise DataError("no training data is named", hint="name lines with --data, or as data in the settings")
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
    real = [i for i, spec in enumerate(specs) if spec.kind not in SYNTHETIC_KINDS]
    named_validation = () if config.fold else config.validation
    validation = open_validation(config.placed(named_validation), config.validation_lines)
    if named_validation and ranks.is_first():
        _tell_leaks(validation, sources, usable, real)
    if not validation and (config.validation_share > 0 or config.fold):
        if any(spec.kind == "recombined" for spec in specs):
            hint = "set validation, or validation_share=0"
            raise ConfigError("lines that are held out would be trained on as recombined words", hint=hint)
        sides: dict[_Key, bool] = {}
        for i in real:
            usable[i], held = _hold_out(sources[i], usable[i], config, i, sides)
            if len(held):
                name = _name(specs[i].where, validation)
                validation.append(_validation_set(name, sources[i], held, config.validation_lines))
            report[i] += f"; {len(held)} of them held out for validation"
    if ranks.is_first():
        _tell_unknown(validation, form)
    if config.in_memory:
        sources = _hold(sources, usable, specs)
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
    epoch_lines = config.epoch_lines or sum(counts)
    plan = Plan(sources, usable, weights, epoch_lines, config.batch_size, config.seed, config.group_balance)
    return RunLines(sources, usable, plan, validation, report, remark)


def _hold(sources: Sequence[Source], usable: Sequence[NDArray[np.int64]], specs: Sequence[DataSpec]) -> list[Source]:
    """Keep the images of real lines in memory, once for each data set; other options make it another one."""
    keys = [str(replace(spec, weight=None)) for spec in specs]
    held = {
        key: HeldSource(source, indices.tolist())
        for key, source, indices in zip(keys, sources, usable, strict=True)
        if not isinstance(source, FontSource | StrokeSource | RecombinedSource)
    }
    for source, spec in zip(sources, specs, strict=True):
        if isinstance(source, RecombinedSource):
            lines = source.lines_of
            source.lines_of = held.get(str(parse_spec(spec.where))) or HeldSource(lines, source.needed)
    return [held.get(key, source) for key, source in zip(keys, sources, strict=True)]


def open_validation(specs: Sequence[DataSpec], lines: int) -> list[ValidationSet]:
    """Open the validation split of sources.

    Args:
        specs: The sources.
        lines: How many lines to take of each, evenly spread; 0 for all. Those without text are skipped.

    Raises:
        DataError: If a source is missing or malformed, or none of its lines has a text.
    """
    sets: list[ValidationSet] = []
    for spec in specs:
        source = open_source(spec, "validation")
        indices = np.array([i for i in range(len(source)) if source.text(i).strip()], np.int64)
        if not len(indices):
            raise DataError(f"{source.name}: none of its {len(source)} validation lines has a text")
        if (empty := len(source) - len(indices)) and ranks.is_first():
            log.warning("%s: %d validation lines (skipped: %d without text)", source.name, len(indices), empty)
        sets.append(_validation_set(_name(spec.where, sets), source, indices, lines))
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


_Key = tuple[str | float, ...]
"""What lines of several sources are known by to be the same, or of the same hand."""


def _hold_out(
    source: Source, indices: NDArray[np.int64], config: TrainConfig, number: int, sides: dict[_Key, bool]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Part the lines of a source, on the sides that the sources before it gave to the same groups and lines.

    Args:
        source: The lines.
        indices: Those of them that can be used.
        config: Share or fold.
        number: Of the source in the run.
        sides: Whether each group and line is held out; those of this source are added.
    """
    groups = [source.group(int(i)) for i in indices]
    keys = _keys(source, indices, groups)
    open_places = [k for k, key in enumerate(keys) if key not in sides]
    if len(indices) < 2 and open_places:
        raise DataError(f"{source.name}: one line cannot be split", hint="set validation, or validation_share=0")
    drawn: set[int] = set()
    apart = {keys[k] for k in open_places}
    # Of a few groups that are left over, no share can be taken.
    if len(open_places) == len(indices) or len(apart) >= (config.fold[1] if config.fold else 2):
        rng = np.random.default_rng((config.seed, 3, number))
        free = [groups[k] for k in open_places]
        if config.fold:
            _, held = leave_out(free, *config.fold, rng)
        else:
            _, held = hold_out(free, config.validation_share, rng)
        drawn = {open_places[k] for k in held}
    for k in open_places:
        sides[keys[k]] = k in drawn
    is_held = np.array([sides[key] for key in keys], bool)
    if is_held.all():
        raise DataError(f"{source.name}: all its lines are held out with those of other sources, as of the same groups")
    return indices[~is_held], indices[is_held]


def _keys(source: Source, indices: NDArray[np.int64], groups: Sequence[str]) -> list[_Key]:
    """What each line is known by: its group, where there are several; else its text and shape.

    Images are not looked at: all of a large source would take long. That two lines of the same text and shape are taken
    for one does no harm, as both are then on the same side.
    """
    has_groups = len(set(groups)) > 1
    times: Counter[_Key] = Counter()
    keys: list[_Key] = []
    for i, group in zip(indices.tolist(), groups, strict=True):
        if has_groups and group:
            keys.append((group,))
            continue
        key: _Key = (source.text(i), source.aspect(i))
        keys.append((*key, times[key]))  # of the same ones within a source each is one of its own
        times[key] += 1
    return keys


_MOST_ALIKE = 500
"""Training lines that are compared with validation lines of the same text."""


def _tell_leaks(
    validation: Sequence[ValidationSet],
    sources: Sequence[Source],
    usable: Sequence[NDArray[np.int64]],
    real: Sequence[int],
) -> None:
    """Warn of validation lines that are trained on, too, and of groups that are on both sides."""
    samples = [sample for part in validation for sample in part.samples]
    texts, groups = {sample.text for sample in samples}, {sample.group for sample in samples} - {""}
    alike, shared = [], set()
    for number in real:
        source = sources[number]
        for i in usable[number].tolist():
            if source.text(i) in texts:
                alike.append((source, i))
            if groups and source.group(i) in groups:
                shared.add(source.group(i))
    picks = np.linspace(0, len(alike) - 1, min(len(alike), _MOST_ALIKE)).round().astype(int)
    known = set()
    for pick in picks.tolist():
        with suppress(DataError):  # it is named when it is trained on
            known.add(mark(fixed_sample(*alike[pick])))
    if seen := count_seen(map(mark, samples), known):
        log.warning(
            "%d of the %d validation lines, or more, are trained on, too: what is measured on them will be too good; "
            "name lines for validation that are not trained on",
            seen,
            len(samples),
        )
    if shared:
        count = sum(sample.group in shared for sample in samples)
        log.warning(
            "groups (writers or documents) that are in training and validation: %d (%d of %d validation lines), "
            "%s; other hands will be read less well than those",
            *(len(shared), count, len(samples), list_few(sorted(shared))),
        )


def _tell_unknown(validation: Sequence[ValidationSet], form: LineForm) -> None:
    """Warn of characters of the validation lines that the network cannot write."""
    unknown = sum((form.unknown(sample.text) for part in validation for sample in part.samples), Counter[str]())
    if unknown:
        listed = ", ".join(f"{character!r} {count}" for character, count in unknown.most_common(10))
        log.warning(
            "%d characters of the validation lines cannot be written by the model, all errors: %s",
            unknown.total(),
            listed,
        )
