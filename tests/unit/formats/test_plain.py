from documents import INFO, blank, export, failed, scan

from quillread.errors import Fault
from quillread.types import Line, Page, Polygon, Region, Scan, Transcript

BOX = Polygon(((0.0, 0.0), (9.0, 0.0), (9.0, 9.0)))


def region(*texts: str | None) -> Region:
    base = ((0.0, 9.0), (9.0, 9.0))
    return Region(BOX, tuple(Line(base, BOX, None if t is None else Transcript(t, 1.0)) for t in texts))


def to_text(*pages: tuple[Region, ...]) -> str:
    return export("txt", *(Scan(Page("a.pdf", i + 1, 9, 9, regions)) for i, regions in enumerate(pages))).decode()


def test_each_line_of_writing_is_a_line():
    assert to_text((region("one", "two"),)) == "one\ntwo\n"


def test_regions_and_pages_are_parted_by_an_empty_line():
    assert to_text((region("one"), region("two")), (region("three"),)) == "one\n\ntwo\n\nthree\n"


def test_lines_without_text_leave_no_trace():
    assert to_text((region("one", "", None, "two"), region(""))) == "one\ntwo\n"


def test_a_blank_page_is_an_empty_text():
    assert to_text(()) == ""


def test_a_page_that_failed_does_not_look_blank():
    text = export("txt", failed(1), blank(2), scan(3)).decode()
    assert text.startswith("[page 1 could not be read]\n\nDear Sir,\nI am, yours\n\n")


def test_an_input_that_failed_has_no_text():
    assert export("txt", fault=Fault("image", f"{INFO.source}: broken")) == b""
