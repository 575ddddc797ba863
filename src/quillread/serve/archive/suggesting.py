"""Which lines to correct next: where they teach most, page by page.

Few lines teach most if they show what is common in the collection and was not taught yet; what is rare, or cannot be
read at all, pays only once the common is known (G. Hacohen et al., "Active Learning on a Budget: Opposite Strategies
Suit High and Low Budgets", ICML 2022). So each trigram and each letter of a line counts by how common it is in the
collection and how rarely it was taught, and the sum by the errors to be expected, within bounds. Lines are chosen one
after the other, each counted as taught for the next, so that they differ (the greedy choice for submodular gains; H.
Lin and J. Bilmes, "A Class of Submodular Functions for Document Summarization", 2011).
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from quillread.serve.archive.teaching import checked_lines, unchecked_lines
from quillread.serve.database.schema import Document, Line, LineVersion, Page

_MOST_LINES = 20_000
"""Looked at: of larger collections a sample of the pages."""
_PAGE_LINES = 8
"""Suggested of one page before the next."""
_ORDER = 3
"""Of the character n-grams."""
_LETTER = 2.0
"""What a letter that was never taught counts, in trigrams."""
_COMMON = 20
"""Lines of a thousand in which a trigram or a letter must be to count in full."""
_FLOOR, _CEILING = 0.05, 0.2
"""Expected error rates count as at least and at most so much: sure lines teach, too, and what cannot be read at all,
such as a blot, teaches no more than a line with some errors."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A line that could be corrected."""

    id: int
    page_id: int
    text: str
    """As a machine read it."""
    expected_error: float
    """Character error rate, 0 or more."""


class Coverage:
    """What was taught: how often each trigram and each letter; and how common they are.

    Args:
        lines: Of the collection.
        taught: Texts of the lines that are checked.
    """

    def __init__(self, lines: Sequence[Candidate], taught: Iterable[str] = ()) -> None:
        counts: Counter[str] = Counter()
        texts = [line.text for line in lines]
        for text in texts:
            counts.update({*_grams(text), *text})
        enough = max(len(texts) * _COMMON / 1000, 1.0)
        self._weights = {name: min(count / enough, 1.0) for name, count in counts.items()}
        self._taught: Counter[str] = Counter()
        for text in taught:
            self.add(text)

    def add(self, text: str) -> None:
        """Count a text as taught."""
        self._taught.update(_grams(text))
        self._taught.update(text)

    def gain(self, line: Candidate) -> float:
        """What a line would teach."""
        new = sum(map(self._worth, _grams(line.text))) + _LETTER * sum(map(self._worth, line.text))
        return new * min(max(line.expected_error, _FLOOR), _CEILING)

    def _worth(self, name: str) -> float:
        return self._weights.get(name, 0.0) / (1 + self._taught[name])


def choose_by_page(lines: Sequence[Candidate], taught: Iterable[str], count: int) -> list[Candidate]:
    """Choose lines that teach much, some of a page together: the pages whose best lines teach most come first.

    Args:
        lines: To choose from, in reading order.
        taught: Texts of the lines that are checked.
        count: How many.
    """
    coverage = Coverage(lines, taught)
    pages: dict[int, list[Candidate]] = {}
    for line in lines:
        pages.setdefault(line.page_id, []).append(line)
    # Gains only fall as lines are chosen, so those of pages that are not at the top need no look (lazy greedy).
    heap = [(-_worth(coverage, part), page) for page, part in pages.items()]
    heapq.heapify(heap)
    chosen: list[Candidate] = []
    while heap and len(chosen) < count:
        _, page = heapq.heappop(heap)
        worth = -_worth(coverage, pages[page])
        if heap and worth > heap[0][0]:
            heapq.heappush(heap, (worth, page))
            continue
        best = {line.id for line in _best(coverage, pages[page])}
        part = [line for line in pages[page] if line.id in best][: count - len(chosen)]
        chosen += part
        for line in part:
            coverage.add(line.text)
    return chosen


def suggest_lines(session: Session, collection_id: int, count: int) -> list[Candidate]:
    """Suggest the lines of a collection that a person should correct next.

    Args:
        session: Of the database.
        collection_id: Of the collection.
        count: At most so many.
    """
    ids = [line.id for line in checked_lines(session, collection_id)]
    taught: list[str] = []
    for start in range(0, min(len(ids), _MOST_LINES), 500):
        taught += session.scalars(select(Line.text).where(Line.id.in_(ids[start : start + 500])))
    return choose_by_page(_candidates(session, collection_id), taught, count)


def _candidates(session: Session, collection_id: int) -> list[Candidate]:
    lines = unchecked_lines(collection_id).where(func.trim(Line.text) != "")
    total = session.scalar(lines.with_only_columns(func.count(Line.id))) or 0
    every = -(-total // _MOST_LINES)
    if every > 1:
        lines = lines.where(Page.id % every == 0)
    rate = LineVersion.reading["expected_error"].as_float()
    columns = (Line.id, Page.id, Line.text, rate, Line.confidence)
    order = (Document.position, Document.id, Page.position, Page.id, Line.position, Line.id)
    rows = session.execute(lines.with_only_columns(*columns).order_by(*order).limit(2 * _MOST_LINES))
    return [
        Candidate(id, page, text, (1 - (sure or 0.0)) / 2 if rate is None else rate)
        for id, page, text, rate, sure in rows
    ]


def _worth(coverage: Coverage, lines: Sequence[Candidate]) -> float:
    return sum(coverage.gain(line) for line in _best(coverage, lines))


def _best(coverage: Coverage, lines: Sequence[Candidate]) -> list[Candidate]:
    return heapq.nlargest(_PAGE_LINES, lines, key=coverage.gain)


def _grams(text: str) -> list[str]:
    padded = f" {text} "
    return [padded[i : i + _ORDER] for i in range(len(padded) - _ORDER + 1)]
