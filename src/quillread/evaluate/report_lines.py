"""The worst lines of an evaluation as pictures, with reference and reading side by side."""

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from itertools import groupby

from PIL import Image

from quillread.evaluate.metrics import LineScore
from quillread.evaluate.predictions import Prediction
from quillread.evaluate.report_text import percent
from quillread.text.align import align
from quillread.types import UInt8Image

WORST_LINES = 30
"""How many lines are shown."""

_PICTURE_SIZE = (1400, 112)


def worst_lines(
    rows: Sequence[Prediction], scores: Sequence[LineScore], image_of: Callable[[str], UInt8Image | None]
) -> str:
    """Return the section of the page that shows the lines with the most edits in text as it is."""
    ranked = sorted(zip(rows, scores, strict=True), key=lambda pair: -pair[1].cer.edits)
    items = "".join(
        f'<li>{_picture(row, image_of)}{_reading(row)}<p class="soft">{escape(_caption(row, score))}</p></li>'
        for row, score in ranked[:WORST_LINES]
        if score.cer.edits
    )
    if not items:
        return '<section id="lines"><h2>Worst lines</h2><p>Every line is exactly right.</p></section>'
    return (
        '<section id="lines"><h2>Worst lines</h2><p>Most edits first. '
        'Marked in the reference: <mark class="miss">missed or taken for another</mark>; in the reading: '
        '<mark class="extra">too much or wrong</mark>. A differing space is shown as ␣.</p>'
        f'<ol class="lines">{items}</ol></section>'
    )


def _caption(row: Prediction, score: LineScore) -> str:
    group = f"{row.group}, " if row.group else ""
    return (
        f"{row.id}: {group}{score.cer.edits} edits in {score.cer.length} characters, "
        f"confidence {percent(row.confidence, 1)}"
    )


def _picture(row: Prediction, image_of: Callable[[str], UInt8Image | None]) -> str:
    pixels = image_of(row.id)
    if pixels is None:
        return ""
    picture = Image.fromarray(pixels)
    picture.thumbnail(_PICTURE_SIZE)
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=75)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img src="data:image/webp;base64,{data}" {size} alt="Picture of line {escape(row.id)}">'


def _reading(row: Prediction) -> str:
    pairs = align(row.reference.strip(), row.text.strip())
    wanted = _marked([(a, a != b) for a, b in pairs if a is not None], "miss")
    read = _marked([(b, a != b) for a, b in pairs if b is not None], "extra")
    return (
        f'<dl class="reading"><dt>reference</dt><dd dir="auto">{wanted or "–"}</dd>'
        f'<dt>reading</dt><dd dir="auto">{read or "–"}</dd></dl>'
    )


def _marked(characters: Sequence[tuple[str, bool]], kind: str) -> str:
    """Join characters to escaped text in which each run of differing ones is marked."""
    parts = []
    for differs, run in groupby(characters, key=lambda pair: pair[1]):
        text = escape("".join(char for char, _ in run))
        parts.append(f'<mark class="{kind}">{text.replace(" ", "␣")}</mark>' if differs else text)
    return "".join(parts)
