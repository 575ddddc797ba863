"""How lines with letters from right to left stand on paper.

Source: Unicode Standard Annex #9, the Unicode Bidirectional Algorithm, without embeddings and isolates.
"""

import unicodedata
from itertools import pairwise

_BRACKETS = {"(": ")", "[": "]", "{": "}", "⟨": "⟩", "⟦": "⟧", "⟪": "⟫"}
_OPENING = _BRACKETS | {"<": ">", "«": "»", "‹": "›", "≤": "≥"}
_MIRRORED = _OPENING | {closing: opening for opening, closing in _OPENING.items()}
_STRONG = ("L", "R", "AL")
_SIDES = {"L": "L", "R": "R", "EN": "R", "AN": "R"}
"""Direction of what has one; numbers have that of the letters from right to left."""


def is_leftward(text: str) -> bool:
    """Tell whether a text runs from right to left: its first letter says so (rule P2)."""
    kinds = map(unicodedata.bidirectional, text)
    return next((kind for kind in kinds if kind in _STRONG), "L") != "L"


def has_leftward(text: str) -> bool:
    """Tell whether a text has letters from right to left."""
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)


def visual_order(text: str, *, leftward: bool) -> list[tuple[int, str]]:
    """Lay a text out from left to right as it stands on paper.

    Numbers and Latin words within letters from right to left keep their order; brackets there are mirrored.

    Args:
        text: In the order of reading.
        leftward: Whether the line that it is of runs from right to left.

    Returns:
        Place in the text, and sign that is seen, of each character.
    """
    levels = _levels(text, leftward)
    order = list(range(len(text)))
    for level in range(max(levels, default=0), 0, -1):  # rule L2
        start = 0
        while start < len(order):
            stop = start
            while stop < len(order) and levels[order[stop]] >= level:
                stop += 1
            order[start:stop] = order[start:stop][::-1]
            start = max(stop, start + 1)
    return [(i, _MIRRORED.get(text[i], text[i]) if levels[i] % 2 else text[i]) for i in order]


def _levels(text: str, leftward: bool) -> list[int]:
    own = "R" if leftward else "L"
    kinds = _weak(text, own)
    _pair_brackets(text, kinds, own)
    # Rules N1 and N2: signs without a direction have that of both neighbours, or else of the line; numbers count as R.
    sides = [_SIDES.get(kind, "") for kind in kinds]
    before, after = _carried(sides, own), _carried(sides[::-1], own)[::-1]
    for i, side in enumerate(sides):
        if not side:
            kinds[i] = before[i] if before[i] == after[i] else own
    if leftward:
        return [1 if kind == "R" else 2 for kind in kinds]
    return [0 if kind == "L" else 1 if kind == "R" else 2 for kind in kinds]


def _pair_brackets(text: str, kinds: list[str], own: str) -> None:
    """Give both brackets of a pair one direction (rule N0): that of the line if it is within them, or else around."""
    opened: list[int] = []
    pairs: list[tuple[int, int]] = []
    for i, sign in enumerate(text):
        if sign in _BRACKETS:
            opened.append(i)
            continue
        match = next((k for k in range(len(opened) - 1, -1, -1) if _BRACKETS[text[opened[k]]] == sign), None)
        if match is not None:
            pairs.append((opened[match], i))
            del opened[match:]
    for start, stop in sorted(pairs):
        within = {_SIDES.get(kind, "") for kind in kinds[start + 1 : stop]} - {""}
        before = next((_SIDES[kind] for kind in kinds[start::-1] if kind in _SIDES), own)
        if within:
            kinds[start] = kinds[stop] = own if own in within else before


def _weak(text: str, own: str) -> list[str]:
    """Resolve kinds that depend on their neighbours (rules W1 to W7)."""
    kinds = [unicodedata.bidirectional(character) for character in text]
    strong = own
    for i, kind in enumerate(kinds):
        if kind == "NSM":
            kinds[i] = kinds[i - 1] if i else own
        strong = kinds[i] if kinds[i] in _STRONG else strong
        if kinds[i] == "EN" and strong == "AL":
            kinds[i] = "AN"
    kinds = ["R" if kind == "AL" else kind for kind in kinds]
    for i in range(1, len(kinds) - 1):
        sides = {kinds[i - 1], kinds[i + 1]}
        if (kinds[i] == "ES" and sides == {"EN"}) or (kinds[i] == "CS" and sides in ({"EN"}, {"AN"})):
            kinds[i] = kinds[i - 1]
    for places in (range(len(kinds)), range(len(kinds) - 1, -1, -1)):
        for i, j in pairwise(places):
            if kinds[j] == "ET" and kinds[i] == "EN":
                kinds[j] = "EN"
    strong = own
    for i, kind in enumerate(kinds):
        strong = kind if kind in _STRONG else strong
        if kind == "EN" and strong == "L":
            kinds[i] = "L"
    return kinds


def _carried(sides: list[str], first: str) -> list[str]:
    """The last side that is known up to each place."""
    carried = []
    for side in sides:
        first = side or first
        carried.append(first)
    return carried
