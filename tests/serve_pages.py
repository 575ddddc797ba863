"""Pages for the tests of the server."""

from sqlalchemy.orm import Session

from quillread import types
from quillread.serve.archive.readings import apply_reading
from quillread.serve.database.schema import Collection, Document, Page
from quillread.types import Alternative, Line, Point, Polygon, Region, Transcript, Word

PROVENANCE = {"software": "quillread", "model": "builtin"}


def box(x0: float, y0: float, x1: float, y1: float) -> Polygon:
    return Polygon(((x0, y0), (x1, y0), (x1, y1), (x0, y1)))


def found_line(
    text: str, top: float, x0: float = 100.0, *, step: float = 10.0, sure: float = 0.9, others: tuple[str, ...] = ()
) -> Line:
    """A line of letters `step` pixels wide each, 40 pixels high, as a reader finds it."""
    words, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        words.append(Word(word, sure, box(x0 + at * step, top, x0 + (at + len(word)) * step, top + 40)))
        at += len(word)
    x1 = x0 + max(len(text), 1) * step
    baseline: tuple[Point, ...] = ((x0, top + 30), (x1, top + 30))
    alternatives = tuple(Alternative(other, 0.1) for other in others)
    read = Transcript(text, sure, tuple(words), alternatives=alternatives, expected_error=0.1)
    return Line(baseline, box(x0, top, x1, top + 40), read)


def found_page(*lines: Line, regions: tuple[Region, ...] = ()) -> types.Page:
    """A page of 1000 x 1000 pixels, as a reader finds it."""
    if lines:
        regions = (*regions, Region(box(50, 0, 950, 1000), lines))
    return types.Page("scan.jpg", 1, 1000, 1000, regions)


def new_page(session: Session, collection: str = "Letters", document: str = "Letter") -> Page:
    """A page without lines, in a collection and a document of its own."""
    made = Collection(name=collection)
    session.add(made)
    session.flush()
    letter = Document(collection_id=made.id, name=document)
    session.add(letter)
    session.flush()
    page = Page(document_id=letter.id, width=1000, height=1000, source_name="scan.jpg")
    session.add(page)
    session.flush()
    return page


def read_page(session: Session, page: Page, *lines: Line, fingerprint: str = "one") -> None:
    """Put lines into a page as a reader finds them."""
    apply_reading(session, page, found_page(*lines), PROVENANCE, fingerprint)
