"""Several readings of one line made one: character by character, by their confidences.

After ROVER (J. Fiscus, "A post-processing system to yield reduced word error rates", ASRU 1997): all readings are
aligned with the first, and at each place what has the most confidence behind it is taken.
"""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from quillread.decode.confidence import doubt
from quillread.text.align import align
from quillread.text.normalise import compositions
from quillread.types import Alternative, Character, Polygon, Transcript, Word

_TIE = 1e-6
"""What the first reading has more than the others, so that it decides where they are even."""


@dataclass(slots=True)
class _Place:
    """What the readings have at a character of the first reading, or between two of them."""

    votes: dict[str, float] = field(default_factory=dict)
    seen: dict[str, Sequence[Character]] = field(default_factory=dict)
    """A text where the first of those that have it saw it."""

    def add(self, characters: Sequence[Character], weight: float) -> None:
        text = "".join(c.text for c in characters)
        self.votes[text] = self.votes.get(text, 0.0) + weight
        self.seen.setdefault(text, characters)

    def winner(self) -> tuple[str, float]:
        """The text with the most votes, and its share of all."""
        best = max(self.votes, key=lambda text: self.votes[text])
        return best, self.votes[best] / max(sum(self.votes.values()), 1e-9)


def vote(readings: Sequence[Transcript]) -> Transcript:
    """Make one reading of several.

    Args:
        readings: At least one, all placed on one image, the one first that is to decide where they are even. Places are
            those of a reading that has all of the text, or else of the first, what it lacks where another one saw it.

    Returns:
        What most confidence is behind. A character's confidence is the share of all readings' confidence that it has;
        those of words, of the line and of other readings are means over the readings, of their own where they have the
        same text and of 0 where they have another. With one reading, that one.
    """
    first = readings[0]
    if len(readings) == 1 or all(reading.text == first.text for reading in readings):
        return _averaged(first, readings)
    within, between = _gather(readings)
    characters: list[Character] = []
    for i, gap in enumerate(between):
        text, share = gap.winner()
        characters += [replace(c, confidence=share) for c in gap.seen[text]]
        if i < len(within):
            text, share = within[i].winner()
            characters += [replace(first.characters[i], text=text, confidence=share)] if text else []
    voted = _composed(_trimmed(characters))
    text = "".join(c.text for c in voted)
    whole = next((reading for reading in readings if reading.text == text), None)
    if whole is None:
        return _averaged(_with_text(readings, _in_order(voted)), readings)
    sure = (replace(c, confidence=v.confidence) for c, v in zip(whole.characters, voted, strict=True))
    return _averaged(replace(whole, characters=tuple(sure)), readings)


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
        own = iter(reading.characters)
        place, weight = 0, usual
        pending: list[Character] = []
        for ours, theirs in align(first.text, reading.text):
            found = [next(own)] if theirs is not None else []
            sure = found[0].confidence if found else usual
            if ours is None:
                pending, weight = pending + found, min(weight, sure)
                continue
            between[place].add(pending, weight)
            within[place].add(found, sure + (_TIE if number == 0 else 0.0))
            place, pending, weight = place + 1, [], usual
        between[place].add(pending, weight)
    return within, between


def _in_order(characters: Sequence[Character]) -> list[Character]:
    """Let characters of several readings that overlap meet half way between their middles."""
    middles = list(itertools.accumulate(((c.x0 + c.x1) / 2 for c in characters), max))
    pairs = zip(itertools.pairwise(characters), itertools.pairwise(middles), strict=True)
    meet = [(m + n) / 2 if a.x1 > b.x0 else None for (a, b), (m, n) in pairs]
    ordered: list[Character] = []
    end = -math.inf
    for c, left, right in zip(characters, [None, *meet], [*meet, None], strict=False):
        start = max(end, c.x0 if left is None else max(c.x0, left))
        end = max(start, c.x1 if right is None else min(c.x1, right))
        ordered.append(replace(c, x0=start, x1=end))
    return ordered


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


def _with_text(readings: Sequence[Transcript], characters: Sequence[Character]) -> Transcript:
    """The first reading with other characters; its words are as high as those of the first that has some."""
    first, text = readings[0], "".join(c.text for c in characters)
    ys = [y for word in next((r.words for r in readings if r.words), ()) for _, y in word.polygon.points]
    low, high = (min(ys), max(ys)) if ys else (0.0, 0.0)
    words = []
    for match in re.finditer("[^ ]+", text):
        x0, x1 = characters[match.start()].x0, characters[match.end() - 1].x1
        words.append(Word(match.group(), 0.0, Polygon(((x0, low), (x1, low), (x1, high), (x0, high)))))
    changed = replace(first, text=text, words=tuple(words), characters=tuple(characters))
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
    confidence = agreeing / len(readings)
    errors = [r.expected_error for r in readings if r.expected_error is not None]
    expected = None
    if errors:  # at least what the readings expect of themselves on the whole, more where they differ
        expected = max(min(errors), math.fsum(errors) / len(errors) * _disagreement(words))
        expected = expected if words else 1 - confidence
    others = _others(voted.text, readings)
    return replace(voted, words=words, confidence=confidence, alternatives=others, expected_error=expected)


def _others(text: str, readings: Sequence[Transcript]) -> tuple[Alternative, ...]:
    """Other texts that were read, the surest first; as many as most readings were asked for."""
    sums: dict[str, float] = {}
    for reading in readings:
        for other, sure in (
            (reading.text, reading.confidence),
            *((a.text, a.confidence) for a in reading.alternatives),
        ):
            sums[other] = sums.get(other, 0.0) + sure
    ranked = sorted((other for other in sums if other != text), key=lambda other: -sums[other])
    most = max(len(reading.alternatives) for reading in readings)
    return tuple(Alternative(other, sums[other] / len(readings)) for other in ranked[:most])


def _disagreement(words: Sequence[Word]) -> float:
    return 0.5 + doubt([(word.text, word.confidence) for word in words])
