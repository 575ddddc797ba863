"""Runs an exported TrOCR model with onnxruntime: images to what is seen in them, tokens to what comes next."""

import base64
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quillread.errors import ModelError
from quillread.models.onnx import open_session, session_options
from quillread.models.trocr.onnx_folder import DECODER_NAME, ENCODER_NAME, TOKENIZER_NAME, read_facts
from quillread.types import UInt8Image

log = logging.getLogger(__name__)

_PROBE = base64.b64decode(
    "CAg6pwEKOAoFc2hhcGUSBm1hdHJpeCIPQ29uc3RhbnRPZlNoYXBlKhYKBXZhbHVlKgoIARADKgF/QgF2oAEECiMKBHJvd3MKBm1hdHJpeBIEc3Vt"
    "cyINTWF0TXVsSW50ZWdlchIFcHJvYmUqDwgCEAc6AkAgQgVzaGFwZVoWCgRyb3dzEg4KDAgCEggKAggECgIIQGIWCgRzdW1zEg4KDAgGEggKAggE"
    "CgIIIEIECgAQEQ=="
)
"""An ONNX graph, opset 17: the input `rows`, uint8 (4, 64), by MatMulInteger times int8 (64, 32) of nothing but 127."""

_MOST_STATES = 100_000
"""Of a line: an image of 4,096 x 4,096 pixels has 65,536 patches of 16 x 16."""

Cache = list[NDArray[np.float32]]
"""Keys and values of each layer by turns: of the image (1, h, d, S) and (1, h, S, d), of tokens (texts, h, T, d)."""


@dataclass(frozen=True, slots=True)
class Next:
    """What the decoder says of some tokens."""

    log_probs: NDArray[np.float32]
    """(texts, T, vocabulary): of the token that follows each."""
    attention: NDArray[np.float32]
    """(texts, heads of all layers, T, columns of patches): where it looked to tell."""
    cache: Cache
    """Keys and values of these tokens."""


