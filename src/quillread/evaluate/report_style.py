"""The style sheet of the report, kept in code so that the page needs no file beside it."""

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
