"""Reads line images with TrOCR: in parts where they are long or hold several rows."""

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quillread.decode.hypothesis import Emission, Hypothesis
from quillread.decode.tokens import InkSpan, Piece, emit, follow_gaze, keep_repeats, keep_tail, look_up, spell
from quillread.images.fit import CanvasConfig, pad_to_canvas, padded_width, squash
from quillread.images.geometry import AffineMap, ChainedMap, CoordMap
from quillread.images.rows import count_rows, ink_bounds, split_line, split_rows
from quillread.models.model_folder import ModelInfo
from quillread.models.trocr.settings import GenerateConfig
from quillread.recognize.trocr.backend import LinePicture, TrocrBackend, Written
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
    compared = any(reading.share is not None for reading in readings)
    return Hypothesis(
        "".join(e.text for e in emissions),
        tuple(emissions),
        best.log_probability,
        tuple((other.text, other.log_probability) for other in others),
        share=best.share if compared else None,
        alternative_shares=tuple(other.share for other in others) if compared else (),
        nats=_joined_nats(readings) if compared else None,
    )


def _joined_nats(readings: Sequence[Hypothesis]) -> float | None:
    """Nats a character of the parts that a language was asked about."""
    asked = [(len(reading.text.strip()), reading.nats) for reading in readings if reading.nats is not None]
    characters = sum(length for length, _ in asked)
    return sum(length * nats for length, nats in asked) / characters if characters else None


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
    """Drop the spaces at both ends."""
    inked = [i for i, e in enumerate(emissions) if not e.text.isspace()]
    return emissions[inked[0] : inked[-1] + 1] if inked else ()


class _Option(NamedTuple):
    """One text of a line or a part of it."""

    text: str
    log_probability: float
    share: float
    """Among the texts that were compared; 1 if none were."""

    def and_then(self, other: "_Option") -> "_Option":
        """This text, and another one behind it."""
        text = f"{self.text.strip()} {other.text.strip()}".strip()
        return _Option(text, self.log_probability + other.log_probability, self.share * other.share)


def _options(reading: Hypothesis) -> list[_Option]:
    """A reading and its alternatives."""
    texts = ((reading.text, reading.log_probability), *reading.alternatives)
    shares = (reading.share, *reading.alternative_shares)
    return [
        _Option(text, log_probability, 1.0 if share is None else share)
        for (text, log_probability), share in itertools.zip_longest(texts, shares)
    ]


def _distinct(options: Iterable[_Option], chosen: str) -> list[_Option]:
    """The texts other than the chosen one, each once, the best first: by their shares, then by how likely they are."""
    found: dict[str, _Option] = {}
    for option in sorted(options, key=lambda option: (-option.share, -option.log_probability)):
        if option.text != chosen:
            found.setdefault(option.text, option)
    return list(found.values())


def _likeliest(readings: Sequence[Hypothesis], count: int) -> list[_Option]:
    """Join the readings of the parts and their alternatives: the best one first, then the best other texts."""
    joined = [_Option("", 0.0, 1.0)]
    for reading in readings:
        # The first of each list is what was read, even if the search preferred it for another reason than likelihood.
        best, *others = (a.and_then(b) for a, b in itertools.product(joined, _options(reading)))
        joined = [best, *_distinct(others, best.text)[: count - 1]]
    return joined


_LEAST_READINGS = 5
"""Readings that are asked for where a ranking is to choose among them."""

Ranking = Callable[[Sequence[Hypothesis]], list[Hypothesis]]
"""Orders the readings of one line, the favourite of the search first, by what they are worth."""


class _Asked:
    """Images that a thread wants to be read, and what came of them."""

    def __init__(self, images: Sequence[UInt8Image]) -> None:
        self.images = images
        self.is_done = False
        self._read: list[list[Written]] = []
        self._error: Exception | None = None

    def settle(self, read: list[list[Written]], error: Exception | None = None) -> None:
        """Take what was written for each image, or why nothing was."""
        self.is_done, self._read, self._error = True, read, error

    def result(self) -> list[list[Written]]:
        """What was written for each image."""
        if self._error is not None:
            raise self._error
        return self._read


class _Turns:
    """Lets threads that share a network take turns; whoever has the turn reads for all that wait.

    So the lines of several pages, each read by a thread of its own, fill the batches of the network together.

    Args:
        read: Reads images, with what was written for each; by one thread at a time.
    """

    def __init__(self, read: Callable[[Sequence[UInt8Image]], list[list[Written]]]) -> None:
        self._read = read
        self._turn = threading.Lock()
        self._asking = threading.Lock()
        self._waiting: list[_Asked] = []

    def __call__(self, images: Sequence[UInt8Image]) -> list[list[Written]]:
        """Read images."""
        own = _Asked(images)
        with self._asking:
            self._waiting.append(own)
        with self._turn:
            if not own.is_done:
                with self._asking:
                    others, self._waiting = [asked for asked in self._waiting if asked is not own], []
                self._serve([own, *others])
        return own.result()

    def _serve(self, asked: Sequence[_Asked]) -> None:
        try:
            read = iter(self._read([image for one in asked for image in one.images]))
            for one in asked:
                one.settle(list(itertools.islice(read, len(one.images))))
        except Exception as error:
            if len(asked) == 1:
                asked[0].settle([], error)
                return
            for one in asked:  # what is wrong with the lines of one page must not lose the others
                self._serve([one])


