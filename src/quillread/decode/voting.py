"""Several readings of one line made one: character by character, by their confidences.

After ROVER (J. Fiscus, "A post-processing system to yield reduced word error rates", ASRU 1997): all readings are
aligned with the first, and at each place what has the most confidence behind it is taken.
"""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from quillread.decode.confidence import doubt
from quillread.text.align import align
from quillread.text.normalise import compositions
from quillread.types import Character, Polygon, Transcript, Word

_TIE = 1e-6
"""What the first reading has more than the others, so that it decides where they are even."""


@dataclass(slots=True)
class _Place:
    """What the readings have at a character of the first reading, or between two of them."""

    votes: dict[str, float] = field(default_factory=dict)

    def add(self, text: str, weight: float) -> None:
        self.votes[text] = self.votes.get(text, 0.0) + weight

    def winner(self) -> tuple[str, float]:
        """The text with the most votes, and its share of all."""
        best = max(self.votes, key=lambda text: self.votes[text])
        return best, self.votes[best] / max(sum(self.votes.values()), 1e-9)


def vote(readings: Sequence[Transcript]) -> Transcript:
    """Make one reading of several.

    Args:
        readings: At least one, the one first that is to decide where they are even and whose places are taken.

    Returns:
        What most confidence is behind. A character's confidence is the share of all readings' confidence that it has;
        those of words and of the line are means over the readings, of their own where they have the same text and of 0
        where they have another. With one reading, that one.
    """
    first = readings[0]
    if len(readings) == 1 or all(reading.text == first.text for reading in readings):
        return _averaged(first, readings)
    within, between = _gather(readings)
    characters: list[Character] = []
    for i, gap in enumerate(between):
        text, share = gap.winner()
        characters += _inserted(text, share, first.characters, i)
        if i < len(within):
            text, share = within[i].winner()
            characters += [replace(first.characters[i], text=text, confidence=share)] if text else []
    return _averaged(_with_text(first, _composed(_trimmed(characters))), readings)


def _gather(readings: Sequence[Transcript]) -> tuple[list[_Place], list[_Place]]:
    """Collect the votes at each character of the first reading, and before each of them and at the end."""
    first = readings[0]
    within = [_Place() for _ in first.text]
    between = [_Place() for _ in range(len(first.text) + 1)]
    for number, reading in enumerate(readings):
        weights = [c.confidence for c in reading.characters]
        # An empty reading says that there is nothing, as surely as it is right on the whole.
        usual = sum(weights) / len(weights) if weights else reading.confidence
        usual += _TIE if number == 0 else 0.0
        own = iter(weights)
        place, pending, weight = 0, "", usual
        for ours, theirs in align(first.text, reading.text):
            sure = next(own) if theirs is not None else usual
            if ours is None:
                pending, weight = pending + (theirs or ""), min(weight, sure)
                continue
            between[place].add(pending, weight)
            within[place].add(theirs or "", sure + (_TIE if number == 0 else 0.0))
            place, pending, weight = place + 1, "", usual
        between[place].add(pending, weight)
    return within, between


def _inserted(text: str, share: float, characters: Sequence[Character], place: int) -> Iterator[Character]:
    """Characters that the first reading lacks, before the one at a place: between its neighbours."""
    before = characters[place - 1].x1 if place else (characters[0].x0 if characters else 0.0)
    after = characters[place].x0 if place < len(characters) else before
    step = max(after - before, 0.0) / max(len(text), 1)
    for i, character in enumerate(text):
        yield Character(character, share, before + i * step, before + (i + 1) * step)


def _trimmed(characters: Sequence[Character]) -> list[Character]:
    inked = [i for i, c in enumerate(characters) if c.text != " "]
    return list(characters[inked[0] : inked[-1] + 1]) if inked else []


def _composed(characters: Sequence[Character]) -> Sequence[Character]:
    """Join letters and marks of several readings that compose; their confidence is that of the least sure one."""
    joined: list[Character] = []
    done = 0
    for start, stop, text in compositions([c.text for c in characters]):
        run = characters[start:stop]
        sure, width = min(c.confidence for c in run), (run[-1].x1 - run[0].x0) / len(text)
        places = [run[0].x0 + i * width for i in range(len(text) + 1)]
        joined += characters[done:start]
        joined += [Character(c, sure, *ends) for c, ends in zip(text, itertools.pairwise(places), strict=True)]
        done = stop
    return [*joined, *characters[done:]]


def _with_text(first: Transcript, characters: Sequence[Character]) -> Transcript:
    """The first reading with other characters; its words get the height of its first word."""
    text = "".join(c.text for c in characters)
    ys = [y for word in first.words for _, y in word.polygon.points]
    low, high = (min(ys), max(ys)) if ys else (0.0, 0.0)
    words = []
    for match in re.finditer("[^ ]+", text):
        x0, x1 = characters[match.start()].x0, characters[match.end() - 1].x1
        words.append(Word(match.group(), 0.0, Polygon(((x0, low), (x1, low), (x1, high), (x0, high)))))
    changed = replace(first, text=text, words=tuple(words), characters=tuple(characters), alternatives=())
    # Corrections of a reading that was outvoted are none of this one.
    kept = tuple(change for change in first.changes if change.after in text.split())
    return replace(changed, changes=kept, raw_text=first.raw_text if kept else None)


def _averaged(voted: Transcript, readings: Sequence[Transcript]) -> Transcript:
    """Give a voted reading the mean confidences of the readings."""
    if len(readings) == 1:
        return voted
    texts = [word.text for word in voted.words]
    sums = [0.0] * len(texts)
    for reading in readings:
        number, theirs = 0, iter(reading.words)
        for ours, found in align(texts, [word.text for word in reading.words]):
            confidence = next(theirs).confidence if found is not None else 0.0
            if ours is not None:
                sums[number] += confidence if ours == found else 0.0
                number += 1
    words = tuple(replace(w, confidence=s / len(readings)) for w, s in zip(voted.words, sums, strict=True))
    agreeing = math.fsum(r.confidence for r in readings if r.text == voted.text)
    errors = [r.expected_error for r in readings if r.expected_error is not None]
    expected = None
    if errors:  # at least what the readings expect of themselves on the whole, more where they differ
        expected = max(min(errors), math.fsum(errors) / len(errors) * _disagreement(words))
    return replace(voted, words=words, confidence=agreeing / len(readings), expected_error=expected)


def _disagreement(words: Sequence[Word]) -> float:
    return 0.5 + doubt([(word.text, word.confidence) for word in words])
