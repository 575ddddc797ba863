"""What a source holds, in figures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quillread.data.source import Source
from quillread.errors import DataError
from quillread.types import Progress

_COLUMNS = 6
"""Characters in a row of the frequency table."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How a quantity is distributed."""

    min: float
    p5: float
    """5th percentile."""
    median: float
    p95: float
    """95th percentile."""
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Describe values; None if there are none."""
        return cls(*np.percentile(values, (0, 5, 50, 95, 100)).tolist()) if values else None


@dataclass(frozen=True, slots=True)
class SourceStats:
    """Size and make-up of a source; a `Spread` is None if there is nothing to measure."""

    name: str
    lines: int
    unreadable: int
    """Lines whose image cannot be read; they count for the text, not for groups and images."""
    groups: int
    """Different groups (writers, documents), lines without one aside."""
    characters: int
    """Length of all texts together."""
    text_length: Spread | None
    """Characters of a line."""
    lines_per_group: Spread | None
    width: Spread | None
    """Pixels of the images as stored."""
    height: Spread | None
    aspect: Spread | None
    """Width over height."""
    character_counts: dict[str, int]
    """The most frequent first."""


def measure_source(source: Source, name: str, *, progress: Progress | None = None) -> SourceStats:
    """Go through all lines of a source; synthetic lines are made with one look each.

    Args:
        source: Lines with their images.
        name: How the result names it.
        progress: Called after each line.
    """
    counts: Counter[str] = Counter()
    groups: Counter[str] = Counter()
    lengths: list[int] = []
    shapes: list[tuple[int, int]] = []
    for row in range(len(source)):
        text = source.text(row)
        counts.update(text)
        lengths.append(len(text))
        try:
            sample = source.sample(row, np.random.default_rng(row))
        except DataError:  # counted below; `data check` says why
            pass
        else:
            shapes.append(sample.image.shape[:2])
            groups.update([sample.group] if sample.group else [])
        if progress:
            progress(row + 1, len(source))
    return SourceStats(
        name=name,
        lines=len(source),
        unreadable=len(source) - len(shapes),
        groups=len(groups),
        characters=counts.total(),
        text_length=Spread.of(lengths),
        lines_per_group=Spread.of(list(groups.values())),
        width=Spread.of([width for _, width in shapes]),
        height=Spread.of([height for height, _ in shapes]),
        aspect=Spread.of([width / height for height, width in shapes]),
        character_counts=dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
    )


def stats_text(stats: SourceStats) -> str:
    """Put the figures as tables for the terminal, ending in a newline."""
    facts = [f"{stats.lines:,} lines"]
    if stats.groups:
        facts.append(f"{stats.groups:,} groups")
    facts.append(f"{stats.characters:,} characters, {len(stats.character_counts):,} different ones")
    if stats.unreadable:
        facts.append(f"{stats.unreadable:,} unreadable images or texts")
    return f"{stats.name}\n{', '.join(facts)}\n\n{_spreads(stats)}\n\n{_frequencies(stats)}\n"


def _spreads(stats: SourceStats) -> str:
    rows: list[tuple[str, Spread | None, int]] = [
        ("characters per line", stats.text_length, 0),
        ("lines per group", stats.lines_per_group, 0),
        ("width in pixels", stats.width, 0),
        ("height in pixels", stats.height, 0),
        ("width / height", stats.aspect, 1),
    ]
    table = [f"{'':<20}" + "".join(f"{head:>9}" for head in ("least", "5 %", "median", "95 %", "most"))]
    for title, spread, digits in rows:
        if spread:
            values = (spread.min, spread.p5, spread.median, spread.p95, spread.max)
            table.append(f"{title:<20}" + "".join(f"{value:>9,.{digits}f}" for value in values))
    return "\n".join(table)


def _frequencies(stats: SourceStats) -> str:
    cells = [f"{_label(char):<6}{count:>7,}" for char, count in stats.character_counts.items()]
    # Filled column by column, so that the eye runs down the frequencies.
    rows = -(-len(cells) // _COLUMNS)
    return "\n".join("   ".join(cells[row::rows]) for row in range(rows))


def _label(char: str) -> str:
    if char == " ":
        return "space"
    return char if char.isprintable() else f"{ord(char):04X}"
