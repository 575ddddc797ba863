"""Which lines a run sees, in which order and batches: a pure function of sources, weights and seed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quillread.data.source import Source

_POOL = 40
"""Batches that are sorted by width together: more waste less padding, fewer mix the lines better."""


@dataclass(frozen=True, slots=True)
class LineKey:
    """One line of the plan: where it comes from, and the seed of its look."""

    source: int
    index: int
    seed: int


class Plan:
    """The batches of every epoch.

    A source is gone through in a new random order each pass, however the passes fall on the epochs, so that its lines
    are seen equally often; with a balance, its writers or documents are, and each is gone through in the same way.

    Args:
        sources: Where the lines come from.
        usable: Which of their lines, for each source.
        weights: Share of each source, in any unit.
        epoch_lines: Lines of an epoch, rounded down to whole batches.
        batch_size: Lines of a batch, over all processes.
        seed: Of all randomness.
        balance: Between lines and groups: a group of n lines has a share in a pass of n to the power of 1 - balance.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        usable: Sequence[NDArray[np.int64]],
        weights: Sequence[float],
        epoch_lines: int,
        batch_size: int,
        seed: int,
        balance: float = 0.0,
    ) -> None:
        self._usable = usable
        self._members = [
            _group_lines(source, indices) if balance else None for source, indices in zip(sources, usable, strict=True)
        ]
        self._balance = balance
        self._aspects = [
            np.array([source.aspect(int(i)) for i in indices]) for source, indices in zip(sources, usable, strict=True)
        ]
        self._seed = seed
        self.batch_size = batch_size
        self.batches_per_epoch = max(1, epoch_lines // batch_size)
        shares = np.asarray(weights, np.float64) / sum(weights) * self.batches_per_epoch * batch_size
        counts = np.floor(shares).astype(int)
        # The largest remainders get the lines that rounding down left over.
        short = self.batches_per_epoch * batch_size - int(counts.sum())
        counts[np.argsort(counts - shares)[:short]] += 1
        self.counts: list[int] = counts.tolist()
        """Lines of each source in one epoch."""

    def batches(self, epoch: int) -> list[list[LineKey]]:
        """The batches of an epoch, in order; lines of similar width share a batch."""
        rng = np.random.default_rng((self._seed, 1, epoch))
        drawn = [
            (source, position)
            for source, count in enumerate(self.counts)
            for position in self._draw(source, epoch, count)
        ]
        order = rng.permutation(len(drawn))
        seeds = rng.integers(2**62, size=len(drawn))
        batches: list[list[LineKey]] = []
        pool = self.batch_size * _POOL
        for start in range(0, len(order), pool):
            members = [(drawn[i], int(seeds[i])) for i in order[start : start + pool]]
            members.sort(key=lambda m: float(self._aspects[m[0][0]][m[0][1]]))
            keys = [LineKey(s, int(self._usable[s][p]), seed) for (s, p), seed in members]
            batches.extend(keys[i : i + self.batch_size] for i in range(0, len(keys), self.batch_size))
        return [batches[i] for i in rng.permutation(len(batches))]

    def _draw(self, source: int, epoch: int, count: int) -> Iterator[int]:
        """Positions in the usable lines of a source for an epoch."""
        size, start, stop = len(self._usable[source]), epoch * count, (epoch + 1) * count
        groups = self._members[source]
        if groups is None:
            yield from _go_through(size, start, stop, (self._seed, 2, source))
            return
        for number in range(start // size, -(-stop // size)):
            order = self._order_pass(source, groups, number)
            yield from order[max(start - number * size, 0) : min(stop - number * size, size)].tolist()

    def _order_pass(self, source: int, groups: list[NDArray[np.int64]], number: int) -> NDArray[np.int64]:
        """Positions in the usable lines of a source, as many as it has, as the balance has it."""
        counts = np.array([self._share_pass(source, groups, each) for each in range(number + 1)])
        stops = counts.sum(0)
        drawn = [
            group[_go_through(len(group), start, stop, (self._seed, 4, source, i))]
            for i, (group, start, stop) in enumerate(zip(groups, stops - counts[-1], stops, strict=True))
        ]
        return np.random.default_rng((self._seed, 2, source, number)).permutation(np.concatenate(drawn))

    def _share_pass(self, source: int, groups: list[NDArray[np.int64]], number: int) -> NDArray[np.int64]:
        """Lines of each group in a pass."""
        sizes = np.array([len(group) for group in groups])
        shares = sizes ** (1.0 - self._balance)
        # Systematic sampling: each group gets its share rounded down or up at random, all together a whole pass.
        begin = np.random.default_rng((self._seed, 3, source, number)).random()
        edges = np.floor(np.cumsum(shares) / shares.sum() * sizes.sum() + begin).astype(int)
        edges[-1] = sizes.sum()
        counts: NDArray[np.int64] = np.diff(edges, prepend=0)
        return counts


def _go_through(size: int, start: int, stop: int, seed: tuple[int, ...]) -> NDArray[np.int64]:
    """The numbers below `size` in ever new random orders without an end: those from `start` to `stop`."""
    orders = [
        np.random.default_rng((*seed, number)).permutation(size)[max(start - number * size, 0) : stop - number * size]
        for number in range(start // size, -(-stop // size))
    ]
    return np.concatenate([np.empty(0, np.int64), *orders])


def _group_lines(source: Source, indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Positions in `indices` by writer or document; lines of an unknown one are a group together."""
    _, groups = np.unique([source.group(int(i)) for i in indices], return_inverse=True)
    return [np.flatnonzero(groups == number) for number in range(groups.max() + 1)]