class TrocrEngine:
    """The TrOCR family.

    The text of a line is what the backend's search finds, with the network's own probabilities of its tokens, free of
    what the search adds to them, and the attention that tells where they are.

    Every image has the size of the canvas, so what is read in a line does not depend on the lines beside it. Lines of
    like length are read together: short ones do not wait for long ones. Threads that share an engine take turns, and
    their lines are read together.

    Args:
        backend: The network.
        info: Its canvas and the settings of generation.
        rank: Orders the readings of a line, the best first; that of the search if not given.
    """

    def __init__(self, backend: TrocrBackend, info: ModelInfo, rank: Ranking | None = None) -> None:
        self._backend = backend
        self._config = info.generate
        self._canvas = info.canvas or backend.canvas
        self._rank = rank or list
        self._readings = max(1 + info.generate.alternatives, _LEAST_READINGS if rank else 1)
        self._write = _Turns(self._write_sorted)

    def __call__(self, images: Sequence[UInt8Image]) -> list[Hypothesis]:
        """Read line images, uint8 RGB (H, W, 3) each; positions in pixels of the image."""
        lines = [cut_line(image, self._config, self._canvas) for image in images]
        parts = [part.image for line in lines for part in line]
        readings = (
            self._decide(options, part, padded_width(part.shape, self._canvas))
            for part, options in zip(parts, self._write(parts), strict=True)
        )
        joined = [join_parts(line, [next(readings) for _ in line], self._config.alternatives) for line in lines]
        if self._config.rows != "flag":
            return joined
        return [replace(reading, rows=count_rows(image)) for reading, image in zip(joined, images, strict=True)]

    def _write_sorted(self, parts: Sequence[UInt8Image]) -> list[list[Written]]:
        """Have the backend read parts by their length."""
        order = sorted(range(len(parts)), key=lambda i: parts[i].shape[1] / parts[i].shape[0])
        pictures = (LinePicture(parts[i], pad_to_canvas(parts[i], self._canvas)) for i in order)
        written = dict(zip(order, self._backend.write(pictures, self._readings), strict=True))
        return [written[i] for i in range(len(parts))]

    def _decide(self, options: Sequence[Written], image: UInt8Image, padded_width: int) -> Hypothesis:
        """Make one reading of the texts that were written for an image, the first of which is the best one."""
        best, *others = self._rank([self._spell(written, image, padded_width) for written in options])
        distinct = _distinct((_options(other)[0] for other in others), best.text)[: self._config.alternatives]
        return replace(
            best,
            alternatives=tuple((other.text, other.log_probability) for other in distinct),
            alternative_shares=() if best.share is None else tuple(other.share for other in distinct),
        )

    def _spell(self, written: Written, image: UInt8Image, padded_width: int) -> Hypothesis:
        """Turn tokens into characters on the image."""
        width = image.shape[1]
        starts = [written.tokens[: i + 1] for i in range(len(written.tokens))]
        pieces = spell(self._backend.spell(starts), written.log_probs)
        if not pieces:
            return Hypothesis("", (), min(sum(written.log_probs) + sum(written.end_log_probs[-1:]), 0.0))
        places = np.minimum(look_up(pieces, follow_gaze(written.attention)) * padded_width, width)
        kept = self._guard(pieces, places, image, written)
        # What is left is as probable as a text that ends there.
        stop = pieces[kept - 1].stop
        log_probability = sum(written.log_probs[:stop]) + sum(written.end_log_probs[stop : stop + 1])
        text = "".join(piece.text for piece in pieces[:kept])
        return Hypothesis(text, emit(pieces[:kept], places[:kept], width), min(log_probability, 0.0))

    def _guard(self, pieces: Sequence[Piece], places: NDArray[np.float64], image: UInt8Image, written: Written) -> int:
        """Find how many pieces to keep, which is all of them unless a guard is switched on and the gaze is known."""
        config, kept = self._config, len(pieces)
        if not (config.guard_repeats or config.guard_tail) or written.attention.shape[2] < 2:
            return kept
        box, texts = ink_bounds(image), [piece.text for piece in pieces]
        ink = InkSpan(box.x0, box.x1, box.height)
        if config.guard_repeats:
            kept = keep_repeats(texts, places, ink, written.ended)
        if config.guard_tail:
            kept = keep_tail(texts[:kept], places[:kept], ink)
        return kept
