"""Where the words of a text stand on the page: as they were read, or near where a machine has read others."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from quillread.images.crop import usual_height
from quillread.images.geometry import Points, normals_at, points_at, polyline_length
from quillread.text.align import align
from quillread.types import Line, Point, Polygon, Transcript, Word

_ABOVE = 0.75
"""Share of the height of a line that lies above its baseline."""


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word with its place in the text and on the page."""

    text: str
    start: int
    """Of its first character."""
    end: int
    confidence: float
    polygon: Polygon


@dataclass(frozen=True, slots=True)
class _Box:
    """Where some characters of a reading stand: corners top left, top right, bottom right, bottom left as read."""

    start: int
    end: int
    corners: tuple[Point, Point, Point, Point]
    leftward: bool
    """Whether its first character is at its right."""

    def part(self, start: float, end: float) -> tuple[Point, Point, Point, Point]:
        """The box of a part of the characters."""
        length = max(self.end - self.start, 1)
        low, high = ((min(max(at, self.start), self.end) - self.start) / length for at in (start, end))
        if self.leftward:
            low, high = 1 - high, 1 - low
        a, b, c, d = self.corners
        return _between(a, b, low), _between(a, b, high), _between(d, c, high), _between(d, c, low)


def place_words(text: str, line: Line, read: Transcript | None) -> tuple[PlacedWord, ...]:
    """Find where the words of a text stand, which a person has written.

    The text is aligned with that of a reading, whose words have places; characters of a word are taken for equally
    wide. Without a reading of the line, all its characters are.

    Args:
        text: Of the line.
        line: Where it is.
        read: What a machine has read in it last.

    Returns:
        Its words, runs of characters between spaces, with confidence 1.
    """
    words = spans(text)
    if not words:
        return ()
    boxes = _boxes(read) if read else []
    if read is None or not boxes:
        source, boxes = text, _spread(text, line)
    else:
        source = read.text
    borders = _borders(source, text)
    return tuple(
        PlacedWord(text[start:end], start, end, 1.0, Polygon(_cover(boxes, borders[start], borders[end])))
        for start, end in words
    )


def draft_confidences(placed: Sequence[PlacedWord], read: Transcript) -> list[float]:
    """How sure the words of a draft are: those that a machine has read alike are as it was sure of them, others 1."""
    words, sure = read_words(read), []
    known = iter(words)
    for theirs, ours in align([word.text for word in words], [word.text for word in placed]):
        word = next(known) if theirs is not None else None
        if ours is not None:
            sure.append(word.confidence if word is not None and theirs == ours else 1.0)
    return sure


def read_words(read: Transcript) -> tuple[PlacedWord, ...]:
    """The words of a reading with their places in its text."""
    placed, at = [], 0
    for word in read.words:
        start = read.text.find(word.text, at)
        if start < 0:
            continue  # of a text that was corrected after its words were placed
        at = start + len(word.text)
        placed.append(PlacedWord(word.text, start, at, word.confidence, word.polygon))
    return tuple(placed)


def spans(text: str) -> list[tuple[int, int]]:
    """First and last character (exclusive) of the runs of characters between spaces."""
    found, start = [], None
    for index, character in enumerate(f"{text} "):
        if character.isspace():
            if start is not None:
                found.append((start, index))
            start = None
        elif start is None:
            start = index
    return found


def as_words(placed: Sequence[PlacedWord]) -> tuple[Word, ...]:
    """Words as formats take them."""
    return tuple(Word(word.text, word.confidence, word.polygon) for word in placed)


def _boxes(read: Transcript) -> list[_Box]:
    return [_Box(word.start, word.end, _corners(word.polygon), is_leftward(word.text)) for word in read_words(read)]


def _spread(text: str, line: Line) -> list[_Box]:
    """The words of a text where they stand if all its characters are equally wide."""
    length = polyline_length(line.baseline)
    if length <= 0:
        return [_Box(0, len(text), _corners(line.polygon), False)]
    height = max(usual_height(np.array(line.baseline), np.array(line.polygon.points)), 1.0)
    leftward = is_leftward(text)
    boxes = []
    for start, end in spans(text):
        ends = np.array((start, end)) * (length / len(text))
        if leftward:
            ends = length - ends[::-1]
        feet, normals = points_at(line.baseline, ends), normals_at(line.baseline, ends)
        top, bottom = feet - _ABOVE * height * normals, feet + (1 - _ABOVE) * height * normals
        (a, b), (d, c) = _points(top), _points(bottom)
        boxes.append(_Box(start, end, (a, b, c, d), leftward))
    return boxes


def _points(places: Points) -> list[Point]:
    return [(x, y) for x, y in places.tolist()]


def _corners(polygon: Polygon) -> tuple[Point, Point, Point, Point]:
    if len(polygon.points) == 4:  # as recognisers give them
        a, b, c, d = polygon.points
        return a, b, c, d
    box = polygon.bounds
    return (box.x0, box.y0), (box.x1, box.y0), (box.x1, box.y1), (box.x0, box.y1)


def is_leftward(text: str) -> bool:
    """Whether a text runs from right to left, at least in part."""
    return any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)


def _borders(source: str, text: str) -> list[float]:
    """For each border between characters of a text, the first before all, where it lies in another text.

    Characters that are equal are anchors; borders between two of them are shared out evenly.
    """
    anchors = [(0, 0)]
    own = other = 0
    for before, after in align(source, text):
        own, other = own + (before is not None), other + (after is not None)
        if before == after:
            anchors += [(own - 1, other - 1), (own, other)]
    anchors.append((len(source), len(text)))
    anchors = _loosened(sorted(set(anchors)))
    return np.interp(np.arange(len(text) + 1), [b for _, b in anchors], [float(a) for a, _ in anchors]).tolist()


def _loosened(anchors: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Drop anchors around characters that were added, until there is room for them."""
    kept = [*anchors]
    index = 0
    while index + 1 < len(kept):
        (a0, b0), (a1, b1) = kept[index], kept[index + 1]
        if 3 * (a1 - a0) >= b1 - b0:
            index += 1
        elif index + 2 < len(kept):
            del kept[index + 1]
        elif index:
            del kept[index]
            index -= 1
        else:
            break
    return kept


def _cover(boxes: Sequence[_Box], start: float, end: float) -> tuple[Point, Point, Point, Point]:
    """The box of a stretch of characters of a reading, over as many of its words as it takes."""
    hit = [box for box in boxes if box.start < end and start < box.end]
    if not hit:
        return _gap(boxes, start)
    first, last = hit[0].part(start, end), hit[-1].part(start, end)
    if hit[0].leftward and len(hit) > 1:
        first, last = last, first
    return first[0], last[1], last[2], first[3]


def _gap(boxes: Sequence[_Box], at: float) -> tuple[Point, Point, Point, Point]:
    """The space between two words, or the word before the first or after the last."""
    for left, right in pairwise(boxes):
        if left.end <= at <= right.start:
            a, b = (right, left) if left.leftward else (left, right)
            return a.corners[1], b.corners[0], b.corners[3], a.corners[2]
    return (boxes[0] if at <= boxes[0].start else boxes[-1]).corners


def _between(first: Point, second: Point, share: float) -> Point:
    return first[0] + share * (second[0] - first[0]), first[1] + share * (second[1] - first[1])
