"""Reads line images with TrOCR: in parts where they are long or hold several rows."""

import contextlib
import itertools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.modeling_outputs import BaseModelOutput

from quillread.decode.hypothesis import Emission, Hypothesis
from quillread.decode.tokens import InkSpan, Piece, emit, follow_gaze, keep_repeats, keep_tail, look_up, spell
from quillread.images.fit import CanvasConfig, pad_to_canvas, squash
from quillread.images.geometry import AffineMap, ChainedMap, CoordMap
from quillread.images.rows import count_rows, ink_bounds, split_line, split_rows
from quillread.models.model_folder import ModelInfo
from quillread.models.trocr.loading import Trocr
from quillread.models.trocr.pixels import as_pair, line_pixels
from quillread.models.trocr.settings import GenerateConfig
from quillread.recognize.trocr.likelihood import Written, count_positions, score_texts
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
    text = "".join(e.text for e in emissions)
    return Hypothesis(text, tuple(emissions), best[1], tuple(others), share=share)


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


_LEAST_READINGS = 5
"""Readings that are asked for where a ranking is to choose among them."""

_DEFAULT_TOKENS = 20
"""Where transformers stops if nothing says how long a line may be; too soon for many lines."""


Ranking = Callable[[Sequence[Hypothesis]], list[Hypothesis]]
"""Orders the readings of one line, the favourite of the search first, by what they are worth."""


class TrocrEngine:
    """The TrOCR family.

    Text is generated as transformers does it, from the model's own settings unless `info.generate` says otherwise.
    A second pass over the found tokens, all at once, then gives their probabilities, free of what the search adds to
    them, and the attention that tells where they are; it costs about as much as one step of the decoder for all tokens
    together.

    Every image has the size of the canvas, so what is read in a line does not depend on the lines beside it. Lines of
    like length share a batch: short ones do not wait for long ones. Threads that share an engine take turns: the number
    of torch's threads and the mode of the network are settings of all of them.

    Args:
        model: In whatever mode; the network is run in evaluation mode and put back.
        info: Its canvas and the settings of generation.
        batch_size: Most images in one call of the network.
        mixed: Number type of mixed precision, or None for that of the weights.
        threads: CPU threads while it reads; 0 for those of torch.
        rank: Orders the readings of a line, the best first; that of the search if not given.
    """

    def __init__(
        self,
        model: Trocr,
        info: ModelInfo,
        batch_size: int = 8,
        mixed: torch.dtype | None = None,
        threads: int = 0,
        rank: Ranking | None = None,
    ) -> None:
        self._model = model
        self._config = info.generate
        self._canvas = info.canvas or _own_canvas(model)
        self._batch_size = batch_size
        self._mixed = mixed
        self._threads = threads
        self._rank = rank or list
        self._least = _LEAST_READINGS if rank else 1
        self._turn = threading.Lock()

    def __call__(self, images: Sequence[UInt8Image]) -> list[Hypothesis]:
        """Read line images, uint8 RGB (H, W, 3) each; positions in pixels of the image."""
        lines = [cut_line(image, self._config, self._canvas) for image in images]
        parts = [part.image for line in lines for part in line]
        order = sorted(range(len(parts)), key=lambda i: parts[i].shape[1] / parts[i].shape[0])
        read: dict[int, Hypothesis] = {}
        with self._turn, self._evaluating():
            for start in range(0, len(order), self._batch_size):
                members = order[start : start + self._batch_size]
                read.update(zip(members, self._read([parts[i] for i in members]), strict=True))
        readings = iter(read[i] for i in range(len(parts)))
        joined = [join_parts(line, [next(readings) for _ in line], self._config.alternatives) for line in lines]
        if self._config.rows != "flag":
            return joined
        return [replace(reading, rows=count_rows(image)) for reading, image in zip(joined, images, strict=True)]

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        network = self._model.network
        was_training, threads = network.training, torch.get_num_threads()
        network.eval()
        # torch knows threads of the whole process only; what else runs in it must not change for our reading.
        torch.set_num_threads(self._threads or threads)
        device = next(network.parameters()).device
        context = torch.autocast(device.type, self._mixed) if self._mixed else contextlib.nullcontext()
        try:
            with torch.inference_mode(), context:
                yield
        finally:
            network.train(was_training)
            torch.set_num_threads(threads)

    def _read(self, images: Sequence[UInt8Image]) -> list[Hypothesis]:
        """Read one batch."""
        network = self._model.network
        padded = [pad_to_canvas(image, self._canvas) for image in images]
        weights = next(network.parameters())
        pixels = torch.from_numpy(line_pixels(self._model.image_processor, padded))
        pixels = pixels.to(weights.device, weights.dtype)
        encoded = network.encoder(pixel_values=pixels, return_dict=True).last_hidden_state
        generated = network.generate(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded), **_settings(network, self._config, self._least)
        )
        texts = score_texts(network, encoded, generated, pixels.shape[2:])
        return [
            self._decide(options, image, wide.shape[1])
            for options, image, wide in zip(texts, images, padded, strict=True)
        ]

    def _decide(self, options: Sequence[Written], image: UInt8Image, padded_width: int) -> Hypothesis:
        """Make one reading of the texts that were written for an image, the first of which is the best one."""
        best, *others = self._rank([self._spell(written, image, padded_width) for written in options])
        distinct: dict[str, float] = {}
        for other in sorted(others, key=lambda other: -other.log_probability):
            if other.text != best.text:
                distinct.setdefault(other.text, other.log_probability)
        alternatives = tuple(distinct.items())[: self._config.alternatives]
        return replace(best, alternatives=alternatives)

    def _spell(self, written: Written, image: UInt8Image, padded_width: int) -> Hypothesis:
        """Turn tokens into characters on the image."""
        width = image.shape[1]
        starts = [written.tokens[: i + 1] for i in range(len(written.tokens))]
        pieces = spell(self._model.tokenizer.batch_decode(starts, skip_special_tokens=True), written.log_probs)
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


def _own_canvas(model: Trocr) -> CanvasConfig:
    """The size of the images that the encoder takes, whatever the shape of the line."""
    return CanvasConfig(*as_pair(model.network.config.encoder.image_size))


def ends_early(network: Any, config: GenerateConfig) -> int | None:
    """How many tokens a line may have where that is what transformers stops after by default, or fewer."""
    own = network.generation_config
    limit = config.max_tokens or own.max_new_tokens or own.max_length or _DEFAULT_TOKENS
    return int(limit) if limit <= _DEFAULT_TOKENS and config.max_tokens is None else None


def _settings(network: Any, config: GenerateConfig, least: int) -> dict[str, Any]:
    """What `generate` is told: only what `config` changes of the model's own settings, and to give `least` readings."""
    own = network.generation_config
    readings = max(1 + config.alternatives, least)
    told: dict[str, Any] = {
        "return_dict_in_generate": True,
        "num_return_sequences": readings,
        "use_cache": True,
    }
    beams = max(config.beams or own.num_beams or 1, readings)
    if config.beams is not None or least > 1:
        told["num_beams"] = beams
    limit = config.max_tokens
    if limit is None and own.max_length is None and own.max_new_tokens is None:
        limit = _DEFAULT_TOKENS
    if limit is not None:
        limit = min(limit, count_positions(network) - 1)
        # Naming the one while the model names the other is warned of at every call.
        by_length = own.max_new_tokens is None and own.max_length is not None
        told |= {"max_length": limit + 1} if by_length else {"max_new_tokens": limit}
    return told
