"""From the plan to tensors: makes, distorts and pads line images, in worker processes."""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from quillread.data.sources import Source
from quillread.decode.ctc import columns_needed
from quillread.images.augment import AUGMENT_HEIGHT, AugmentConfig, augment
from quillread.images.preprocess import InkConfig, ink_pixels, scale_to_height, to_grey
from quillread.models.compact_config import COLUMN_WIDTH
from quillread.text.charset import Charset
from quillread.train.plan import LineKey, Plan

_WIDTH_STEP = 64
"""Batches are padded to a multiple of this, so that compute kernels are reused."""

Item = tuple[NDArray[np.float32], list[int]]


class LineDataset(Dataset[Item]):
    """Training lines by their key in the plan; holds no state, so any worker may make any line."""

    def __init__(self, sources: Sequence[Source], charset: Charset, ink: InkConfig, distort: AugmentConfig) -> None:
        self._sources = sources
        self._charset = charset
        self._ink = ink
        self._augment = distort

    def __getitem__(self, key: LineKey) -> Item:
        """Pixels float32 (h, W) and classes of one line."""
        rng = np.random.default_rng(key.seed)
        sample = self._sources[key.source].sample(key.index, rng)
        labels = self._charset.encode(sample.text)
        grey = to_grey(sample.image)
        if grey.shape[0] > AUGMENT_HEIGHT:
            grey = scale_to_height(grey, AUGMENT_HEIGHT, self._ink.max_width)
        grey = augment(grey, rng, self._augment)
        pixels = ink_pixels(grey, self._ink)
        if pixels.shape[1] < _needed_width(labels):
            pixels = np.asarray(cv2.resize(pixels, (_needed_width(labels), pixels.shape[0])), np.float32)
        return pixels, labels


def _needed_width(labels: Sequence[int]) -> int:
    """Pixels that CTC needs, with a column to spare."""
    return (columns_needed(labels) + 1) * COLUMN_WIDTH


def _narrow(pixels: NDArray[np.float32], labels: list[int], limit: int) -> Item:
    limit = max(limit, _needed_width(labels))
    if pixels.shape[1] > limit:
        size = (limit, pixels.shape[0])
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.float32)
    return pixels, labels


class PlanSampler(Sampler[list[LineKey]]):
    """Gives the batches of the current epoch."""

    def __init__(self, plan: Plan, batch_size: int) -> None:
        self._plan = plan
        self._epoch = 0
        self.batch_size = batch_size
        self.drop_last = True

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[LineKey]]:
        """Iterate over the batches."""
        return iter(self._plan.batches(self._epoch))

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return self._plan.batches_per_epoch


def collate(items: Sequence[Item]) -> dict[str, Tensor]:
    """Bring lines to a common width: pad with paper, and narrow the widest.

    Distortions leave a few lines of a batch much wider than planned; padding all others to their width would cost time
    for nothing. The widest quarter is narrowed to the width of the next, unless the text needs more.

    Returns:
        `pixels` float32 (N, 1, h, W), W a multiple of 64; `widths` int64 (N,), the pixels before padding; `labels`
        int64 (sum of lengths,), one after the other; `label_lengths` int64 (N,).
    """
    usual = int(np.percentile([pixels.shape[1] for pixels, _ in items], 75))
    items = [_narrow(pixels, labels, usual) for pixels, labels in items]
    widths = [pixels.shape[1] for pixels, _ in items]
    width = -(-max(widths) // _WIDTH_STEP) * _WIDTH_STEP
    batch = np.zeros((len(items), 1, items[0][0].shape[0], width), np.float32)
    for row, (pixels, _) in enumerate(items):
        batch[row, 0, :, : pixels.shape[1]] = pixels
    return {
        "pixels": torch.from_numpy(batch),
        "widths": torch.tensor(widths),
        "labels": torch.tensor([c for _, labels in items for c in labels]),
        "label_lengths": torch.tensor([len(labels) for _, labels in items]),
    }


def make_loader(dataset: LineDataset, sampler: PlanSampler, workers: int, pin: bool) -> DataLoader[Any]:
    """Make the loader of the training batches."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=pin,
        # Workers are made once: a process forked later, from threads at work, may find their locks held for ever.
        persistent_workers=workers > 0,
        prefetch_factor=8 if workers else None,
        # A generator of its own: the loader must not draw from the one that resuming restores.
        generator=torch.Generator().manual_seed(0),
    )
