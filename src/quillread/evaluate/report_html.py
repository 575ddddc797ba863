"""The report of an evaluation as one HTML page that is read offline."""

import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from quillread.evaluate.breakdown import (
    Bucket,
    Confusion,
    cer_by_confidence,
    cer_by_group,
    cer_by_length,
    confusions,
)
from quillread.evaluate.calibration import acceptance_curve, reliability_bins
from quillread.evaluate.metrics import METRICS, LineScore, score_line
from quillread.evaluate.predictions import Prediction
from quillread.evaluate.report_figures import acceptance_plot, bar_plot, reliability_plot, worst_lines
from quillread.evaluate.report_text import DEFINITIONS, TITLES, facts, interval, percent
from quillread.types import UInt8Image

STYLE = """
:root { color-scheme: light dark;
  --paper: #fbfaf8; --card: #ffffff; --ink: #1f2328; --soft: #5b626b; --rule: #dcdad5; --accent: #2f5d8a;
  --miss-ink: #8c2318; --miss: #fbe0dc; --extra-ink: #14532d; --extra: #d9f0df; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #16181b; --card: #1e2125; --ink: #e6e4e0; --soft: #a2a8b0; --rule: #363b41; --accent: #84b1dd;
  --miss-ink: #ffb4a8; --miss: #4a211c; --extra-ink: #a5e3b6; --extra: #1a3b25; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
main { max-width: 70rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .25rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 0 0 .25rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; font-size: .875rem; }
a { color: var(--accent); }
p { margin: .25rem 0 .75rem; max-width: 48rem; }
.soft, dt, caption, figcaption { color: var(--soft); font-size: .875rem; }
.cards, .plots, .tables { display: grid; gap: 1rem; margin: 1rem 0; }
.cards { grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); }
.plots { grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
.tables { grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); align-items: start; }
.card, figure { background: var(--card); border: 1px solid var(--rule); border-radius: .5rem; padding: 1rem;
  margin: 0; }
.figure { font-size: 1.75rem; font-weight: 600; line-height: 1.2; font-variant-numeric: tabular-nums;
  margin: 0; }
.card p { margin: .15rem 0 0; }
.card .name { font-size: .9rem; font-weight: 600; }
.card .soft { margin-top: .5rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; background: var(--card); }
caption { text-align: left; padding: .25rem 0; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; }
th { font-weight: 600; font-size: .8125rem; color: var(--soft); }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
td .of { display: block; height: .6rem; background: var(--accent); border-radius: 1px; }
td.bars { width: 45%; }
tr.median td { font-weight: 600; }
details { margin-top: .5rem; font-size: .875rem; }
summary { cursor: pointer; color: var(--soft); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 11.5px; text-anchor: middle; font-variant-numeric: tabular-nums; }
svg text.value { fill: var(--ink); }
svg text.end { text-anchor: end; }
svg text.start { text-anchor: start; }
svg .grid { stroke: var(--rule); }
svg .bar, svg .dot { fill: var(--accent); }
svg .curve { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
svg .ideal { stroke: var(--soft); stroke-dasharray: 5 4; }
ol.lines { list-style: none; padding: 0; margin: 1rem 0; }
ol.lines > li { background: var(--card); border: 1px solid var(--rule); border-radius: .5rem;
  padding: .9rem 1rem; margin-bottom: .75rem; overflow-wrap: anywhere; }
ol.lines img { display: block; width: auto; height: auto; max-width: 100%; max-height: 6rem;
  background: #fff; border-radius: .25rem; margin-bottom: .6rem; }
dl.reading { display: grid; grid-template-columns: 6rem 1fr; gap: .15rem .75rem; margin: 0; }
dl.reading dd { margin: 0; font: 1.0625rem/1.5 ui-monospace, monospace; white-space: pre-wrap; }
.char { font-family: ui-monospace, monospace; white-space: pre; }
mark { border-radius: .2rem; padding: 0 .1em; text-decoration-thickness: .12em; }
mark.miss { background: var(--miss); color: var(--miss-ink); text-decoration-line: underline;
  text-decoration-style: dotted; }
mark.extra { background: var(--extra); color: var(--extra-ink); text-decoration-line: underline; }
.keep { white-space: nowrap; }
@media (max-width: 34rem) { dl.reading { grid-template-columns: 1fr; } }
@media print { body { background: none; } .card, figure, ol.lines > li { break-inside: avoid; } }
"""


