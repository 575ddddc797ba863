import csv
import io

from documents import INFO, ODD, blank, export, failed, scan

from quillread.errors import Fault
from quillread.formats.plain import COLUMNS
from quillread.types import Line, Page, Polygon, Region, Scan, Transcript


def rows(*scans: Scan, fault: Fault | None = None) -> list[dict[str, str]]:
    text = export("csv", *scans, fault=fault).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_each_line_is_a_row():
    found = rows(scan(1), blank(2))
    assert [row["text"] for row in found] == ["Dear Sir,", "I am, yours", ODD, ""]
    assert [(row["page"], row["region"], row["line"]) for row in found] == [
        ("1", "1", "1"),
        ("1", "1", "2"),
        ("1", "2", "3"),
        ("1", "2", "4"),
    ]


def test_a_row_says_where_the_line_is_and_how_sure_it_is():
    first = rows(scan())[0]
    assert (first["confidence"], first["baseline"]) == ("0.75", "100,140 370,140")
    assert [float(first[name]) for name in ("x0", "y0", "x1", "y1")] == [95, 95, 375, 155]


def test_a_page_that_failed_is_a_row_with_its_fault():
    found = rows(failed(2), scan(3))
    assert (found[0]["page"], found[0]["text"]) == ("2", "")
    assert found[0]["error"].startswith("letters/a&b.pdf, page 2: broken")


def test_an_input_that_failed_is_a_row_with_its_fault():
    (row,) = rows(fault=Fault("image", "a: broken", "mend it"))
    assert (row["source"], row["error"]) == (INFO.source, "a: broken\n  hint: mend it")


def test_every_row_has_all_columns():
    text = export("csv", scan(), failed(), fault=Fault("image", "x")).decode()
    assert {len(row) for row in csv.reader(io.StringIO(text, newline=""))} == {len(COLUMNS)}


def test_cells_that_a_spreadsheet_would_compute_are_marked_as_text():
    texts = ("=1+2", "- Non", "+1", "@a", "a = b", "'tis", "−1", "＝1")
    page = Page("=a.pdf", 1, 9, 9, (Region(BOX, tuple(written(text) for text in texts)),))
    found = rows(Scan(page))
    assert [row["text"] for row in found] == ["'=1+2", "'- Non", "'+1", "'@a", "a = b", "'tis", "−1", "'＝1"]
    assert {row["x0"] for row in found} == {"-1.0"}


def test_the_table_says_which_code_it_is_in():
    assert export("csv", scan()).startswith(b"\xef\xbb\xbfsource,page,")


BOX = Polygon(((-1.0, 0.0), (9.0, 0.0), (9.0, 9.0)))


def written(text: str) -> Line:
    return Line(((0.0, 9.0), (9.0, 9.0)), BOX, Transcript(text, 0.5))
