"""Lines as TrOCR is trained on them: the canvas of its image processor, the tokens of its tokenizer."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quillread.images.fit import CanvasConfig, pad_to_canvas, squash
from quillread.images.preprocess import StepCache
from quillread.models.trocr.loading import Trocr
from quillread.models.trocr.pixels import line_pixels, only_resizes, resize_line
from quillread.text.tokenizer import TokenizerSpeller, encode_text
from quillread.train.config import TrainConfig
from quillread.train.looks import trocr_looks
from quillread.types import UInt8Image

IGNORED = -100
"""Label of the padding: has no part in the loss."""

Pixels = NDArray[np.uint8] | NDArray[np.float32]
Item = tuple[Pixels, list[int]] | tuple[Pixels, list[int], Pixels]
"""Pixels and tokens; pixels on the canvas of the teacher, too, if there is one."""


@dataclass(frozen=True, slots=True)
class View:
    """How a network sees lines."""

    processor: Any
    """Its image processor."""
    canvas: CanvasConfig | None
    """How lines come to its canvas; None for that of the image processor, whatever the shape of the line."""

    def pixels(self, look: UInt8Image) -> Pixels:
        """Bring a look to the canvas: uint8 (C, h, w), or float32 (3, h, w) if the processor does more than resize."""
        if self.canvas:
            look = pad_to_canvas(look, self.canvas)
        if only_resizes(self.processor):
            return resize_line(self.processor, look)
        pixels: Pixels = line_pixels(self.processor, [look])[0]
        return pixels


class TrocrForm:
    """The TrOCR family's `LineForm`.

    Args:
        config: Canvas, labels, preprocessing and distortions.
        model: Lends its image processor and tokenizer.
        cache: Where slow steps are kept.
        teacher: How a network sees the same looks that this one learns from; None if there is none.
    """

    def __init__(
        self, config: TrainConfig, model: Trocr, cache: StepCache | None = None, teacher: View | None = None
    ) -> None:
        self._tokenizer: Any = model.tokenizer
        self._view, self._teacher = View(model.image_processor, config.trocr.canvas), teacher
        self._labels = config.trocr.labels
        positions = model.network.decoder.config.max_position_embeddings
        self.max_tokens: int = min(self._labels.max_length or positions, positions)
        """Most tokens of a label, the end included."""
        # The same filter as on the rest of the way: the network must see what it will see in reading.
        resample = getattr(model.image_processor, "resample", None)
        self.is_plain: bool = only_resizes(model.image_processor)
        """Whether pixels are uint8, to be looked up in the image processor's table."""
        # Of three equal channels one is enough, up to the network.
        grey = self.is_plain and "grayscale" in config.preprocess.steps
        canvases = (config.trocr.canvas, *([teacher.canvas] if teacher else []))
        self._look = trocr_looks(config, canvases, resample, grey=grey, cache=cache)

    def tokens(self, text: str) -> int:
        """Tokens of a text, the end included."""
        return len(encode_text(self._tokenizer, text))

    def fault(self, text: str, aspect: float) -> str | None:
        """Texts of more tokens than labels may have, unless they are to be truncated."""
        if self._labels.overlong == "truncate" or self.tokens(text) <= self.max_tokens:
            return None
        return f"with more than {self.max_tokens} tokens"

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters that the tokens do not give back."""
        return TokenizerSpeller(self._tokenizer, self.max_tokens).unknown(text)

    def cuts(self, text: str) -> bool:
        """Texts of more tokens than labels may have."""
        return self.tokens(text) > self.max_tokens

    def remark(self, aspects: NDArray[np.float64]) -> str | None:
        """How much the canvas narrows the lines."""
        size = self._view.processor.size
        canvas = self._view.canvas or CanvasConfig(size["height"], size["width"])
        factors = [squash((1.0, aspect), canvas) for aspect in aspects]
        median, most = np.percentile(factors, (50, 95))
        return (
            f"canvas of {canvas.height} x {canvas.width}: lines are narrowed {median:.1f} times at the median, "
            f"{most:.1f} times at the 95th percentile"
        )

    def make(self, image: UInt8Image, text: str, rng: np.random.Generator) -> Item:
        """Pixels and tokens of one line, without a start token and with the end token.

        The pixels are uint8 (3, h, w), or (1, h, w) if they are grey, which `TrocrForTraining` turns into numbers on
        its device: they take a quarter or a twelfth of the way there. Of an image processor that does more than resize
        they are float32 (3, h, w), as it gives them.
        """
        look = self._look(image, rng)
        # A truncated label has no end token: the network must not learn to stop in mid-line.
        tokens = encode_text(self._tokenizer, text)[: self.max_tokens]
        pixels = self._view.pixels(look)
        return (pixels, tokens) if self._teacher is None else (pixels, tokens, self._teacher.pixels(look))

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Pad labels to a common length.

        Returns:
            `pixel_values` (N, C, h, w) as `make` gives them; `labels` int64 (N, L), padded with -100, L fixed by
            `labels.max_length` if that is set, within the decoder's positions; `weights` float32 (N,), the number of
            tokens; with a teacher `teacher_values`, the pixels on its canvas.
        """
        lengths = [len(item[1]) for item in items]
        width = self.max_tokens if self._labels.max_length else max(lengths)
        labels = np.full((len(items), width), IGNORED, np.int64)
        for row, item in enumerate(items):
            labels[row, : lengths[row]] = item[1]
        batch = {
            "pixel_values": torch.from_numpy(np.stack([item[0] for item in items])),
            "labels": torch.from_numpy(labels),
            "weights": torch.tensor(lengths, dtype=torch.float32),
        }
        if self._teacher is not None:
            batch["teacher_values"] = torch.from_numpy(np.stack([item[2] for item in items if len(item) == 3]))
        return batch
