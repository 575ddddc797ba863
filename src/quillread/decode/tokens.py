"""From tokens to characters with their places, and guards against repeats and invented tails.

Both compare the text with what the decoder looked at while it wrote. They cut only where the text and the gaze agree
that there is nothing to read: a line that is right must stay whole, whatever it says.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quillread.decode.hypothesis import Emission

_BEST_HEADS = 0.25
"""Share of the attention heads that are believed; the others look at something else than the place in the line."""

_LEAST_STEP = 0.1
"""Pieces that are nearer to each other than this share of the mean width of a character share their place."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The fewest tokens in a row that spell whole characters."""

    text: str
    log_probability: float
    """Of its tokens together."""
    start: int
    """Number of its first token."""
    stop: int
    """Number of the token after its last."""


def spell(prefixes: Sequence[str], log_probs: Sequence[float]) -> list[Piece]:
    """Find which tokens spell which characters.

    A character may take several tokens (the bytes of an é or an emoji), a token several characters or none. A
    character belongs to the token after which it stays as it is.

    Args:
        prefixes: Text of the first token, of the first two tokens, and so on to all tokens.
        log_probs: Log probability of each token.

    Returns:
        Pieces without gaps, whose texts add up to the last prefix; none if that is empty.
    """
    if not prefixes:
        return []
    text = prefixes[-1]
    shared = [_shared(prefix, text) for prefix in prefixes]
    settled = np.minimum.accumulate(shared[::-1])[::-1].tolist()
    # Tokens that spell nothing belong to the piece that follows them, at the end to the one before.
    ends = [k for k, before in enumerate([0, *settled[:-1]]) if settled[k] > before]
    starts = [0, *(end + 1 for end in ends[:-1])]
    stops = [*(end + 1 for end in ends[:-1]), len(prefixes)]
    cuts = [0, *(settled[end] for end in ends)]
    return [
        Piece(text[a:b], float(sum(log_probs[start:stop])), start, stop)
        for (a, b), start, stop in zip(itertools.pairwise(cuts), starts, stops, strict=False)
    ]


def _shared(a: str, b: str) -> int:
    """Count the characters at the start that two texts share."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def follow_gaze(attention: NDArray[np.float32]) -> NDArray[np.float64]:
    """Find where along the line the decoder looks as it writes each token.

    Only some heads of the cross-attention follow the writing, and which ones differs from model to model. Those whose
    gaze moves along the line the farthest, measured by how wide it is, are taken.

    Args:
        attention: Shares of attention, (heads, T, columns): the heads of all layers, the tokens, the columns of the
            canvas from left to right.

    Returns:
        The weighted median of each token's attention, (T,), from 0 at the left end of the canvas to 1 at its right.
    """
    heads, tokens, columns = attention.shape
    shares = attention / np.maximum(attention.sum(axis=2, keepdims=True), 1e-9)
    middles = (np.arange(columns) + 0.5) / columns
    centres = shares @ middles
    widths = np.sqrt(np.maximum((shares * (middles - centres[..., None]) ** 2).sum(axis=2), (0.5 / columns) ** 2))
    order = np.arange(tokens) - (tokens - 1) / 2
    progress = (centres * order).sum(axis=1) / widths.mean(axis=1)
    best = np.argsort(-progress, kind="stable")[: math.ceil(heads * _BEST_HEADS)]
    return _medians(shares[best].mean(axis=0))


def _medians(shares: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weighted medians of distributions over columns, (T, columns), as a share of the width."""
    columns = shares.shape[1]
    below = np.cumsum(shares, axis=1, dtype=np.float64)
    half = below[:, -1:] / 2
    column = np.argmax(below >= half, axis=1)[:, None]
    inside = np.take_along_axis(shares.astype(np.float64), column, axis=1)
    over = np.take_along_axis(below, column, axis=1) - half
    return np.asarray(((column + 1 - over / np.maximum(inside, 1e-12)) / columns)[:, 0])


def look_up(pieces: Sequence[Piece], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give each piece the mean place of its tokens, (pieces,), from the places of all tokens, (T,)."""
    return np.array([places[piece.start : piece.stop].mean() for piece in pieces])


def emit(pieces: Sequence[Piece], places: NDArray[np.float64], width: float) -> tuple[Emission, ...]:
    """Give each character its share of the probability of its piece, and a place.

    The places of the pieces are made to go from left to right (isotonic regression: Barlow et al. 1972, "Statistical
    inference under order restrictions"); two neighbours meet between their places, nearer to the shorter one, and the
    characters of a piece are equally wide.

    Args:
        pieces: What is written.
        places: Where the middle of each piece is, (pieces,), in pixels.
        width: Width of the line image in pixels.

    Returns:
        One emission for each character, from left to right within the image, each with a width above 0.
    """
    if not pieces:
        return ()
    edges = _edges([len(piece.text) for piece in pieces], places, width)
    spelled = ((c, math.exp(piece.log_probability / len(piece.text))) for piece in pieces for c in piece.text)
    return tuple(
        Emission(character, probability, start, stop)
        for (character, probability), (start, stop) in zip(spelled, itertools.pairwise(edges), strict=True)
    )


def _edges(lengths: Sequence[int], places: NDArray[np.float64], width: float) -> list[float]:
    """Place the ends of the characters: one more than there are characters, strictly increasing."""
    usual = width / sum(lengths)
    blocks = _in_order(np.clip(places, usual / 4, width - usual / 4), lengths, _LEAST_STEP * usual)
    centres, counts = [c for c, _ in blocks], [n for _, n in blocks]
    inner = [a + (b - a) * n / (n + m) for (a, n), (b, m) in itertools.pairwise(blocks)]
    between = sum(counts) - (counts[0] + counts[-1]) / 2
    step = (centres[-1] - centres[0]) / between if len(blocks) > 1 else width / counts[0]
    first = max(0.0, centres[0] - step * counts[0] / 2)
    last = min(width, centres[-1] + step * counts[-1] / 2)
    bounds = list(itertools.pairwise([first, *inner, last]))
    starts = [a + (b - a) * i / n for (a, b), n in zip(bounds, counts, strict=True) for i in range(n)]
    return [*starts, last]


def _in_order(places: NDArray[np.float64], lengths: Sequence[int], least: float) -> list[tuple[float, int]]:
    """Pool neighbours that are not in order, or too close: blocks of a mean place and a number of characters."""
    blocks: list[tuple[float, int]] = []
    for place, length in zip(places.tolist(), lengths, strict=True):
        blocks.append((place, length))
        while len(blocks) > 1 and blocks[-1][0] - blocks[-2][0] < least:
            (b, m), (a, n) = blocks.pop(), blocks.pop()
            blocks.append(((a * n + b * m) / (n + m), n + m))
    return blocks


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
