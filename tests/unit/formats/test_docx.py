import io
import time

import docx
import pytest
from documents import blank, export, failed, scan


def paragraphs(*names: str) -> list[str]:
    content = export("docx", *({"scan": scan, "failed": failed, "blank": blank}[name]() for name in names))
    return [paragraph.text for paragraph in docx.Document(io.BytesIO(content)).paragraphs]


def test_regions_are_paragraphs_whose_lines_stay_lines():
    first, second = paragraphs("scan")
    assert first == "Dear Sir,\nI am, yours"
    assert second == 'a<b>&"c" \ufffd \U0001d518 שלום e\u0301'


def test_each_page_begins_on_a_new_page():
    content = export("docx", scan(1), blank(2), scan(3))
    breaks = [p.contains_page_break for p in docx.Document(io.BytesIO(content)).paragraphs]
    assert breaks == [False, False, False, False, False]
    texts = [p._p.xml.count('w:type="page"') for p in docx.Document(io.BytesIO(content)).paragraphs]
    assert texts == [0, 0, 1, 1, 0]


def test_a_page_that_failed_says_why():
    assert paragraphs("scan", "failed")[2].strip().startswith("[page 2 could not be read: letters/a&b.pdf, page 2: b")


def test_the_same_pages_give_the_same_file_at_any_time(monkeypatch: pytest.MonkeyPatch):
    files = []
    for year in (1999, 2026):
        monkeypatch.setattr("time.localtime", lambda *_, year=year: time.struct_time((year, 1, 2, 3, 4, 5, 0, 2, 0)))
        files.append(export("docx", scan()))
    assert files[0] == files[1]
