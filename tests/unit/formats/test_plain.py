from quillread.formats.plain import to_text
from quillread.types import Line, Page, Polygon, Reading, Region, Transcript

BOX = Polygon(((0.0, 0.0), (9.0, 0.0), (9.0, 9.0)))


def region(*texts: str | None) -> Region:
    base = ((0.0, 9.0), (9.0, 9.0))
    return Region(BOX, tuple(Line(base, BOX, None if t is None else Transcript(t, 1.0)) for t in texts))


def reading(*pages: tuple[Region, ...]) -> Reading:
    return Reading("a.pdf", tuple(Page("a.pdf", i + 1, 9, 9, regions) for i, regions in enumerate(pages)))


def test_each_line_of_writing_is_a_line():
    assert to_text(reading((region("one", "two"),))) == "one\ntwo\n"


def test_regions_and_pages_are_parted_by_an_empty_line():
    assert to_text(reading((region("one"), region("two")), (region("three"),))) == "one\n\ntwo\n\nthree\n"


def test_lines_without_text_leave_no_trace():
    assert to_text(reading((region("one", "", None, "two"), region("")))) == "one\ntwo\n"


def test_a_blank_page_is_an_empty_text():
    assert to_text(reading(())) == ""


def test_a_page_that_failed_leaves_the_text_of_the_others():
    good = Page("a.pdf", 2, 9, 9, (region("two"),))
    assert to_text(Reading("a.pdf", (Page("a.pdf", 1, 0, 0, error="broken"), good))) == "two\n"