class OnnxTrocr:
    """An exported TrOCR model.

    Args:
        folder: Of `quill models export`.
        threads: CPU threads of a call; 0 for all cores.

    Attributes:
        facts: What the folder says of it.
        tokenizer: A `tokenizers.Tokenizer`.
        states: What the encoder makes of a line: one of each patch, and the special ones.

    Raises:
        ModelError: If a file is missing, damaged or of another model.
    """

    def __init__(self, folder: Path, threads: int = 0) -> None:
        self.facts = read_facts(folder)
        self._folder = folder
        self.tokenizer = _load_tokenizer(folder / TOKENIZER_NAME)
        self._encoder = open_session(folder / ENCODER_NAME, threads)
        self._decoder = open_session(folder / DECODER_NAME, threads)
        self._layers = range(self.facts.layers)
        self._check()
        if self.facts.weights == "int8" and not multiplies_whole_numbers():
            log.warning(
                "%s: this processor has no instructions for eight-bit weights, and reads less accurately with them; "
                "export the model with --weights float32 for it",
                folder,
            )

    def _check(self) -> None:
        facts = self.facts
        shapes = {each.name: each.shape for each in (*self._encoder.get_inputs(), *self._decoder.get_inputs())}
        outputs = {each.name: each.shape for each in self._decoder.get_outputs()}
        last = facts.layers - 1
        expected = [
            shapes.get("pixels") == [1, 3, facts.height, facts.width],
            outputs.get("log_probs", [0])[-1] == facts.vocabulary,
            f"past_keys_{last}" in shapes and f"past_keys_{last + 1}" not in shapes,
            f"seen_keys_{last}" in shapes and f"seen_keys_{last + 1}" not in shapes,
            self._sees_as_expected(),
        ]
        if not all(expected):
            raise ModelError(
                f"{self._folder}: {ENCODER_NAME}, {DECODER_NAME} and its settings do not belong together",
                hint="copy all files of one export",
            )

    def _sees_as_expected(self) -> bool:
        """Find `states`; whether the encoder gives for each layer what `make_room` has room for."""
        facts = self.facts
        seen = {each.name: (each.type, each.shape) for each in self._encoder.get_outputs()}
        _, shape = seen.get("seen_keys_0", ("", []))
        self.states: int = shape[3] if len(shape) == 4 and isinstance(shape[3], int) else 0
        if not 0 < self.states <= _MOST_STATES:
            return False
        keys = [1, facts.heads, facts.head_width, self.states]
        values = [1, facts.heads, self.states, facts.head_width]
        wanted: dict[str, tuple[str, list[int]]] = {}
        for i in self._layers:
            wanted |= {f"seen_keys_{i}": ("tensor(float)", keys), f"seen_values_{i}": ("tensor(float)", values)}
        return seen == wanted

    def pixels(self, image: UInt8Image) -> UInt8Image:
        """Bring an image, uint8 RGB (H, W, 3), to what the encoder takes: uint8 (3, h, w)."""
        size = (self.facts.width, self.facts.height)
        resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling(self.facts.resample)))
        return np.ascontiguousarray(resized.transpose(2, 0, 1))

    def make_room(self, lines: int) -> Cache:
        """Room for what is seen in some lines, with nothing in it."""
        heads, width, states = self.facts.heads, self.facts.head_width, self.states
        shapes = [(lines, heads, width, states), (lines, heads, states, width)] * self.facts.layers
        # One block, in huge pages where the system has them: a step of the decoder goes through all of it.
        block = np.empty((len(shapes), lines * heads * width * states), np.float32)
        return [part.reshape(shape) for part, shape in zip(block, shapes, strict=True)]

    def look(self, pixels: UInt8Image, seen: Cache, at: int = 0) -> None:
        """See an image.

        Args:
            pixels: uint8 (3, h, w).
            seen: Of `make_room`; the network writes straight into it, as what is seen in one line is large.
            at: Place of the line.
        """
        image = pixels[None]
        names = [f"seen_{what}_{i}" for i in self._layers for what in ("keys", "values")]
        with self._telling():
            binding = self._encoder.io_binding()
            binding.bind_cpu_input("pixels", image)
            for name, room in zip(names, seen, strict=True):
                place = room[at : at + 1]
                binding.bind_output(name, "cpu", 0, np.float32, place.shape, place.ctypes.data)
            self._encoder.run_with_iobinding(binding)
        self._check_finite(seen[0][at])

    def step(
        self,
        tokens: NDArray[np.int64],
        places: NDArray[np.int64],
        mask: NDArray[np.float32],
        past: Cache,
        seen: Cache,
    ) -> Next:
        """Run the decoder over new tokens.

        Args:
            tokens: (texts, T); texts of one line beside each other, as many for each line.
            places: (texts, T): of each in its text, from 0.
            mask: (texts, 1, T, P + T): 0 for the known and new tokens that each may look at, else a large negative.
            past: Keys and values of P known tokens.
            seen: What is seen in the lines.
        """
        inputs: dict[str, NDArray[Any]] = {"tokens": tokens, "places": places, "mask": mask}
        for i in self._layers:
            inputs |= {f"past_keys_{i}": past[2 * i], f"past_values_{i}": past[2 * i + 1]}
            inputs |= {f"seen_keys_{i}": seen[2 * i], f"seen_values_{i}": seen[2 * i + 1]}
        names = [f"new_{what}_{i}" for i in self._layers for what in ("keys", "values")]
        log_probs, attention, *cache = self._run(self._decoder, ["log_probs", "attention", *names], inputs)
        # (lines, heads, beams x T, columns) -> (texts, heads, T, columns)
        lines, heads, _, columns = attention.shape
        by_text = attention.reshape(lines, heads, -1, tokens.shape[1], columns).transpose(0, 2, 1, 3, 4)
        return Next(log_probs, by_text.reshape(len(tokens), heads, tokens.shape[1], columns), cache)

    def _run(self, session: Any, names: list[str], inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        with self._telling():
            found: list[NDArray[np.float32]] = session.run(names, inputs)
        self._check_finite(found[0])
        return found

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # onnxruntime raises types of its own that share no public base
            raise ModelError(f"{self._folder}: cannot be run: {error}", hint="export or copy it again") from error

    def _check_finite(self, found: NDArray[np.float32]) -> None:
        if not np.isfinite(found).all():
            raise ModelError(f"{self._folder}: its weights are not finite numbers", hint="export or copy it again")


def _load_tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise ModelError(f"{path}: cannot be read: {error}", hint="export or copy the model again") from error


@cache
def multiplies_whole_numbers() -> bool:
    """Whether this processor adds products of eight-bit numbers without running out of bits.

    Those without VNNI add two of them in sixteen bits: 2 x 255 x 127 does not fit.
    """
    import onnxruntime as ort

    session = ort.InferenceSession(_PROBE, session_options(1), providers=["CPUExecutionProvider"])
    rows = np.full((4, 64), 255, np.uint8)
    return bool((session.run(None, {"rows": rows})[0] == 64 * 255 * 127).all())
