"""Lines as the compact network is trained on them: ink of a fixed height, classes of characters."""

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from quillread.decode.ctc import columns_needed
from quillread.images.fit import ink_pixels
from quillread.images.preprocess import StepCache
from quillread.models.compact.onnx_file import COLUMN_WIDTH
from quillread.text.charset import Charset
from quillread.train.config import TrainConfig
from quillread.train.looks import compact_looks
from quillread.types import UInt8Image

_WIDTH_STEP = 64
"""Batches are padded to a multiple of this, so that compute kernels are reused."""

Item = tuple[NDArray[np.float32], list[int]]


class CompactForm:
    """The compact family's `LineForm`.

    Args:
        config: Charset, preprocessing and distortions.
        cache: Where slow steps are kept.
    """

    def __init__(self, config: TrainConfig, cache: StepCache | None = None) -> None:
        self._charset = Charset(config.compact.charset)
        self._ink = config.compact.ink
        self._look = compact_looks(config, cache)

    def fault(self, text: str, aspect: float) -> str | None:
        """Characters outside the charset, or fewer columns than CTC needs for the text."""
        strange = self._charset.unknown(text)
        if strange:
            return f"with {min(strange)!r}, which is outside the charset"
        narrow = aspect * self._ink.height / COLUMN_WIDTH < columns_needed(text)
        return "too narrow for their text" if narrow else None

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters outside the charset."""
        return self._charset.unknown(text)

    def cuts(self, text: str) -> bool:
        """Never: what is too long is skipped."""
        return False

    def remark(self, aspects: NDArray[np.float64]) -> str | None:
        """Nothing: lines keep their aspect."""
        return None

    def make(self, image: UInt8Image, text: str, rng: np.random.Generator) -> Item:
        """Pixels float32 (h, W) and classes of one line."""
        labels = self._charset.encode(text)
        pixels = ink_pixels(self._look(image, rng), self._ink)
        if pixels.shape[1] < _needed_width(labels):
            pixels = np.asarray(cv2.resize(pixels, (_needed_width(labels), pixels.shape[0])), np.float32)
        return pixels, labels

    def collate(self, items: Sequence[Item]) -> dict[str, Tensor]:
        """Bring lines to a common width: pad with paper, and narrow the widest.

        Distortions leave a few lines of a batch much wider than planned; padding all others to their width would cost
        time for nothing. The widest quarter is narrowed to the width of the next, unless the text needs more.

        Returns:
            `pixels` float32 (N, 1, h, W), W a multiple of 64; `widths` int64 (N,), the pixels before padding; `labels`
            int64 (N, L), padded with 0; `label_lengths` int64 (N,); `weights` float32 (N,), all 1.
        """
        usual = int(np.percentile([pixels.shape[1] for pixels, _ in items], 75))
        items = [_narrow(pixels, labels, usual) for pixels, labels in items]
        widths = [pixels.shape[1] for pixels, _ in items]
        width = -(-max(widths) // _WIDTH_STEP) * _WIDTH_STEP
        lengths = [len(classes) for _, classes in items]
        batch = np.zeros((len(items), 1, items[0][0].shape[0], width), np.float32)
        labels = np.zeros((len(items), max(lengths)), np.int64)
        for row, (pixels, classes) in enumerate(items):
            batch[row, 0, :, : pixels.shape[1]] = pixels
            labels[row, : len(classes)] = classes
        return {
            "pixels": torch.from_numpy(batch),
            "widths": torch.tensor(widths),
            "labels": torch.from_numpy(labels),
            "label_lengths": torch.tensor(lengths),
            "weights": torch.ones(len(items)),
        }


def _needed_width(labels: Sequence[int]) -> int:
    """Pixels that CTC needs, with a column to spare."""
    return (columns_needed(labels) + 1) * COLUMN_WIDTH


def _narrow(pixels: NDArray[np.float32], labels: list[int], limit: int) -> Item:
    limit = max(limit, _needed_width(labels))
    if pixels.shape[1] > limit:
        size = (limit, pixels.shape[0])
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)
    return pixels, labels
