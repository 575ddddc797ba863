"""What a model can learn to write, and what of a data set it cannot: checks before a training."""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from quillread.data.source import Source
from quillread.decode.ctc import columns_needed
from quillread.errors import DataError
from quillread.images.rows import count_rows
from quillread.text.charset import Charset
from quillread.types import Progress, Sample

Misfit = Literal["too_narrow", "too_long"]
"""An image too narrow for its text; a text of too many tokens."""


class Limits(Protocol):
    """What a model can learn to write."""

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters of a text that the model cannot write."""

    def misfit(self, text: str, aspect: float) -> tuple[Misfit, str] | None:
        """Say why the model cannot write a text of known characters, on an image `aspect` times as wide as high."""


@dataclass(frozen=True, slots=True)
class CtcLimits:
    """The `Limits` of a CTC model."""

    charset: Charset
    columns: float
    """Output columns for a piece of image as wide as high."""

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters outside the charset."""
        return self.charset.unknown(text)

    def misfit(self, text: str, aspect: float) -> tuple[Misfit, str] | None:
        """Fewer columns than characters, and blanks between equal ones."""
        columns, needed = int(aspect * self.columns), columns_needed(text)
        return ("too_narrow", f"{columns} columns, needs {needed}") if columns < needed else None


class Speller(Protocol):
    """A tokenizer, and how many tokens a line may have."""

    max_length: int
    """Most tokens of a line, the end included."""

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters that the tokens do not give back."""

    def length(self, text: str) -> int:
        """Tokens of a text, the end included."""


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """The `Limits` of a model that writes tokens."""

    speller: Speller

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters that the tokens do not give back."""
        return self.speller.unknown(text)

    def misfit(self, text: str, aspect: float) -> tuple[Misfit, str] | None:
        """More tokens than a line may have; the shape of the image does not matter."""
        length, limit = self.speller.length(text), self.speller.max_length
        return ("too_long", f"{length} tokens, at most {limit}") if length > limit else None


FaultKind = (
    Misfit
    | Literal[
        "unreadable", "empty_text", "duplicate_id", "duplicate_image", "shared_group", "several_rows", "odd_aspect"
    ]
)
_TITLES: dict[FaultKind, str] = {
    "unreadable": "lines whose image or text cannot be read",
    "empty_text": "lines without text",
    "duplicate_id": "ids that occur twice",
    "duplicate_image": "images that occur twice",
    "shared_group": "groups that are in several splits",
    "too_narrow": "images too narrow for their text (CTC needs a column for each character)",
    "too_long": "texts of more tokens than the model can write",
    "several_rows": "images of several lines of writing",
    "odd_aspect": "images of an odd shape for their text",
}
# Of 15,000 lines from six collections in English and French, five lie outside these bounds.
_CRAMPED = 0.1
"""Width over height per character; with less, the image may lack part of the text, or show it too small."""
_SPARSE = 1.2
"""Width over height per character; with more, the text may lack part of what is written."""


_LONG, _SQUAT, _DENSE = 20, 4.0, 0.06
"""Characters of a text, width over height of an image, and that per character: a line has ten times as much."""


def is_page(text: str, aspect: float) -> bool:
    """Whether an image has so much text for its shape that it must be of a page or a paragraph."""
    return len(text) >= _LONG and aspect < _SQUAT and aspect / len(text) < _DENSE


