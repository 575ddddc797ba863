"""How metrics and figures are put for people; the tables for the terminal, which are Markdown too."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from quillread.evaluate.compare import Comparison

TITLES = {
    "cer": "CER",
    "wer": "WER",
    "cer_spacing": "CER, spacing aside",
    "wer_spacing": "WER, spacing aside",
    "cer_caseless": "CER, case aside",
}

_FEW_GROUPS = 5
"""Draws of so few do not tell how much groups differ."""

DEFINITIONS = {
    "cer": "Characters inserted, deleted or replaced, over the characters of the references. Text as it is.",
    "wer": "The same over words, split at spaces. Text as it is.",
    "cer_spacing": "CER after NFKC (accents that stand alone stay), without invisible characters, with curly quotes, "
    "dashes and fractions made plain, white space collapsed, and the spaces beside punctuation removed on both sides.",
    "wer_spacing": "WER of that form, with every punctuation mark a word of its own, except ' and - between "
    "two letters or digits.",
    "cer_caseless": "CER of that form, with upper and lower case made equal.",
}


def percent(value: float | None, digits: int = 2, sign: str = "") -> str:
    """Write a fraction as a percentage, "8.43 %", with `sign` "+" always signed; a dash for None and nan."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:{sign}.{digits}f} %"


def interval(ends: Sequence[float | None], sign: str = "") -> str:
    """Write an interval of fractions, "7.90 to 8.95 %"; a dash if its ends are unknown."""
    low, high = (percent(end, sign=sign) for end in ends)
    return "–" if "–" in (low, high) else f"{low.removesuffix(' %')} to {high}"


def summary_table(summary: Mapping[str, Any]) -> str:
    """Put an evaluation summary as an aligned table and a line of further figures, ending in a newline."""
    rows = [(title, percent(summary[metric]), interval(summary["ci95"][metric])) for metric, title in TITLES.items()]
    return f"{markdown_table([('metric', 'rate', '95 % interval'), *rows])}\n{facts(summary)}\n"


def facts(summary: Mapping[str, Any]) -> str:
    """Put the size, speed and calibration of an evaluation in one sentence."""
    parts = [f"{summary['lines']:,} lines"]
    if summary.get("unreadable"):  # figures of earlier versions do not say
        parts.append(f"{summary['unreadable']:,} more without a readable image")
    if groups := summary["groups"]:
        few = " (too few: the intervals are too narrow)" if 2 <= groups <= _FEW_GROUPS else ""
        parts.append(f"{groups:,} group{'s' if groups > 1 else ''}{few}")
    parts.append(f"{percent(summary['exact_lines'], 1)} of lines exactly right")
    parts.append(f"expected calibration error {percent(summary['expected_calibration_error'], 1)}")
    if summary["seconds_per_line"] is not None:
        parts.append(f"{summary['seconds_per_line']:.3f} s per line")
    return ", ".join(parts) + "."


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Put a comparison as an aligned table, ending in a newline; differences below 0 favour the candidate."""
    heads = (
        "metric",
        "baseline",
        "candidate",
        "difference",
        "95 % interval",
        "p",
        "candidate is",
        "lines better / equal / worse",
    )
    rows = [
        (
            TITLES[c.metric],
            percent(c.baseline),
            percent(c.candidate),
            percent(c.difference, sign="+"),
            interval(c.ci95, sign="+"),
            f"{c.p_value:.3f}" if c.p_value >= 0.0005 else "< 0.001",
            c.verdict,
            " / ".join(percent(share, 1) for share in (c.lines_better, c.lines_equal, c.lines_worse)),
        )
        for c in comparisons
    ]
    return markdown_table([heads, *rows])


def comparison_note(comparisons: Sequence[Comparison], noun: str = "group") -> str:
    """Say that a comparison cannot tell a difference, whatever was read, as a line; empty if it can.

    Args:
        comparisons: Those of the two recognisers.
        noun: What the test goes by: groups, or lines.
    """
    few = next((c.units for c in comparisons if not c.can_tell), None)
    if few is None:
        return ""
    return f"{few} {noun}{'' if few == 1 else 's'}: too few for a test to tell a difference.\n"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Draw a Markdown table with padded columns, the first to the left and the others to the right, and a newline.

    Args:
        rows: The heads first.
    """
    widths = [max(3, *map(len, column)) for column in zip(*rows, strict=True)]
    rule = [f":{'-' * (widths[0] - 1)}", *(f"{'-' * (width - 1)}:" for width in widths[1:])]
    padded = [
        [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        for row in rows
    ]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (padded[0], rule, *padded[1:]))
