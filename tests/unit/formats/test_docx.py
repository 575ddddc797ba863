import io
import time
from dataclasses import replace

import docx
import pytest
from documents import INFO, blank, export, failed, scan
from docx.enum.text import WD_COLOR_INDEX

from quillread.types import DocumentInfo, Line, Page, Polygon, Region, Scan, Transcript, Word

BOX = Polygon(((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0)))


def paragraphs(*names: str) -> list[str]:
    content = export("docx", *({"scan": scan, "failed": failed, "blank": blank}[name]() for name in names))
    return [paragraph.text for paragraph in docx.Document(io.BytesIO(content)).paragraphs]


def test_regions_are_paragraphs_whose_lines_stay_lines():
    heading, first, second = paragraphs("scan")
    assert heading == "Page 1"
    assert first == "Dear Sir,\nI am, yours"
    assert second == 'a<b>&"c" \ufffd \U0001d518 שלום e\u0301'


def test_each_page_begins_on_a_new_page_with_a_heading():
    content = export("docx", scan(1), blank(2), scan(3))
    found = docx.Document(io.BytesIO(content)).paragraphs
    headings = [p for p in found if p.style.name == "Heading 1"]
    assert [p.text for p in headings] == ["Page 1", "Page 2", "Page 3"]
    assert [p.paragraph_format.page_break_before for p in headings] == [None, True, True]
    assert len(found) == 3 + 2 + 2


def test_an_only_page_has_no_heading():
    content = export("docx", scan(), info=replace(INFO, page_count=1))
    assert docx.Document(io.BytesIO(content)).paragraphs[0].text == "Dear Sir,\nI am, yours"


def test_words_in_doubt_are_marked():
    words = [Word(text, confidence, BOX) for text, confidence in (("a", 0.9), ("b", 0.9), ("c", 0.7), ("d", 0.1))]
    read = Transcript("a b c d", 0.5, tuple(words))
    page = Page("a.png", 1, 9, 9, (Region(BOX, (Line(((0.0, 9.0), (9.0, 9.0)), BOX, read),)),))
    content = export("docx", Scan(page), info=DocumentInfo("a.png"))
    (paragraph,) = docx.Document(io.BytesIO(content)).paragraphs
    assert paragraph.text == "a b c d"
    marks = [(run.text, run.font.highlight_color) for run in paragraph.runs if run.text.strip()]
    assert marks == [("a b", None), ("c", WD_COLOR_INDEX.YELLOW), ("d", WD_COLOR_INDEX.RED)]


def test_a_page_that_failed_says_why():
    assert paragraphs("scan", "failed")[4].strip().startswith("[page 2 could not be read: letters/a&b.pdf, page 2: b")


def test_the_same_pages_give_the_same_file_at_any_time(monkeypatch: pytest.MonkeyPatch):
    files = []
    for year in (1999, 2026):
        monkeypatch.setattr("time.localtime", lambda *_, year=year: time.struct_time((year, 1, 2, 3, 4, 5, 0, 2, 0)))
        files.append(export("docx", scan()))
    assert files[0] == files[1]


def test_marks_of_editors_are_formatted():
    text = "⟦old ⸌new⸍⟧ d⟨omi⟩n […]"
    page = Page("a.png", 1, 9, 9, (Region(BOX, (Line(((0.0, 9.0), (9.0, 9.0)), BOX, Transcript(text, 1.0)),)),))
    content = export("docx", Scan(page), info=DocumentInfo("a.png"))
    runs = docx.Document(io.BytesIO(content)).paragraphs[0].runs
    shown = [(run.text, bool(run.font.strike), bool(run.font.superscript), bool(run.italic)) for run in runs]
    assert shown == [
        ("old ", True, False, False),
        ("new", True, True, False),
        (" d", False, False, False),
        ("omi", False, False, True),
        ("n ", False, False, False),
        ("[…]", False, False, False),
    ]
