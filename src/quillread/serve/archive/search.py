"""Search in the texts of lines: words that must all occur, "phrases", beginnings*.

Lines come in the order of their numbers, which is about that in which they were read, not by rank: to rank the hits of
a common word, all of them would have to be looked at. So a search looks at no more lines than it shows, but for those
that were deleted or that nobody may see.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from sqlalchemy import ColumnElement, func, select, text
from sqlalchemy.orm import Session

from quillread.serve.access.actor import Actor
from quillread.serve.archive.find import find_collection, find_document, find_page
from quillread.serve.archive.folding import FoldedWord, fold, fold_words
from quillread.serve.archive.indexing import collection_scope, document_scope
from quillread.serve.archive.layouts import LineState, load_lines
from quillread.serve.archive.pages import number_of
from quillread.serve.archive.words import PlacedWord
from quillread.serve.database.readings import pack_points
from quillread.serve.database.schema import Collection, Document, Line, LineSearch, Page
from quillread.text.align import align

_MOST_TERMS = 20
_MOST_CANDIDATES = 10_000
"""Lines that are looked at: those beyond them are found with `after`."""
_MOST_BEGINNINGS = 3
"""That the index is asked for: each may be a thousand words. Others are looked for in what it finds."""
_NARROW = 200_000
"""Lines of a collection up to which PostgreSQL has to go by the index of words: it takes them for spread over all
others, and would look at these one after the other until it comes to them."""
_MOST_SCOPES = 100
"""Collections that are named to the index; with more, those that may not be seen are sorted out afterwards."""
_QUOTES = str.maketrans(dict.fromkeys("“”„‟«»", '"'))
_TERM = re.compile(r'"([^"]*)"?|([^\s"]+)')


@dataclass(frozen=True, slots=True)
class Term:
    """What must occur in a line: words in a row."""

    words: tuple[str, ...]
    is_prefix: bool = False
    """Whether the last word is the beginning of one."""


@dataclass(frozen=True, slots=True)
class _Match:
    start: int
    end: int


def parse_query(query: str) -> tuple[Term, ...]:
    """Take a query apart; whatever it holds beside words and quotes is not looked at.

    A word that is written as several, such as `l'an`, is a phrase. A beginning has two letters at least: one of a
    single letter is a word.
    """
    terms: list[Term] = []
    for phrase, word in _TERM.findall(query.translate(_QUOTES)):
        words = tuple(fold(phrase or word))
        if words:
            terms.append(Term(words, word.endswith("*") and len(words[-1]) > 1))
    return tuple(dict.fromkeys(terms))[:_MOST_TERMS]


def search(
    session: Session,
    actor: Actor,
    query: str,
    *,
    collection_id: int | None = None,
    document_id: int | None = None,
    page_id: int | None = None,
    after: int | None = None,
    limit: int = 20,
) -> tuple[list[dict[str, Any]], int | None]:
    """Find lines, of those that one may see and that were not deleted.

    Args:
        session: Of the database.
        actor: Who asks.
        query: See `parse_query`.
        collection_id: Of the only collection to look in.
        document_id: Of the only document to look in.
        page_id: Of the only page to look in.
        after: `next` of the search before.
        limit: Lines to find at most.

    Returns:
        What was found, as the API gives it, and where to go on, if there may be more: there may also be none then.

    Raises:
        NotFoundError: If there is no such collection, document or page, or one may not know of it.
    """
    terms = parse_query(query)
    if page_id is not None:
        document_id = find_page(session, actor, page_id).document_id
    scopes = _scopes(session, actor, collection_id, document_id)
    if not terms or scopes == []:
        return [], None
    asked, rest = _divide(terms)
    is_narrow = _is_narrow(session, collection_id, document_id)
    found: list[tuple[Line, Page, Document]] = []
    at, seen, size = after or 0, 0, limit + 1
    while True:
        ids = _candidates(session, asked, scopes, at, size, is_narrow, page_id)
        found += _visible(session, actor, _with_all(session, rest, ids), collection_id, document_id)
        seen += len(ids)
        if len(found) > limit:
            found = found[:limit]
            next_after: int | None = found[-1][0].id
            break
        if len(ids) < size:
            next_after = None
            break
        at, size = ids[-1], min(4 * size, 2_000)
        if seen >= _MOST_CANDIDATES:
            next_after = at
            break
    return _shown(session, terms, found), next_after


def _scopes(session: Session, actor: Actor, collection_id: int | None, document_id: int | None) -> list[str] | None:
    """Words of the index one of which lines must have; None if they may be anywhere."""
    if document_id is not None:
        return [document_scope(find_document(session, actor, document_id).id)]
    if collection_id is not None:
        return [collection_scope(find_collection(session, actor, collection_id).id)]
    live = Collection.deleted.is_(None)
    ids = session.scalars(select(Collection.id).where(actor.visible(), live).limit(_MOST_SCOPES + 1)).all()
    hidden = select(Collection.id).where(~(actor.visible() & live)).limit(1)
    if len(ids) > _MOST_SCOPES or (ids and session.scalar(hidden) is None):
        return None
    return [collection_scope(id) for id in ids]


def _divide(terms: Sequence[Term]) -> tuple[list[Term], list[Term]]:
    """Terms that the index is asked for, and those that are looked for in what it finds."""
    beginnings = sorted((term for term in terms if term.is_prefix), key=lambda term: -len(term.words[-1]))
    rest = beginnings[_MOST_BEGINNINGS:]
    return [term for term in terms if term not in rest], rest


def _is_narrow(session: Session, collection_id: int | None, document_id: int | None) -> bool:
    if document_id is not None or collection_id is None:
        return document_id is not None
    lines = select(func.sum(Page.line_count)).join(Page.document).where(Document.collection_id == collection_id)
    return (session.scalar(lines) or 0) < _NARROW


def _with_all(session: Session, terms: Sequence[Term], ids: Sequence[int]) -> Sequence[int]:
    """Those of some lines that have all of some terms."""
    if not terms or not ids:
        return ids
    rows = session.execute(select(LineSearch.line_id, LineSearch.folded).where(LineSearch.line_id.in_(ids)))
    return sorted(id for id, folded in rows if all(_places(folded.split(), term) for term in terms))


def _candidates(
    session: Session,
    terms: Sequence[Term],
    scopes: list[str] | None,
    after: int,
    size: int,
    is_narrow: bool,
    page_id: int | None,
) -> list[int]:
    of_page = "" if page_id is None else "IN (SELECT id FROM lines WHERE page_id = :page) AND "
    if session.get_bind().dialect.name == "sqlite":
        statement = (
            f"SELECT rowid FROM line_index WHERE {of_page and f'rowid {of_page}'}line_index MATCH :query "
            "AND rowid > :after ORDER BY rowid LIMIT :size"
        )
        query = _for_sqlite(terms, scopes)
    else:
        order = "line_id + 0" if is_narrow else "line_id"  # a sum is in no index
        statement = (
            f"SELECT line_id FROM line_search WHERE {of_page and f'line_id {of_page}'}"
            "vector @@ to_tsquery('simple', :query) AND line_id > :after "
            f"ORDER BY {order} LIMIT :size"
        )
        query = _for_postgres(terms, scopes)
    facts = {"query": query, "after": after, "size": size} | ({"page": page_id} if page_id is not None else {})
    return list(session.scalars(text(statement), facts))


def _for_sqlite(terms: Iterable[Term], scopes: list[str] | None) -> str:
    """An expression of FTS5; folded words hold letters, digits and marks only, so that quotes hold them."""
    wanted = " AND ".join(f'"{" ".join(term.words)}"{" *" if term.is_prefix else ""}' for term in terms)
    if scopes is None:
        return f"folded : ({wanted})"
    places = " OR ".join(f'"{scope}"' for scope in scopes)
    return f"(folded : ({wanted})) AND (scope : ({places}))"


def _for_postgres(terms: Iterable[Term], scopes: list[str] | None) -> str:
    """An expression of `to_tsquery`."""
    parts = []
    for term in terms:
        words = [f"'{word}'" for word in term.words]
        if term.is_prefix:
            words[-1] += ":*"
        parts.append(" <-> ".join(words))
    if scopes is not None:
        parts.append(" | ".join(f"'{scope}'" for scope in scopes))
    return " & ".join(f"({part})" for part in parts)


def _visible(
    session: Session, actor: Actor, ids: Sequence[int], collection_id: int | None, document_id: int | None
) -> list[tuple[Line, Page, Document]]:
    """Those of some lines that are not deleted and that one may see, in their order."""
    if not ids:
        return []
    chosen = select(Line, Page, Document).join(Line.page).join(Page.document).join(Document.collection)
    deleted = (Line.deleted, Page.deleted, Document.deleted, Collection.deleted)
    conditions: list[ColumnElement[bool]] = [column.is_(None) for column in deleted]
    if collection_id is not None:
        conditions.append(Collection.id == collection_id)
    if document_id is not None:
        conditions.append(Document.id == document_id)
    rows = session.execute(chosen.where(Line.id.in_(ids), actor.visible(), *conditions).order_by(Line.id))
    return [(line, page, document) for line, page, document in rows]


def _shown(
    session: Session, terms: Sequence[Term], found: Sequence[tuple[Line, Page, Document]]
) -> list[dict[str, Any]]:
    states = load_lines(session, [line for line, _, _ in found])
    pages = {page.id: page for _, page, _ in found}
    numbers = {id: number_of(session, page) for id, page in pages.items()}
    items = []
    for state, (line, page, document) in zip(states, found, strict=True):
        matches, is_elsewhere = _matches(state, terms)
        items.append(
            {
                "line_id": line.id,
                "page_id": page.id,
                "document_id": document.id,
                "collection_id": document.collection_id,
                "document_name": document.name,
                "page_number": numbers[page.id],
                "page_size": [page.width, page.height],
                "text": line.text,
                "checked": line.checked,
                "in_alternative": is_elsewhere,
                "matches": [
                    {"start": match.start, "end": match.end, "polygon": _polygon(state, match)} for match in matches
                ],
                "polygon": line.polygon,
            }
        )
    return items


def _matches(state: LineState, terms: Sequence[Term]) -> tuple[list[_Match], bool]:
    """Where terms are in a text, and whether one of them is in another reading of it only."""
    words = fold_words(state.row.text)
    folded = [word.text for word in words]
    found: set[_Match] = set()
    is_elsewhere = False
    for term in terms:
        here = [_Match(words[i].start, words[i + len(term.words) - 1].end) for i in _places(folded, term)]
        if not here:
            is_elsewhere = True
            here = _in_alternatives(state, term, words)
        found.update(here)
    return sorted(found, key=lambda match: (match.start, match.end)), is_elsewhere


def _places(words: Sequence[str], term: Term) -> list[int]:
    """Where a term begins among words."""
    length = len(term.words)
    *first, last = term.words
    return [
        i
        for i in range(len(words) - length + 1)
        if list(words[i : i + length - 1]) == first
        and (words[i + length - 1].startswith(last) if term.is_prefix else words[i + length - 1] == last)
    ]


def _in_alternatives(state: LineState, term: Term, words: Sequence[FoldedWord]) -> list[_Match]:
    """Where in the text the words are in whose place another reading has a term."""
    if state.read is None or not words:
        return []
    found = []
    for alternative in state.read.alternatives:
        others = fold(alternative.text)
        places = _aligned([word.text for word in words], others)
        for start in _places(others, term):
            own = [places[i] for i in range(start, start + len(term.words))]
            found.append(_Match(words[min(own)].start, words[max(own)].end))
    return found


def _aligned(words: Sequence[str], others: Sequence[str]) -> list[int]:
    """For each word of another reading, the word of the text in its place, or else the one before it."""
    places, at = [], -1
    for own, other in align(words, others):
        at += own is not None
        if other is not None:
            places.append(max(at, 0))
    return places


def _polygon(state: LineState, match: _Match) -> list[list[float]] | None:
    """The outline of the words of a match."""
    hit: list[PlacedWord] = [word for word in state.words if word.start < match.end and match.start < word.end]
    if not hit:
        return None
    if len(hit) == 1:
        return pack_points(hit[0].polygon.points)
    points = np.array([point for word in hit for point in word.polygon.points], np.float32)
    return pack_points([(x, y) for x, y in cv2.convexHull(points)[:, 0].tolist()])
