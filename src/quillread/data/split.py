"""Splitting lines into training, validation and folds, by writer or document."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from quillread.data.source import Source
from quillread.errors import DataError
from quillread.types import Sample, UInt8Image


def hold_out(groups: Sequence[str], share: float, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Split lines into two parts by their groups.

    Args:
        groups: Group of each line; lines without one (an empty string) are groups of their own, and so are all lines
            if there is one group only.
        share: Share of lines that the second part gets, at least roughly: up to twice as many, or the smallest group if
            all are larger than that.
        rng: Draws the groups.

    Returns:
        Positions of the first and of the second part, ascending.
    """
    single = len(set(groups)) < 2
    names = [f"line {i}" if single or not group else f"group {group}" for i, group in enumerate(groups)]
    members: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        members.setdefault(name, []).append(i)
    order = sorted(members)
    order = [order[pick] for pick in rng.permutation(len(order))]
    held: list[int] = []
    for name in order[:-1]:
        group = members[name]
        # A group so large that it would take much more than the share stays on the first side.
        if len(held) < share * len(groups) and len(held) + len(group) <= 2 * share * len(groups):
            held.extend(group)
    if not held and len(order) > 1:
        held = members[min(order, key=lambda name: len(members[name]))]
    chosen = set(held)
    return [i for i in range(len(groups)) if i not in chosen], sorted(chosen)


def leave_out(groups: Sequence[str], fold: int, folds: int, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Split lines for cross-validation: each line is in the second part of exactly one fold.

    Args:
        groups: As of `hold_out`.
        fold: Which fold, from 1.
        folds: How many there are.
        rng: Deals the groups to the folds; must be in the same state for each of them.

    Returns:
        Positions of the first and of the second part, ascending.

    Raises:
        DataError: If there are fewer groups than folds.
    """
    single = len(set(groups)) < 2
    names = [f"line {i}" if single or not group else f"group {group}" for i, group in enumerate(groups)]
    members = Counter(names)
    if len(members) < folds:
        raise DataError(f"{len(members)} groups cannot be dealt to {folds} folds", hint="ask for fewer folds")
    order = sorted(members)
    order = [order[pick] for pick in rng.permutation(len(order))]
    sizes, of = [0] * folds, {}
    for name in sorted(order, key=lambda name: -members[name]):  # the large ones first, each to the smallest fold
        of[name] = sizes.index(min(sizes))
        sizes[of[name]] += members[name]
    held = [i for i, name in enumerate(names) if of[name] == fold - 1]
    chosen = set(held)
    return [i for i in range(len(groups)) if i not in chosen], held


def divide(groups: Sequence[str], shares: Mapping[str, float], rng: np.random.Generator) -> dict[str, list[int]]:
    """Split lines into "train" and further parts, no group in two of them.

    Args:
        groups: Group of each line; lines without one are groups of their own, and so are all lines if there is one
            group only.
        shares: Name of each further part and the share of all lines that it gets, at least roughly; below 1 in sum.
        rng: Draws the groups.

    Returns:
        Positions of each part, ascending, that of "train" first.

    Raises:
        DataError: If there are fewer groups than parts, or the first parts took so many that none is left.
    """
    has_groups = len(set(groups)) > 1
    names = [group if has_groups and group else f"line {i}" for i, group in enumerate(groups)]
    rest, left = list(range(len(groups))), 1.0
    parts = {}
    for name, share in shares.items():
        if len({names[i] for i in rest}) < 2:
            count = len(set(names))
            what = ("group" if has_groups else "line") + "s" * (count > 1)
            raise DataError(
                f"{count} {what} cannot be split into {' and '.join(('train', *shares))}: one of them would be empty",
                hint="make fewer parts; if the groups are of very different size, use another seed",
            )
        kept, held = hold_out([names[i] for i in rest], share / left, rng)
        parts[name] = [rest[i] for i in held]
        rest = [rest[i] for i in kept]
        left -= share
    return {"train": rest, **parts}


class HeldSource:
    """Lines of another source, decoded beforehand; grey images are held as such.

    Worker processes that are forked share the memory.

    Args:
        source: One whose images are always the same.
        indices: The lines to hold; others are decoded whenever they are asked for.

    Raises:
        DataError: If an image cannot be read; names the row.
    """

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self._source = source
        self.name = source.name
        # Decoders release Python's lock, so threads are enough.
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self._held = dict(zip(indices, pool.map(self._decode, indices), strict=True))

    def __len__(self) -> int:
        return len(self._source)

    def text(self, index: int) -> str:
        """NFC text of a line."""
        return self._source.text(index)

    def group(self, index: int) -> str:
        """Writer or document of a line; empty if unknown."""
        return self._source.group(index)

    def aspect(self, index: int) -> float:
        """Width over height of the line image."""
        return self._source.aspect(index)

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """The line with its image."""
        if index not in self._held:
            return self._source.sample(index, rng)
        sample = self._held[index]
        grey = sample.image
        image = np.repeat(grey[..., None], 3, axis=2) if grey.ndim == 2 else grey.copy()
        return Sample(sample.id, image, sample.text, sample.group)

    def _decode(self, index: int) -> Sample:
        sample = self._source.sample(index, np.random.default_rng(0))
        return Sample(sample.id, _without_colour(sample.image), sample.text, sample.group)


def _without_colour(image: UInt8Image) -> UInt8Image:
    """One channel (H, W) of an image that has no colour; any other image as it is."""
    grey = image[..., :1]
    return np.ascontiguousarray(grey[..., 0]) if bool((image == grey).all()) else image
