"""The figures of the report: plots as SVG, and the worst lines with their images."""

import base64
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby

from PIL import Image

from quillread.evaluate.breakdown import Bucket
from quillread.evaluate.calibration import AcceptancePoint, ReliabilityBin
from quillread.evaluate.metrics import LineScore
from quillread.evaluate.predictions import Prediction
from quillread.evaluate.report_text import percent
from quillread.text.align import align
from quillread.types import UInt8Image

_WIDTH, _HEIGHT = 480, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 22, 22, 48


@dataclass(frozen=True, slots=True)
class _Scale:
    """Maps values in [0, x_max] x [0, y_max] to the pixels of a plot, rounded for short files."""

    x_max: float
    y_max: float

    def x(self, value: float) -> float:
        return round(_LEFT + value / self.x_max * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(self, value: float) -> float:
        return round(_HEIGHT - _BOTTOM - value / self.y_max * (_HEIGHT - _TOP - _BOTTOM), 1)


def bar_plot(buckets: Sequence[Bucket], name: str, x_label: str) -> str:
    """Draw the error rate of each bucket as a bar, with its figure on top and its label below."""
    known = [bucket.cer for bucket in buckets if not math.isnan(bucket.cer)]
    scale = _Scale(max(len(buckets), 1), _axis_end(max(known, default=0.0)))
    parts = [_y_axis(scale, "CER")]
    for i, bucket in enumerate(buckets):
        height = 0.0 if math.isnan(bucket.cer) else bucket.cer
        left, right, top = scale.x(i + 0.14), scale.x(i + 0.86), scale.y(height)
        middle = scale.x(i + 0.5)
        hint = f"{bucket.label}: CER {percent(bucket.cer)}, {bucket.lines:,} lines"
        parts.append(
            f'<rect class="bar" x="{left}" y="{top}" width="{right - left:.1f}" '
            f'height="{scale.y(0) - top:.1f}"><title>{escape(hint)}</title></rect>'
            + _text(middle, top - 5, percent(bucket.cer, 1).removesuffix(" %"), "value")
            + _text(middle, scale.y(0) + 15, bucket.label, "tick")
        )
    parts.append(_x_label(x_label))
    return _svg(name, "Bars of the character error rate. The numbers follow as a table.", parts)


def reliability_plot(bins: Sequence[ReliabilityBin]) -> str:
    """Draw the share of exact lines against mean confidence, bin by bin; the diagonal is perfect."""
    scale = _Scale(1.0, 1.0)
    most = max((part.lines for part in bins), default=1)
    line = " ".join(f"{scale.x(part.confidence)},{scale.y(part.accuracy)}" for part in bins)
    parts = [
        _y_axis(scale, "exactly right"),
        _x_ticks(scale),
        f'<line class="ideal" x1="{scale.x(0)}" y1="{scale.y(0)}" x2="{scale.x(1)}" y2="{scale.y(1)}"/>',
        f'<polyline class="curve" points="{line}"/>',
    ]
    for part in bins:
        hint = f"{percent(part.accuracy, 1)} exact at {percent(part.confidence, 1)}, {part.lines:,} lines"
        radius = 3 + 7 * math.sqrt(part.lines / most)
        parts.append(
            f'<circle class="dot" cx="{scale.x(part.confidence)}" cy="{scale.y(part.accuracy)}" '
            f'r="{radius:.1f}"><title>{hint}</title></circle>'
        )
    parts.append(_x_label("confidence"))
    description = "Share of lines that are exactly right against confidence; the dashed diagonal is perfect."
    return _svg("Reliability", description, parts)


def acceptance_plot(points: Sequence[AcceptancePoint]) -> str:
    """Draw the error rate of the accepted lines against the share of lines accepted, most confident first."""
    known = [point for point in points if not math.isnan(point.cer)]
    scale = _Scale(1.0, _axis_end(max((point.cer for point in known), default=0.0)))
    # Neighbouring points that fall on one pixel add bytes and nothing to see.
    by_pixel = {round(scale.x(point.share)): point for point in known}
    line = " ".join(f"{scale.x(point.share)},{scale.y(point.cer)}" for point in by_pixel.values())
    parts = [
        _y_axis(scale, "CER"),
        _x_ticks(scale),
        f'<polyline class="curve" points="{line}"/>',
        _x_label("share of lines accepted"),
    ]
    description = "Character error rate of the most confident lines, against the share of lines accepted."
    return _svg("CER by share accepted", description, parts)


def _axis_end(largest: float) -> float:
    """Return a round number a little above `largest`, four steps of one figure (or 1.5, 2.5) each."""
    if largest <= 0:
        return 0.04
    power = 10.0 ** math.floor(math.log10(largest / 4))
    return next(4 * step * power for step in (1, 1.5, 2, 2.5, 3, 4, 5, 10) if 4 * step * power >= largest)


def _y_axis(scale: _Scale, label: str) -> str:
    step = scale.y_max / 4
    right = _WIDTH - _RIGHT
    lines = [
        f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{scale.y(value)}" y2="{scale.y(value)}"/>'
        + _text(_LEFT - 6, scale.y(value) + 4, f"{100 * value:.4g} %", "tick end")
        for value in (i * step for i in range(5))
    ]
    return "".join(lines) + _text(4, 12, label, "tick start")


def _x_ticks(scale: _Scale) -> str:
    return "".join(
        _text(scale.x(share), scale.y(0) + 15, percent(share, 0), "tick") for share in (0, 0.25, 0.5, 0.75, 1)
    )


def _x_label(label: str) -> str:
    return _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, label, "label")


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(name: str, description: str, parts: Sequence[str]) -> str:
    label = escape(f"{name}. {description}")
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


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
    return "" if pixels is None else embed_picture(pixels, _PICTURE_SIZE, 75, f"Picture of line {row.id}")


def embed_picture(pixels: UInt8Image, size: tuple[int, int], quality: int, said: str) -> str:
    """An image that is in the page itself, uint8 RGB (H, W, 3), at most of a width and a height.

    Args:
        pixels: The image.
        size: Most width and height.
        quality: Of WebP, 0 to 100.
        said: What stands for it where it is not seen.
    """
    picture = Image.fromarray(pixels)
    picture.thumbnail(size)
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=quality)
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    shape = f'width="{picture.width}" height="{picture.height}"'
    return f'<img src="data:image/webp;base64,{data}" {shape} alt="{escape(said)}">'


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
