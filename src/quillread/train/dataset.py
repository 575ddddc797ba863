"""From the plan to batches: what a family makes of lines, in worker processes, shared out to the training processes."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from quillread.data.source import Source, list_few
from quillread.errors import DataError
from quillread.train.batch_workers import start_worker
from quillread.train.plan import LineKey, Plan
from quillread.types import UInt8Image

log = logging.getLogger(__name__)

_MOST_UNREADABLE = 20
"""Lines without a readable image that a process goes on after: with more, something is wrong with the data."""
_CHECK = "run quill data check on the data"


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
    """Training lines by their key in the plan; any worker may make any line.

    Args:
        sources: The lines.
        usable: Which of them are trained on, for each source.
        form: What is made of them.
    """

    def __init__(self, sources: Sequence[Source], usable: Sequence[NDArray[np.int64]], form: LineForm) -> None:
        self._sources = sources
        self._usable = usable
        self.form = form
        self._unreadable: dict[tuple[int, int], str] = {}

    def __getitem__(self, key: LineKey) -> Any:
        """One item of the form, with the look that belongs to the key; another line where its image cannot be read.

        A run of hours must not end at one damaged image. Each is named once, by each process that meets it.

        Raises:
            DataError: If many images could not be read, or none can.
        """
        for source, index in self._in_turn(key):
            rng = np.random.default_rng(key.seed)
            try:
                sample = self._sources[source].sample(index, rng)
            except DataError as error:
                self._note((source, index), error)
                continue
            return self.form.make(sample.image, sample.text, rng)
        raise DataError("no image of the training lines can be read", hint=_CHECK)

    def _in_turn(self, key: LineKey) -> Iterator[tuple[int, int]]:
        """The line of a key, then those that may take its place: by the key alone, so that every process has the same.

        Batches keep their size, however many images are damaged and whichever process they fall to.
        """
        yield key.source, key.index
        rng = np.random.default_rng((key.seed, 1))
        for source in sorted(range(len(self._sources)), key=lambda number: number != key.source):
            for index in rng.permutation(self._usable[source]).tolist():
                if (source, index) != (key.source, key.index):
                    yield source, index

    def _note(self, line: tuple[int, int], error: DataError) -> None:
        """Tell of a line that cannot be read; once of a page, whose lines all have the same error."""
        if line in self._unreadable:
            return
        is_new = error.message not in self._unreadable.values()
        self._unreadable[line] = error.message
        if len(self._unreadable) > _MOST_UNREADABLE:
            named = list_few(list(dict.fromkeys(self._unreadable.values())))
            message = f"the images of more than {_MOST_UNREADABLE} training lines cannot be read: {named}"
            raise DataError(message, hint=_CHECK) from error
        if is_new:
            log.warning("%s; the line is skipped, and another takes its place", error.message)


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
        collate_fn=dataset.form.collate,
        pin_memory=pin,
        # Workers are made once: a process forked later, from threads at work, may find their locks held for ever.
        persistent_workers=workers > 0,
        prefetch_factor=8 if workers else None,
        # A generator of its own: the loader must not draw from the one that resuming restores.
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=start_worker,
    )
