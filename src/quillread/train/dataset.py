"""From the plan to batches: what a family makes of lines, in worker processes, shared out to the training processes."""

import functools
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from quillread.data.source import Source
from quillread.errors import DataError
from quillread.train.batch_workers import start_worker
from quillread.train.plan import LineKey, Plan
from quillread.types import UInt8Image

log = logging.getLogger(__name__)

_MOST_UNREADABLE = 20
"""Lines without a readable image that a process goes on after: with more, something is wrong with the data."""


class LineForm(Protocol):
    """Turns lines into training items and items into batches; goes to worker processes, so it holds no network."""

    def fault(self, text: str, aspect: float) -> str | None:
        """Why a line cannot be learnt, in a few words; None if it can.

        Args:
            text: Its text, not empty.
            aspect: Width over height of its image.
        """

    def unknown(self, text: str) -> Counter[str]:
        """Count the characters of a text that the network cannot write."""

    def cuts(self, text: str) -> bool:
        """Whether the end of a text is not learnt."""

    def remark(self, aspects: NDArray[np.float64]) -> str | None:
        """What people should know of how lines of these aspects (width over height) are brought to the network."""

    def make(self, image: UInt8Image, text: str, rng: np.random.Generator) -> Any:
        """Make an item: clean the image, distort it with `rng`, bring it to the form that the network takes."""

    def collate(self, items: Sequence[Any]) -> dict[str, Tensor]:
        """Make a batch; the first dimension of every tensor is the line.

        Returns:
            What the network's `forward` takes, and `weights` float32 (N,): how much each line counts in the loss.
        """


class LineDataset(Dataset[Any]):
    """Training lines by their key in the plan; any worker may make any line."""

    def __init__(self, sources: Sequence[Source], form: LineForm) -> None:
        self._sources = sources
        self.form = form
        self._unreadable: set[tuple[int, int]] = set()

    def __getitem__(self, key: LineKey) -> Any:
        """One item of the form, with the look that belongs to the key; None if its image cannot be read.

        A run of hours must not end at one damaged image. Each is named once, by each process that meets it.

        Raises:
            DataError: If many images could not be read.
        """
        rng = np.random.default_rng(key.seed)
        try:
            sample = self._sources[key.source].sample(key.index, rng)
        except DataError as error:
            line = key.source, key.index
            if line not in self._unreadable:
                self._unreadable.add(line)
                if len(self._unreadable) > _MOST_UNREADABLE:
                    raise
                log.warning("%s; the line is skipped", error.message)
            return None
        return self.form.make(sample.image, sample.text, rng)


def collate_readable(form: LineForm, items: Sequence[Any]) -> dict[str, Tensor]:
    """Make a batch of the items that could be made.

    Raises:
        DataError: If there is none.
    """
    readable = [item for item in items if item is not None]
    if not readable:
        raise DataError("no image of a whole batch can be read", hint="run quill data check on the data")
    return form.collate(readable)


class PlanSampler(Sampler[list[LineKey]]):
    """Gives one process its lines of the batches of the current epoch.

    A batch is shared out line by line, so that every process has lines of the same widths, and that the lines of a step
    are the same for any number of processes.

    Args:
        plan: The batches.
        rank: Which process this is, from 0.
        processes: How many there are.
    """

    def __init__(self, plan: Plan, rank: int = 0, processes: int = 1) -> None:
        self._plan = plan
        self._epoch = 0
        self._rank = rank
        self.processes = processes
        self.batch_size = -(-plan.batch_size // processes)
        self.drop_last = True

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[list[LineKey]]:
        """Iterate over the batches."""
        return (batch[self._rank :: self.processes] for batch in self._plan.batches(self._epoch))

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return self._plan.batches_per_epoch


def make_loader(dataset: LineDataset, sampler: PlanSampler, workers: int, pin: bool) -> DataLoader[Any]:
    """Make the loader of the training batches."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=functools.partial(collate_readable, dataset.form),
        pin_memory=pin,
        # Workers are made once: a process forked later, from threads at work, may find their locks held for ever.
        persistent_workers=workers > 0,
        prefetch_factor=8 if workers else None,
        # A generator of its own: the loader must not draw from the one that resuming restores.
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=start_worker,
    )
