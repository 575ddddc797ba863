import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from documents import blank, box, export, failed, line, scan

from quillread.errors import Fault
from quillread.types import Line, Page, Region, Scan

SPACE = "{http://www.w3.org/1999/xhtml}"


def elements(kind: str, content: bytes) -> list[ElementTree.Element]:
    return [element for element in ElementTree.fromstring(content).iter() if element.get("class") == kind]


def properties(element: ElementTree.Element) -> dict[str, str]:
    parts = (part.strip().partition(" ") for part in element.get("title", "").split(";"))
    return {name: value for name, _, value in parts}


def test_pages_have_image_size_and_number():
    content = export("hocr", scan(1), failed(2), blank(3))
    assert [properties(page) for page in elements("ocr_page", content)] == [
        {"image": '"a&b.pdf"', "bbox": "0 0 1000 1400", "ppageno": "0"},
        {"image": '"a&b.pdf"', "bbox": "0 0 0 0", "ppageno": "1"},
        {"image": '"a&b.pdf"', "bbox": "0 0 1000 1400", "ppageno": "2"},
    ]


def test_no_language_is_claimed():
    root = ElementTree.fromstring(export("hocr", scan()))
    assert not [name for name in root.attrib if name.endswith("lang")]


def test_words_stand_where_they_are_written():
    first, second = elements("ocrx_word", export("hocr", scan()))[:2]
    assert (first.text, properties(first)) == ("Dear", {"bbox": "100 100 220 150", "x_wconf": "88"})
    assert (second.text, properties(second)["bbox"]) == ("Sir,", "250 100 370 150")


def test_the_baseline_is_relative_to_the_lower_left_corner_of_the_line():
    line = elements("ocr_line", export("hocr", scan()))[0]
    assert properties(line)["baseline"] == "0.000 -15"
    assert properties(line)["bbox"] == "95 95 375 155"


def test_a_line_that_was_not_read_is_there_without_words():
    assert [len(line) for line in elements("ocr_line", export("hocr", scan()))] == [2, 3, 5, 0]


def test_words_within_the_capabilities_that_the_head_names_only():
    content = export("hocr", scan())
    named = set(re.search(r'ocr-capabilities" content="([^"]*)"', content.decode())[1].split())  # type: ignore[index]
    used = {element.get("class") for element in ElementTree.fromstring(content).iter() if element.get("class")}
    assert used <= named


def test_ids_are_unique():
    root = ElementTree.fromstring(export("hocr", scan(1), scan(2)))
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_a_page_that_failed_says_why():
    assert "<!-- not read: letters/a&amp;b.pdf, page 2: broken" in export("hocr", failed()).decode()


def test_a_fault_with_dashes_keeps_the_document_well_formed():
    page = failed(2)
    content = export("hocr", replace(page, page=replace(page.page, fault=Fault("image", "a---b.jpg: cannot be read"))))
    assert len(elements("ocr_page", content)) == 1


@pytest.mark.parametrize(
    ("end", "angle"),
    [((100, 20), "90"), ((100, 900), "270"), ((20, 201), "181"), ((180, 20), "66"), ((300, 260), None)],
)
def test_a_line_that_is_upright_or_upside_down_has_its_angle(end: tuple[float, float], angle: str | None):
    item = Line(((100.0, 200.0), end), box(20, 20, 300, 900), None)
    page = Page("a", 1, 1000, 1000, (Region(item.polygon, (item,)),))
    found = properties(elements("ocr_line", export("hocr", Scan(page)))[0])
    assert found.get("textangle") == angle
    assert ("baseline" in found) is (angle is None)


def test_words_stand_within_their_line():
    wide = line("Dear Sir", 100)
    narrow = replace(wide, polygon=box(110, 105, 300, 140))
    shown = Scan(Page("a.png", 1, 1000, 1400, (Region(narrow.polygon, (narrow,)),)))
    text = export("hocr", shown).decode()
    boxes = [list(map(int, numbers.split())) for numbers in re.findall(r"ocrx_word[^>]*bbox ([\d ]+);", text)]
    assert len(boxes) == 2
    for x0, y0, x1, y1 in boxes:
        assert 109 <= x0 < x1 <= 301 and 104 <= y0 < y1 <= 141


def test_regions_are_called_what_they_are():
    kinds = ("heading", "margin", "table", "picture")
    shown = [Region(box(90, y, 500, y + 60), (line("Dear", y),) if y < 400 else (), kind=kind)
             for y, kind in zip((100, 200, 300, 400), kinds, strict=True)]  # fmt: skip
    content = export("hocr", replace(scan(), page=Page("a.png", 1, 1000, 1400, tuple(shown))))
    for name in ("ocr_header", "ocr_textfloat", "ocr_table", "ocr_photo"):
        (found,) = elements(name, content)
        assert "bbox" in properties(found)
    assert len(elements("ocr_line", content)) == 1  # of the table
    assert list(elements("ocr_photo", content)[0]) == []
