"""From the tokens of a text decoder to characters, their probabilities and their places on the line."""

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
