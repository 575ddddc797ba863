"""A sample of lines for proofreading, and the character error rate of the whole data set that follows from it.

Lines are drawn by stratum: lines of a similar expected error rate. Within a stratum each line is as likely as any
other, so its sample stands for the whole stratum. More are drawn where errors are expected to differ most (Neyman's
allocation). The rate is the combined ratio estimator, its interval that of the linearised variance (Cochran, Sampling
Techniques, 3rd edition 1977, sections 5.4, 5.5 and 6.11), with Student's t of Satterthwaite's degrees of freedom. That
no error was met in a stratum does not say that it has none: by the rule of three (Hanley and Lippman-Hand, JAMA 1983),
up to 3 in n of its lines may have one, which is added to the upper end as other errors are. The rate is about lines
that were found: those that were missed show only on pages.
"""

import csv
import io
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from quillread.errors import DataError, UsageError
from quillread.evaluate.metrics import edit_counts

_EDGES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
"""Expected error rates between the strata."""
_LEAST = 2
"""Lines of each stratum, without which nothing is known of how they differ."""
_COLUMNS = ("page", "line", "source", "number", "stratum", "lines_of_stratum", "lines_of_sample", "text", "truth")
_NUMBERS = ("line", "number", "lines_of_stratum", "lines_of_sample")
EMPTY = "[empty]"
"""What stands for the truth of a line where nothing is written."""
_T95 = {
    1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 12: 2.179,
    15: 2.131, 20: 2.086, 30: 2.042, 60: 2.000, 120: 1.980, 1000: 1.962,
}  # fmt: skip
"""How many standard errors a 95 % interval reaches, by degrees of freedom: of others, the next lower ones count."""


@dataclass(frozen=True, slots=True)
class SampledLine:
    """A line of the sample."""

    page: str
    """Id of its page."""
    line: int
    """Number of the line on the page, from 1."""
    source: str
    number: int
    """Of the page in its document."""
    stratum: str
    lines_of_stratum: int
    """Of the whole data set."""
    text: str
    """As it was read."""
    truth: str = ""
    """What is written there; empty until somebody has looked, `EMPTY` if nothing is."""
    lines_of_sample: int = 0
    """How many were drawn in all; 0 if that is not known."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The character error rate of the whole data set."""

    cer: float
    low: float
    """Of the 95 % interval."""
    high: float
    lines: int
    """That were proofread."""
    lines_of_all: int


def draw(rows: Iterable[dict[str, Any]], count: int, rng: random.Random) -> list[SampledLine]:
    """Draw lines, in one pass: memory holds `count` lines of each stratum at most.

    Args:
        rows: Of the data set, with `id`, `source`, `page`, and `lines`.
        count: How many lines, as far as there are so many; at least 2 of each stratum.
        rng: Draws.

    Raises:
        DataError: If there are no lines.
    """
    kept: dict[str, list[tuple[str, int, str, int, str]]] = {}
    seen: dict[str, int] = {}
    spread: dict[str, float] = {}
    for row in rows:
        for number, line in enumerate(row["lines"], 1):
            stratum = stratum_of(line["expected_cer"])
            seen[stratum] = seen.get(stratum, 0) + 1
            spread[stratum] = spread.get(stratum, 0.0) + _deviation(line)
            found = (row["id"], number, row["source"], row["page"], line["text"])
            chosen = kept.setdefault(stratum, [])
            # Reservoir sampling (Vitter 1985, algorithm R): each line so far is as likely to be kept.
            if len(chosen) < count:
                chosen.append(found)
            elif (place := rng.randrange(seen[stratum])) < count:
                chosen[place] = found
    if not seen:
        raise DataError("the data set has no lines to draw from", hint="wait until some pages are read")
    shares = allocate(seen, spread, count)
    total = sum(shares.values())
    return [
        SampledLine(page, line, source, number, stratum, seen[stratum], text, lines_of_sample=total)
        for stratum in sorted(kept)
        for page, line, source, number, text in rng.sample(kept[stratum], shares[stratum])
    ]


def stratum_of(expected: float | None) -> str:
    """The name of the stratum of a line by its expected character error rate."""
    if expected is None:
        return "unknown"
    place = sum(expected >= edge for edge in _EDGES)
    low = _EDGES[place - 1] if place else 0.0
    return f"from {100 * low:04.1f} %"


def allocate(seen: dict[str, int], spread: dict[str, float], count: int) -> dict[str, int]:
    """How many lines to draw of each stratum: by its number of lines times how much errors are expected to differ.

    Args:
        seen: Lines of each stratum.
        spread: The sum over them of the expected deviation of their edits.
        count: Lines to draw; of small strata at least 2, or all.
    """
    shares = {name: min(_LEAST, lines) for name, lines in seen.items()}
    left = count - sum(shares.values())
    while left > 0:
        open_ones = [name for name, lines in seen.items() if shares[name] < lines]
        if not open_ones:
            break
        # The stratum whose share is farthest behind: the largest remainder, one line at a time.
        name = max(open_ones, key=lambda name: (spread[name] / shares[name], name))
        shares[name] += 1
        left -= 1
    return shares


