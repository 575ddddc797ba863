"""Search in all texts that one may see, with the place on the page."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from quillread.serve.api.lines import Points
from quillread.serve.api.request import After, TheActor, TheArchive
from quillread.serve.archive.search import search

router = APIRouter(tags=["search"])

Id = Annotated[int | None, Query(ge=1, lt=1 << 62)]


class MatchOut(BaseModel):
    """Where words that were searched for are."""

    start: int
    """First character in the text."""
    end: int
    polygon: Points | None
    """On the page."""


class FoundLine(BaseModel):
    """A line that was found."""

    line_id: int
    page_id: int
    document_id: int
    collection_id: int
    document_name: str
    page_number: int
    """In its document, from 1."""
    page_size: tuple[int, int]
    """Width and height of the page."""
    text: str
    checked: bool
    in_alternative: bool
    """Whether some of the words are in a doubtful reading only: `matches` are what stands in their place."""
    matches: list[MatchOut]
    polygon: Points


class FoundLines(BaseModel):
    """Lines that were found."""

    items: list[FoundLine]
    next: int | None = Field(description="Ask for those `after` it; null if these are the last")


@router.get("/search", response_model=FoundLines)
def get_search(
    archive: TheArchive,
    actor: TheActor,
    q: Annotated[str, Query(max_length=500, description='Words that must all occur, "phrases", beginnings*')],
    collection_id: Id = None,
    document_id: Id = None,
    page_id: Id = None,
    limit: Annotated[int, Query(ge=1, le=100, description="At most so many")] = 20,
    after: After = None,
) -> Response:
    """Find lines by their words; accents, case, long s, ligatures and typography do not count."""
    with archive.database.read() as session:
        places = {"collection_id": collection_id, "document_id": document_id, "page_id": page_id}
        items, next_after = search(session, actor, q, **places, after=after, limit=limit)
    return JSONResponse({"items": items, "next": next_after})
