"""Along what the lines of a page are cut out: for reading, teaching and export alike."""

from sqlalchemy.orm import Session

from quillread import types
from quillread.formats.outlines import outline_lines
from quillread.formats.xml_io import rectangle
from quillread.images.crop import Outline
from quillread.serve.archive.layouts import live_lines, place_of
from quillread.serve.database.schema import Page
from quillread.types import Polygon, Region


def find_outlines(session: Session, page: Page, outline: Outline) -> dict[int, types.Line]:
    """Find along what each line of a page is cut out.

    Lines that were found have an outline that holds them whole, and are cut out along it, as when they were found.
    Those that a person or an import has placed are cut out along `outline`, which goes by how far all lines of the page
    are apart: so it matters not which of them are wanted.

    Args:
        session: Of the database.
        page: In it.
        outline: That of `crop` in the options of the collection.

    Returns:
        The lines by their ids, with these outlines.
    """
    rows = live_lines(session, page.id)
    places = [place_of(row) for row in rows]
    around = Polygon(rectangle([point for place in places for point in place.polygon.points])) if places else None
    regions = (Region(around, tuple(places)),) if around else ()
    drawn = outline_lines(types.Page("", 1, page.width, page.height, regions), outline).lines
    return {row.id: line if row.drawn else place for row, place, line in zip(rows, places, drawn, strict=True)}