@dataclass(frozen=True, slots=True)
class Part:
    """One split of one data set."""

    data: str
    """The data set: ids are unique, and groups mean the same, only within it."""
    split: str
    source: Source

    @property
    def name(self) -> str:
        """How faults name it."""
        return f"{self.data} ({self.split})"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong."""

    kind: FaultKind
    part: str
    row: int
    """Index of the line, from 0; of the first one of the group for `shared_group`."""
    id: str | None
    """None if the image or text cannot be read, as the line then does not exist; `detail` names it."""
    detail: str

    def __str__(self) -> str:
        """Where and what, as one line."""
        where = self.part if self.id is None else f"{self.part}, row {self.row} ({self.id})"
        return f"{where}: {self.detail}"


@dataclass(frozen=True, slots=True)
class UnknownCharacter:
    """A character that the model cannot write."""

    character: str
    name: str
    """Code point and Unicode name, as "U+017F LATIN SMALL LETTER LONG S"."""
    occurrences: int
    lines: int
    examples: tuple[str, ...]
    """Texts of the first lines that hold it."""

    def __str__(self) -> str:
        """The character, how often and where, as one line."""
        count = f"occurrences: {self.occurrences:,}, lines: {self.lines:,}"
        return f"{self.character!r} {self.name} ({count}), as in {self.examples[0]!r}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """All that was found."""

    lines: dict[str, int]
    """Number of lines of each part."""
    counts: dict[str, int]
    """Number of faults of each kind, kinds without any included."""
    faults: tuple[Fault, ...]
    unknown_characters: tuple[UnknownCharacter, ...]
    """The most frequent first."""
    remarks: tuple[str, ...] = ()
    """What is worth a look, and may well be as it should."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.faults and not self.unknown_characters


def check_sources(parts: Sequence[Part], limits: Limits, *, progress: Progress | None = None) -> CheckReport:
    """Look at every line; never stops at a fault.

    Images are compared by their decoded pixels, across all parts: a copy that was scaled or compressed again
    is not found. Ids and groups are compared within a data set.

    Args:
        parts: Splits of data sets. Synthetic lines are made with one look each.
        limits: What the model that is to be trained can write.
        progress: Called after each line.
    """
    finder = _Finder(limits)
    total = sum(len(part.source) for part in parts)
    done = 0
    for part in parts:
        for row in range(len(part.source)):
            finder.look(part, row)
            done += 1
            if progress:
                progress(done, total)
    faults = (*finder.faults, *finder.shared_groups())
    counts = Counter(fault.kind for fault in faults)
    return CheckReport(
        lines={part.name: len(part.source) for part in parts},
        counts={kind: counts[kind] for kind in _TITLES},
        faults=faults,
        unknown_characters=finder.unknown_characters(),
        remarks=tuple(finder.common_groups()),
    )


def check_text(report: CheckReport, shown: int = 8) -> str:
    """Put a report for the terminal, with the first `shown` faults of each kind; ends in a newline."""
    blocks = ["\n".join(f"{name}: {count:,} lines" for name, count in report.lines.items())]
    for kind, title in _TITLES.items():
        faults = [str(fault) for fault in report.faults if fault.kind == kind]
        if faults:
            blocks.append(_block(title, faults, shown))
    if report.unknown_characters:
        blocks.append(
            _block("characters that the model cannot write", list(map(str, report.unknown_characters)), shown)
        )
    if report.remarks:
        blocks.append(_block("no fault, but groups of the same name in several data sets", report.remarks, shown))
    if report.is_clean:
        blocks.append("no faults found")
    return "\n\n".join(blocks) + "\n"


def _block(title: str, items: Sequence[str], shown: int) -> str:
    more = [f"… and {len(items) - shown:,} more"] if len(items) > shown else []
    return "\n  ".join([f"{title}: {len(items):,}", *items[:shown], *more])


@dataclass(slots=True)
class _Place:
    part: Part
    row: int
    sample_id: str
    text: str
    lines: int = 1

    def __str__(self) -> str:
        return f"{self.part.name}, row {self.row} ({self.sample_id})"


@dataclass(slots=True)
class _Strange:
    occurrences: int = 0
    lines: int = 0
    examples: list[str] = field(default_factory=list)


