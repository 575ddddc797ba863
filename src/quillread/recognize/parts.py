"""What is read one by one of a line image, rows and parts of long lines, and how the readings are joined again."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from quillread.decode.hypothesis import Emission, Hypothesis
from quillread.images.fit import CanvasConfig, squash
from quillread.images.geometry import AffineMap, ChainedMap, CoordMap
from quillread.images.rows import split_line, split_rows
from quillread.models.trocr_config import GenerateConfig
from quillread.types import UInt8Image


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a line image that is read by itself."""

    image: UInt8Image
    """uint8 RGB (H, W, 3)."""
    back: CoordMap
    """From its pixels to those of the line image."""


def cut_line(image: UInt8Image, config: GenerateConfig, canvas: CanvasConfig) -> list[Part]:
    """Cut a line image into what is read one by one, in reading order: itself, unless the settings say otherwise.

    Args:
        image: uint8 RGB (H, W, 3).
        config: `rows` and `split_long`.
        canvas: Where the parts go: how much they are squashed there decides whether a line is too long.
    """
    rows = [Part(image, AffineMap.shift(0.0, 0.0))]
    if config.rows == "split":
        rows = [Part(row, back) for row, back in split_rows(image)] or rows
    if config.split_long is None:
        return rows
    limit = config.split_long
    return [part for row in rows for part in _cut_long(row, limit, canvas)]


def _cut_long(row: Part, limit: float, canvas: CanvasConfig) -> list[Part]:
    if squash(row.image.shape, canvas) <= limit:
        return [row]
    max_width = max(1.0, limit * row.image.shape[0] * canvas.width / canvas.height)
    return [
        Part(row.image[:, start:stop], ChainedMap((row.back, AffineMap.shift(float(start), 0.0))))
        for start, stop in split_line(row.image, max_width)
    ]


def join_parts(parts: Sequence[Part], readings: Sequence[Hypothesis], alternatives: int) -> Hypothesis:
    """Join the readings of the parts of a line with spaces.

    Args:
        parts: The parts, in reading order.
        readings: Their readings; positions in pixels of the part.
        alternatives: Most other readings of the whole line.

    Returns:
        The reading of the line, positions in its pixels; as probable as all parts together.
    """
    if len(parts) == 1:
        return _moved(readings[0], parts[0])
    emissions: list[Emission] = []
    for part, reading in zip(parts, readings, strict=True):
        moved = _without_rims(_moved(reading, part).emissions)
        if moved and emissions:
            # The next row starts further left: the space between them is at the end of this one.
            stop = max(emissions[-1].stop, moved[0].start) if moved[0].start >= emissions[-1].start else None
            emissions.append(Emission(" ", 1.0, emissions[-1].stop, stop or emissions[-1].stop))
        emissions.extend(moved)
    best, *others = _likeliest(readings, alternatives + 1)
    shares = [reading.share for reading in readings if reading.share is not None]
    share = math.prod(shares) if shares else None
    return Hypothesis("".join(e.text for e in emissions), tuple(emissions), best[1], tuple(others), share)


def _moved(reading: Hypothesis, part: Part) -> Hypothesis:
    """Place a reading of a part on the line image."""
    if not reading.emissions:
        return reading
    middle = part.image.shape[0] / 2
    ends = part.back.back_points([(x, middle) for e in reading.emissions for x in (e.start, e.stop)])[:, 0].tolist()
    moved = (
        replace(e, start=start, stop=stop)
        for e, start, stop in zip(reading.emissions, ends[::2], ends[1::2], strict=True)
    )
    return replace(reading, emissions=tuple(moved))


def _without_rims(emissions: Sequence[Emission]) -> Sequence[Emission]:
    """Leave out the spaces at both ends."""
    inked = [i for i, e in enumerate(emissions) if not e.text.isspace()]
    return emissions[inked[0] : inked[-1] + 1] if inked else ()


def _likeliest(readings: Sequence[Hypothesis], count: int) -> list[tuple[str, float]]:
    """Join the readings of the parts and their alternatives: the best one first, then the likeliest other texts."""
    joined = [("", 0.0)]
    for reading in readings:
        options = [(reading.text, reading.log_probability), *reading.alternatives]
        # The first of each list is what was read, even if the search preferred it for another reason than likelihood.
        pairs = ((_join(a, b), p + q) for (a, p), (b, q) in itertools.product(joined, options))
        best, *others = pairs
        distinct: dict[str, float] = {}
        for text, log_probability in sorted(others, key=lambda pair: -pair[1]):
            if text != best[0]:
                distinct.setdefault(text, log_probability)
        joined = [best, *itertools.islice(distinct.items(), count - 1)]
    return joined


def _join(a: str, b: str) -> str:
    return f"{a.strip()} {b.strip()}".strip()
