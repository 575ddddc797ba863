from dataclasses import replace

import pytest
from documents import INFO, blank, export, failed, line, scan

from quillread.types import DocumentInfo, Page, Polygon, Region, Scan

BOX = Polygon(((0.0, 0.0), (9.0, 0.0), (9.0, 9.0)))


def markdown_of(text: str) -> str:
    page = Page("a.png", 1, 900, 900, (Region(BOX, (line(text, 0),)),))
    return export("md", Scan(page), info=DocumentInfo("a.png")).decode()


def test_regions_are_paragraphs_whose_lines_stay_lines():
    one = export("md", scan(), info=replace(INFO, page_count=1)).decode()
    assert one.startswith("Dear Sir,\\\nI am, yours\n\na\\<b\\>")


def test_pages_of_a_document_have_headings():
    text = export("md", scan(1), failed(2), blank(3)).decode()
    assert [row for row in text.splitlines() if row.startswith("#")] == ["## Page 1", "## Page 2", "## Page 3"]


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("No. #", "No. \\#"),
        ("a ## ", "a \\## "),
        ("C#", "C#"),
        ("# 5 #", "\\# 5 \\#"),
        ("# of", "\\# of"),
        ("#", "\\#"),
    ],
)
def test_a_number_sign_at_the_end_of_a_heading_is_seen(text, written):
    heading = Region(BOX, (line(text, 0),), kind="heading")
    page = Page("a.png", 1, 900, 900, (heading,))
    assert export("md", Scan(page), info=DocumentInfo("a.png")).decode() == f"### {written}\n"


def test_a_page_that_failed_says_why():
    assert "> **Not read:** letters/a\\&b.pdf, page 2: broken hint: scan it again" in export("md", failed(2)).decode()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("# 5 boxes", "\\# 5 boxes"),
        ("- a dash", "\\- a dash"),
        ("12. May", "12\\. May"),
        ("1850", "1850"),
        ("2*3_4", "2\\*3\\_4"),
        ("[sic] <i>", "\\[sic\\] \\<i\\>"),
        ("===", "\\==="),
        ("⟦a*b⟧ ⸌new⸍", "<del>a\\*b</del> <add>new</add>"),
        ("d⟨omi⟩n⟨u⟩s […]", "d<ex>omi</ex>n<ex>u</ex>s <gap/>"),
    ],
)
def test_signs_of_the_text_are_no_signs_of_markdown(text: str, written: str):
    assert markdown_of(text) == f"{written}\n"
