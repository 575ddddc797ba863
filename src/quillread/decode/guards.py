"""Guards against what a text decoder makes up: endless repeats, and a tail that nobody wrote.

Both compare the text with what the decoder looked at while it wrote. They cut only where the text and the gaze agree
that there is nothing to read: a line that is right must stay whole, whatever it says.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAX_PERIOD = 12
"""Longest unit of a repeat, in pieces."""
_MIN_REPEATS = 5
"""A unit that is written fewer times in a row is left alone."""
_CROWDED = 0.4
"""Characters with less than this share of the room that they usually have in the line were not read off the ink."""
_LEAST_WIDTH = 0.12
"""Narrowest mean width of a character that is believed, in heights of the ink."""
_MOST_WIDTH = 0.7
"""Widest mean width of a character that is believed, in heights of the ink."""
_SPARE = 1.25
"""A tail is cut only if the text has this many times more characters than the ink has room for."""
_SPARE_CHARACTERS = 3
"""And this many more characters, for short lines."""
_CRAMPED = 0.15
"""A tail is cut only if the whole text would have less than this for each character, in heights of the ink: of real
lines 0.5 % have less (IAM, Copiste, Hooker, Poilus; of the dense registers of Time Us 4 %). The gaze alone is not to be
trusted: a decoder that knows a text by heart looks ahead."""
_LOOK_BACK = 0.5
"""A gaze that jumps over this share of the ink does not read on: it begins again, or it is a slip."""


@dataclass(frozen=True, slots=True)
class InkSpan:
    """Where the ink of a line is, in the pixels of the places given with it."""

    start: float
    """Left end."""
    stop: float
    """Right end."""
    height: float
    """From the top of the ink to its bottom."""


def keep_repeats(texts: Sequence[str], places: NDArray[np.float64], ink: InkSpan, ended: bool) -> int:
    """Find where an endless repeat begins.

    A text is cut if it ends in the same few pieces at least five times over and if the gaze hardly moves meanwhile: a
    repeat that is really there ("ha ha ha", a dotted leader) is looked at from its start to its end. A repeat without
    letters is cut only if the decoder did not come to an end by itself.

    Args:
        texts: Texts of the pieces.
        places: Where the decoder looked, (pieces,); not made to go from left to right.
        ink: The ink of the line.
        ended: Whether the decoder ended the text by itself.

    Returns:
        How many pieces to keep; as many of the repeat as the gaze had room for, once at least.
    """
    period, tail = _repeated_tail(texts)
    if not period or (ended and not any(c.isalpha() for text in texts[-period:] for c in text)):
        return len(texts)
    start = len(texts) - tail
    usual = _usual_width(texts[:start], places[:start], ink)
    room = float(np.ptp(places[start:]))
    needed = usual * (_mass(texts[start:]) - len(texts[start]) / 2 - len(texts[-1]) / 2)
    if room >= _CROWDED * needed:
        return len(texts)
    unit = _mass(texts[start : start + period])
    copies = max(1, round(room / (usual * unit)))
    return start + min(tail, copies * period)


def keep_tail(texts: Sequence[str], places: NDArray[np.float64], ink: InkSpan) -> int:
    """Find where a text goes on after the ink has ended.

    A tail is cut if the gaze has come to the end of the ink before it and then stays there, or jumps back and wanders,
    and if in addition the text has more characters than the ink has room for: at the width that they had so far, and at
    the narrowest that people write, unless the tail begins the line once more.

    Args:
        texts: Texts of the pieces.
        places: Where the decoder looked, (pieces,); not made to go from left to right.
        ink: The ink of the line.

    Returns:
        How many pieces to keep.
    """
    last = _arrival(places, ink)
    if last is None:
        return len(texts)
    usual = _usual_width(texts[: last + 1], places[: last + 1], ink)
    room = (ink.stop - ink.start) / usual
    mass = _mass(texts)
    if mass <= max(_SPARE * room, room + _SPARE_CHARACTERS):
        return len(texts)
    head, tail = ("".join(part).strip() for part in (texts[: last + 1], texts[last + 1 :]))
    again = 2 * len(tail) >= len(head) and head.startswith(tail)
    if mass * _CRAMPED * ink.height <= ink.stop - ink.start and not again:
        return len(texts)
    return last + 1


def _repeated_tail(texts: Sequence[str]) -> tuple[int, int]:
    """Find the shortest unit that a text ends in over and over: pieces in the unit, and in all its copies; or 0, 0."""
    for period in range(1, min(_MAX_PERIOD, len(texts) // _MIN_REPEATS) + 1):
        pairs = zip(reversed(texts), reversed(texts[:-period]), strict=False)
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        if same + period >= _MIN_REPEATS * period:
            return period, same + period
    return 0, 0


def _usual_width(texts: Sequence[str], places: NDArray[np.float64], ink: InkSpan) -> float:
    """Estimate how wide a character is in a line, from its pieces and their places, in pixels."""
    least, most = _LEAST_WIDTH * ink.height, _MOST_WIDTH * ink.height
    characters = _mass(texts)
    if characters < 5:
        return least
    return min(most, max(least, float(places.max() - ink.start) / characters))


def _arrival(places: NDArray[np.float64], ink: InkSpan) -> int | None:
    """Find the last piece that was read off the ink; None if pieces were read off it to the end of the text.

    It is the one with which the gaze comes to the end of the ink for good, or the last before it jumps back from there.
    """
    width = ink.stop - ink.start
    near, back = ink.stop - max(ink.height / 2, 0.02 * width), ink.stop - _LOOK_BACK * width
    there = np.flatnonzero(places >= near)
    # A gaze that comes to the end in one leap is a slip: the line has not been read yet.
    if len(there) == 0 or there[0] == 0 or places[there[0] - 1] < back:
        return None
    first = int(there[0])
    after = places[first + 1 :]
    jumps = np.flatnonzero(after < back)
    if len(jumps):
        return first + int(jumps[0])
    return first if len(after) and (after >= near).all() else None


def _mass(texts: Sequence[str]) -> int:
    return sum(len(text) for text in texts)