def _deviation(line: dict[str, Any]) -> float:
    """The expected deviation of the edits of a line: as of as many independent characters."""
    rate = 0.1 if line["expected_cer"] is None else min(max(line["expected_cer"], 0.001), 1.0)
    return math.sqrt(max(len(line["text"]), 1) * rate)


def estimate(lines: Sequence[SampledLine]) -> Estimate:
    """Estimate the character error rate of the whole from a sample that was proofread.

    Raises:
        DataError: If lines were not proofread, are missing, or a stratum has too few.
    """
    if lines and lines[0].lines_of_sample not in (0, len(lines)):
        message = f"the sample has {len(lines)} lines, and {lines[0].lines_of_sample} were drawn"
        raise DataError(message, hint="keep all rows of the sample, and each once")
    open_ones = [line for line in lines if not line.truth]
    if open_ones or not lines:
        first = f", the first is line {open_ones[0].line} of {open_ones[0].source}" if open_ones else ""
        hint = f"fill the column truth, with {EMPTY} where nothing is written"
        raise DataError(f"{len(open_ones)} of {len(lines)} lines are not proofread{first}", hint=hint)
    strata: dict[str, list[tuple[int, int]]] = {}
    sizes: dict[str, int] = {}
    for line in lines:
        truth = "" if line.truth.strip() == EMPTY else line.truth.strip()
        counts = edit_counts(truth, line.text.strip())
        strata.setdefault(line.stratum, []).append((counts.edits, counts.length))
        sizes[line.stratum] = line.lines_of_stratum
    edits = sum(sizes[name] * _mean([e for e, _ in found]) for name, found in strata.items())
    length = sum(sizes[name] * _mean([n for _, n in found]) for name, found in strata.items())
    if not length:
        raise DataError("none of the lines that were proofread holds any writing", hint="draw a larger sample")
    rate = edits / length
    variances = {name: _variance_of(found, sizes[name], rate) for name, found in strata.items()}
    half = _t95(variances, strata) * math.sqrt(sum(variances.values()))
    unseen = _unseen_edits(strata, sizes)
    low, high = rate - half / length, rate + math.hypot(half, *unseen) / length
    return Estimate(rate, max(low, 0.0), high, len(lines), sum(sizes.values()))


def _t95(variances: dict[str, float], strata: dict[str, list[tuple[int, int]]]) -> float:
    """How many standard errors the interval reaches: the fewer lines the variance comes from, the more."""
    parts = sum(value**2 / (len(strata[name]) - 1) for name, value in variances.items() if value)
    degrees = sum(variances.values()) ** 2 / parts if parts else math.inf
    return _T95[max(known for known in _T95 if known == 1 or known <= degrees)]


def _unseen_edits(strata: dict[str, list[tuple[int, int]]], sizes: dict[str, int]) -> list[float]:
    """Edits that strata may have in which none were met, at most."""
    return [
        (sizes[name] - len(found)) * min(3 / len(found), 1.0)
        for name, found in strata.items()
        if not any(edits for edits, _ in found)
    ]


def _variance_of(found: Sequence[tuple[int, int]], size: int, rate: float) -> float:
    """The part of a stratum in the variance of the sum of edits beyond the rate."""
    count = len(found)
    if count >= size:
        return 0.0  # all its lines were proofread
    beyond = [edits - rate * length for edits, length in found]
    if count < _LEAST:
        raise DataError("a stratum has a single line left", hint="keep all rows of the sample")
    middle = _mean(beyond)
    spread = sum((value - middle) ** 2 for value in beyond) / (count - 1)
    return size**2 * (1 - count / size) * spread / count


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def to_csv(lines: Iterable[SampledLine]) -> str:
    """The sample as a table for a spreadsheet, whose last column is to be filled."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    writer.writerows([_guarded(getattr(line, name)) for name in _COLUMNS] for line in lines)
    return text.getvalue()


def from_csv(text: str, where: str) -> list[SampledLine]:
    """The sample of `to_csv`, proofread or not.

    Raises:
        DataError: If it is something else.
    """
    return list(_parse(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"))), where))


def _parse(rows: "csv.DictReader[str]", where: str) -> Iterator[SampledLine]:
    missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
    if missing:
        message = f"{where}: lacks the columns {', '.join(missing)}"
        raise DataError(message, hint="take the file that quill batch sample has written")
    for number, row in enumerate(rows, 2):
        try:
            counts = [int(row[name]) for name in _NUMBERS]
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}, line {number}: a number is damaged", hint="take the file as written") from error
        cells = {name: (row[name] or "").removeprefix("\t") for name in _COLUMNS}
        yield SampledLine(
            cells["page"], counts[0], cells["source"], counts[1], cells["stratum"], counts[2], cells["text"],
            cells["truth"], counts[3],
        )  # fmt: skip


def _guarded(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"\t{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def check_count(count: int) -> None:
    """Refuse a sample of no use.

    Raises:
        UsageError: If it has fewer than two lines of each stratum.
    """
    least = _LEAST * (len(_EDGES) + 2)
    if count < least:
        raise UsageError(f"a sample needs at least {least} lines, got {count}", hint="200 give a useful interval")
