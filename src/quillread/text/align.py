"""Edit distance with its alignment, on bit vectors that are Python integers of any length.

Source: H. Hyyrö, "A Bit-Vector Algorithm for Computing Levenshtein and Damerau Edit Distances", 2003, after
G. Myers, 1999. One step per element of the prediction handles a whole column of the distance matrix.
"""

from collections.abc import Hashable, Sequence
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


def align(reference: Sequence[T], prediction: Sequence[T]) -> list[tuple[T | None, T | None]]:
    """Pair the elements of two sequences with the fewest edits.

    Args:
        reference: Characters of a string, or words; None is not allowed as an element.
        prediction: The same.

    Returns:
        Pairs in order. (a, a) is a hit, (a, b) a substitution, (a, None) a deletion (the prediction misses
        a), (None, b) an insertion (the prediction has b too much).
    """
    rises, falls = _vertical_differences(reference, prediction)
    pairs: list[tuple[T | None, T | None]] = []
    row, column = len(reference), len(prediction)
    while row and column:
        # Bit row-1 of a column: the distance rises (falls) there from reference[:row-1] to reference[:row].
        if rises[column] >> (row - 1) & 1:
            row -= 1
            pairs.append((reference[row], None))
        elif falls[column - 1] >> (row - 1) & 1:
            column -= 1
            pairs.append((None, prediction[column]))
        else:
            row -= 1
            column -= 1
            pairs.append((reference[row], prediction[column]))
    pairs.extend((None, element) for element in reversed(prediction[:column]))
    pairs.extend((element, None) for element in reversed(reference[:row]))
    pairs.reverse()
    return pairs


def _vertical_differences(reference: Sequence[T], prediction: Sequence[T]) -> tuple[list[int], list[int]]:
    """For each prefix of `prediction`, give the rows where the distance rises and where it falls by one."""
    where: dict[T, int] = {}
    for i, element in enumerate(reference):
        where[element] = where.get(element, 0) | 1 << i
    mask = (1 << len(reference)) - 1
    rise, fall = mask, 0
    rises, falls = [rise], [fall]
    for element in prediction:
        match = where.get(element, 0)
        diagonal = (((match & rise) + rise) ^ rise) | match | fall
        right_rise = ((fall | ~(diagonal | rise)) << 1 | 1) & mask
        right_fall = (diagonal & rise) << 1 & mask
        rise = (right_fall | ~(diagonal | right_rise)) & mask
        fall = diagonal & right_rise
        rises.append(rise)
        falls.append(fall)
    return rises, falls
