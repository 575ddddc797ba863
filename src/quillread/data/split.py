"""Splitting lines so that no writer or document is on both sides."""

from collections.abc import Sequence

import numpy as np


def hold_out(groups: Sequence[str], share: float, rng: np.random.Generator) -> tuple[list[int], list[int]]:
    """Split lines into two parts by their groups.

    Args:
        groups: Group of each line; lines without one (an empty string) are groups of their own, and so are all lines
            if there is one group only.
        share: Share of lines that the second part gets, at least roughly, and at least one line of two or more.
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
    held: list[int] = []
    for pick in rng.permutation(len(order))[: len(order) - 1]:
        group = members[order[pick]]
        # A group so large that it would take much more than the share stays on the first side.
        if len(held) >= share * len(groups) or (held and len(held) + len(group) > 2 * share * len(groups)):
            continue
        held.extend(group)
    chosen = set(held)
    return [i for i in range(len(groups)) if i not in chosen], sorted(chosen)