class _Finder:
    """What was seen so far, and what was found wrong with it."""

    def __init__(self, limits: Limits) -> None:
        self.faults: list[Fault] = []
        self._limits = limits
        self._ids: dict[tuple[str, str], _Place] = {}
        self._images: dict[bytes, _Place] = {}
        self._groups: dict[tuple[str, str], dict[str, _Place]] = {}
        self._strange: dict[str, _Strange] = {}

    def look(self, part: Part, row: int) -> None:
        """Look at one line."""
        self._look_at_characters(part.source.text(row))
        try:
            sample = part.source.sample(row, np.random.default_rng(row))
        except DataError as error:
            detail = error.message.removeprefix(f"{part.source.name}, ")
            self.faults.append(Fault("unreadable", part.name, row, None, detail))
            return
        place = _Place(part, row, sample.id, sample.text)
        for kind, detail in (*self._look_at_identity(place, sample), *self._look_at_shape(sample)):
            self.faults.append(Fault(kind, part.name, row, sample.id, detail))
        if sample.group:
            by_split = self._groups.setdefault((part.data, sample.group), {})
            if by_split.setdefault(part.split, place) is not place:
                by_split[part.split].lines += 1

    def shared_groups(self) -> Iterator[Fault]:
        """List the groups that are in more than one split, once for each split but the first."""
        for (_, group), by_split in self._groups.items():
            first, *others = by_split.values()
            for place in others:
                detail = f"group {group!r}: {place.lines:,} lines here, {first.lines:,} in {first.part.split}"
                yield Fault("shared_group", place.part.name, place.row, place.sample_id, detail)

    def common_groups(self) -> Iterator[str]:
        """Tell the groups that have the same name in several data sets."""
        by_group: dict[str, list[str]] = {}
        for (data, group), by_split in self._groups.items():
            lines = sum(place.lines for place in by_split.values())
            by_group.setdefault(group, []).append(f"{lines:,} lines in {data}")
        for group, places in by_group.items():
            if len(places) > 1:
                yield f"group {group!r}: {', '.join(places)}"

    def unknown_characters(self) -> tuple[UnknownCharacter, ...]:
        """List the characters that the model cannot write."""
        found = sorted(self._strange.items(), key=lambda item: (-item[1].occurrences, item[0]))
        return tuple(
            UnknownCharacter(
                char,
                f"U+{ord(char):04X} {unicodedata.name(char, 'control character')}",
                strange.occurrences,
                strange.lines,
                tuple(strange.examples),
            )
            for char, strange in found
        )

    def _look_at_characters(self, text: str) -> None:
        for char, count in self._limits.unknown(text).items():
            strange = self._strange.setdefault(char, _Strange())
            strange.occurrences += count
            strange.lines += 1
            if strange.lines <= 3:
                strange.examples.append(text)

    def _look_at_identity(self, place: _Place, sample: Sample) -> Iterator[tuple[FaultKind, str]]:
        # Tables without ids number their rows, in each split from 0: such an id says nothing.
        if sample.id != str(place.row):
            first = self._ids.setdefault((place.part.data, sample.id), place)
            if first is not place:
                yield "duplicate_id", f"same id as {first}"
        shape = ",".join(map(str, sample.image.shape)).encode()
        key = hashlib.blake2b(sample.image.tobytes(), digest_size=16, key=shape).digest()
        first = self._images.setdefault(key, place)
        if first is not place:
            text = "with the same text" if first.text == sample.text else f"with the text {first.text!r}"
            yield "duplicate_image", f"text {sample.text!r}; same image as {first}, {text}"

    def _look_at_shape(self, sample: Sample) -> Iterator[tuple[FaultKind, str]]:
        text, (height, width) = sample.text, sample.image.shape[:2]
        if not text.strip():
            yield "empty_text", f"no text for an image of {width} x {height} pixels"
            return
        aspect = width / height
        shape = f"{width} x {height} pixels for the {len(text)} characters of {text!r}"
        rows = count_rows(sample.image)
        if rows > 1:
            yield "several_rows", f"{shape}: looks like {rows} lines"
        misfit = self._limits.misfit(text, aspect)
        if misfit:
            kind, detail = misfit
            yield kind, f"{shape}: {detail}"
        elif aspect < 1 and len(text) >= 4:
            yield "odd_aspect", f"{shape}: higher than wide"
        elif aspect < _CRAMPED * len(text):
            yield "odd_aspect", f"{shape}: cut off, sloping, or several lines?"
        # Room for a margin: a single letter in a wide crop is nothing odd.
        elif aspect > _SPARSE * (len(text) + 2):
            yield "odd_aspect", f"{shape}: is more written there?"