_EDGE_GROUPS = 5
_CONTENTS = (
    '<nav aria-label="Contents"><a href="#conditions">Length and confidence</a> '
    '<a href="#calibration">Calibration</a> <a href="#characters">Character errors</a> '
    '<a href="#lines">Worst lines</a></nav>'
)
GENERATOR = '<meta name="generator" content="quillread">'
"""By which a page is known to be one of ours, which may be written over."""
# References come from anywhere. They are escaped; this forbids scripts and fetching besides.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render_report(
    rows: Sequence[Prediction], summary: Mapping[str, Any], image_of: Callable[[str], UInt8Image | None]
) -> str:
    """Return the page.

    Args:
        rows: The predictions that `summary` was made from, at least one.
        summary: A document of `report.evaluation_summary`.
        image_of: Gives the line image of an id, or None; asked only for the worst lines.
    """
    scores = [score_line(row.reference, row.text) for row in rows]
    title = f"Evaluation of {summary['model']}"
    sections = (
        _headline(title, summary),
        _conditions(rows, scores),
        _calibration(rows, scores),
        _groups(cer_by_group(rows, scores)),
        _confusions(rows),
        worst_lines(rows, scores, image_of),
    )
    return draw_page(title, sections)


def draw_page(title: str, sections: Iterable[str]) -> str:
    """Frame sections of HTML as a page that needs no other file; empty ones are skipped."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"{GENERATOR}\n"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main>\n</body>\n</html>\n"
    )


def _headline(title: str, summary: Mapping[str, Any]) -> str:
    source = f"Data {summary['data']}, split {summary['split']}. Quillread {summary['version']}."
    cards = "".join(
        f'<div class="card"><p class="name">{TITLES[metric]}</p>'
        f'<p class="figure">{percent(summary[metric])}</p>'
        f'<p class="keep">{interval(summary["ci95"][metric])}</p>'
        f'<p class="soft">{DEFINITIONS[metric]}</p></div>'
        for metric in METRICS
    )
    return (
        f'<header><h1>{escape(title)}</h1><p class="soft">{escape(source)}<br>{escape(facts(summary))}</p>'
        f'{_CONTENTS}</header>\n<section aria-label="Error rates"><div class="cards">{cards}</div>'
        '<p class="soft">CER and WER are the character and the word error rate: the edits of all lines over '
        "the length of all references. Below each stands its 95 % interval, from a bootstrap by group (by "
        "line if there are fewer than two). All that follows is about text as it is.</p></section>"
    )


def _confusions(rows: Sequence[Prediction]) -> str:
    found = confusions(rows)
    tables = (
        _confusion_table("Taken for another", ("written", "read"), found.substitutions),
        _confusion_table("Missed", ("written",), found.deletions),
        _confusion_table("Too much", ("read",), found.insertions),
    )
    return (
        '<section id="characters"><h2>Character errors</h2>'
        "<p>The most frequent, by the shortest alignment of each line.</p>"
        f'<div class="tables">{"".join(tables)}</div></section>'
    )


def _confusion_table(caption: str, heads: Sequence[str], found: Sequence[Confusion]) -> str:
    rows = [[*(_character(c) for c in (one.reference, one.read) if c), f"{one.count:,}"] for one in found]
    return draw_table((*heads, "count"), rows, caption)


def _character(char: str) -> str:
    """Show a character, with its Unicode name to hover over; what has no ink is shown by its code."""
    code = f"U+{ord(char):04X}"
    category = unicodedata.category(char)
    if char == " ":
        shown = "␣"
    elif category[0] == "M":
        shown = f"\u25cc{char}"  # a dotted circle carries the mark
    else:
        shown = code if category[0] in "CZ" else escape(char)
    return f'<span class="char" title="{unicodedata.name(char, code)}">{shown}</span>'


def _conditions(rows: Sequence[Prediction], scores: Sequence[LineScore]) -> str:
    figures = (
        _bars("CER by length of the reference", "characters", cer_by_length(scores)),
        _bars("CER by confidence", "confidence in %", cer_by_confidence(rows, scores)),
    )
    return (
        f'<section id="conditions"><h2>Length and confidence</h2><div class="plots">{"".join(figures)}</div></section>'
    )


def _bars(name: str, x_label: str, buckets: Sequence[Bucket]) -> str:
    cells = [[escape(b.label), f"{b.lines:,}", percent(b.cer)] for b in buckets]
    return _figure(name, bar_plot(buckets, name, x_label), (x_label, "lines", "CER"), cells)


def _calibration(rows: Sequence[Prediction], scores: Sequence[LineScore]) -> str:
    confidence = [row.confidence for row in rows]
    bins = reliability_bins(confidence, [score.is_exact for score in scores])
    bin_cells = [
        [f"{b.low:.0%} to {b.high:.0%}", f"{b.lines:,}", percent(b.confidence, 1), percent(b.accuracy, 1)] for b in bins
    ]
    points = acceptance_curve(confidence, [score.cer for score in scores])
    tenths = dict.fromkeys(next(p for p in points if p.share >= tenth / 10) for tenth in range(1, 11))
    share_cells = [[percent(p.share, 1), percent(p.threshold, 1), percent(p.cer)] for p in tenths]
    figures = (
        _figure("Reliability", reliability_plot(bins), ("confidence", "lines", "mean", "exact"), bin_cells),
        _figure(
            "CER by share of lines accepted",
            acceptance_plot(points),
            ("accepted", "from confidence", "CER"),
            share_cells,
        ),
    )
    return (
        '<section id="calibration"><h2>Calibration</h2><p>The confidence of a line is the probability that '
        "it is exactly right. Where dots lie under the diagonal it promises too much; larger dots hold more "
        "lines. The second plot shows the error rate of the most confident lines, if the others are left to "
        f'a person.</p><div class="plots">{"".join(figures)}</div></section>'
    )


def _groups(buckets: Sequence[Bucket]) -> str:
    if len(buckets) < 2:
        return ""
    last, middle = len(buckets) - _EDGE_GROUPS, len(buckets) // 2
    worst = buckets[0].cer
    rows = "".join(
        _group_row(bucket, worst, is_median=i == middle)
        for i, bucket in enumerate(buckets)
        if i < _EDGE_GROUPS or i == middle or i >= last
    )
    return (
        f"<section><h2>CER by group</h2><p>The worst, the median and the best of {len(buckets):,} groups.</p>"
        '<table><thead><tr><th scope="col">group</th><th scope="col">lines</th><th scope="col">CER</th>'
        f'<th aria-hidden="true"></th></tr></thead><tbody>{rows}</tbody></table></section>'
    )


def _group_row(bucket: Bucket, worst: float, *, is_median: bool) -> str:
    share = 100 * bucket.cer / worst if worst > 0 and not math.isnan(bucket.cer) else 0.0
    kind, note = (' class="median"', " (median)") if is_median else ("", "")
    return (
        f"<tr{kind}><td>{escape(bucket.label)}{note}</td><td>{bucket.lines:,}</td>"
        f'<td class="keep">{percent(bucket.cer)}</td>'
        f'<td class="bars"><span class="of" style="width:{share:.1f}%"></span></td></tr>'
    )


def _figure(name: str, plot: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Frame a plot, with its numbers as a table to unfold."""
    table = f"<details><summary>The numbers</summary>{draw_table(heads, rows)}</details>"
    return f"<figure><h3>{escape(name)}</h3>{plot}{table}</figure>"


def draw_table(heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """Draw a table; the cells are HTML."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    empty = f'<tr><td colspan="{len(heads)}">none</td></tr>'
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body or empty}</tbody></table>"
