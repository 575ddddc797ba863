from dataclasses import replace
from pathlib import Path

import pytest
from documents import blank, box, export, failed, page, scan, schema
from lxml import etree

from quillread.errors import DataError
from quillread.formats.alto import read_alto
from quillread.formats.export import Scan
from quillread.types import Line, Page, Region, Transcript

ALTO = """<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">
  <Description><MeasurementUnit>pixel</MeasurementUnit>
    <sourceImageInformation><fileName>letter.jpg</fileName></sourceImageInformation></Description>
  <Layout><Page WIDTH="800" HEIGHT="600"><PrintSpace>
    <TextBlock ID="t" HPOS="0" VPOS="0" WIDTH="700" HEIGHT="200">
      <TextLine ID="l1" BASELINE="10 60 300 61.5 690 60" HPOS="10" VPOS="10" WIDTH="680" HEIGHT="70">
        <Shape><Polygon POINTS="10 10 690 10 690 80"/></Shape>
        <String CONTENT="first"/><SP/><String CONTENT="line"/></TextLine>
      <TextLine ID="l2" HPOS="10" VPOS="110" WIDTH="680" HEIGHT="70"><String CONTENT="second"/></TextLine>
    </TextBlock>
    <TextBlock ID="empty" HPOS="0" VPOS="0" WIDTH="1" HEIGHT="1"/>
  </PrintSpace></Page></Layout>
</alto>"""


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "letter.xml"
        path.write_text(text, encoding="utf-8")
        return read_alto(path)

    return read


@pytest.mark.parametrize("namespace", ['xmlns="http://www.loc.gov/standards/alto/ns-v2#"', 'xmlns="urn:any"', ""])
def test_any_namespace_is_read(read, namespace):
    page = read(ALTO.replace('xmlns="http://www.loc.gov/standards/alto/ns-v4#"', namespace))
    assert (page.source, page.width, page.height, len(page.lines)) == ("letter.jpg", 800, 600, 2)


def test_words_are_joined_at_their_spaces(read):
    assert read(ALTO).text == "first line\nsecond"


def test_words_without_any_space_element_are_joined_by_spaces(read):
    assert read(ALTO.replace("<SP/>", "")).text == "first line\nsecond"


def test_a_baseline_keeps_its_points(read):
    assert read(ALTO).lines[0].baseline == ((10, 60), (300, 61.5), (690, 60))


def test_points_with_commas_are_read(read):
    assert read(ALTO.replace("10 60 300 61.5 690 60", "10,60 690,60")).lines[0].baseline == (
        (10, 60),
        (690, 60),
    )


def test_a_baseline_of_one_number_is_level(read):
    assert read(ALTO.replace("10 60 300 61.5 690 60", "60")).lines[0].baseline == ((10, 60), (690, 60))


def test_a_line_without_baseline_stands_on_its_box(read):
    assert read(ALTO).lines[1].baseline == ((10, 180), (690, 180))


def test_blocks_without_lines_are_left_out(read):
    assert len(read(ALTO).regions) == 1


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("300 61.5", "300 x", "TextLine l1.*malformed point"),
        ("300 61.5", "300", "not a list of points"),
        ('WIDTH="800"', 'WIDTH="wide"', "'wide'"),
        (">pixel<", ">mm10<", "'mm10'"),
        ('ID="l2" HPOS="10"', 'ID="l2"', "l2 has neither"),
        ("Page", "Sheet", "without a Page"),
        ("</alto>", "", "malformed XML"),
        ("alto", "Other", "'Other'"),
    ],
)
def test_faults_name_the_file_and_the_fault(read, old, new, fault):
    with pytest.raises(DataError, match=f"letter.xml.*{fault}"):
        read(ALTO.replace(old, new))


def test_a_document_type_is_refused(read):
    with pytest.raises(DataError, match="document type"):
        read(ALTO.replace("?>", '?><!DOCTYPE alto [<!ENTITY a "a">]>', 1))


def written(tmp_path: Path, item: Scan) -> Page:
    """Write a page and read it again."""
    path = tmp_path / "written.xml"
    path.write_bytes(export("alto", item))
    return read_alto(path)


@pytest.mark.parametrize("item", [scan(1), failed(2), blank(3)], ids=["page", "failed", "blank"])
def test_what_is_written_fits_the_schema(item: Scan):
    document = etree.fromstring(export("alto", item))
    schema("alto-4-4.xsd").assertValid(document)


def test_a_page_that_is_written_is_read_again(tmp_path: Path):
    found, source = written(tmp_path, scan()), page()
    assert (found.source, found.width, found.height) == ("a&b.pdf", 1000, 1400)
    assert [region.polygon for region in found.regions] == [region.polygon for region in source.regions]
    assert [line.baseline for line in found.lines] == [line.baseline for line in source.lines]
    assert [line.polygon for line in found.lines] == [line.polygon for line in source.lines]
    assert found.text == source.text.replace("\u0007", "\ufffd")


def test_regions_are_written_in_reading_order(tmp_path: Path):
    item = scan()
    turned = replace(item, page=replace(item.page, regions=item.page.regions[::-1]))
    assert [r.polygon for r in written(tmp_path, turned).regions] == [r.polygon for r in turned.page.regions]


def test_names_from_a_segmentation_are_kept(tmp_path: Path):
    first, second = page().regions
    lines = (replace(first.lines[0], id="eSc_line_7"), replace(first.lines[1], id="r2"))
    item = replace(scan(), page=replace(page(), regions=(replace(first, id="eSc_block_1", lines=lines), second)))
    found = written(tmp_path, item)
    assert found.regions[0].id == "eSc_block_1"
    assert [line.id for line in found.regions[0].lines] == ["eSc_line_7", "r2"]
    ids = [element.get("ID") for element in etree.fromstring(export("alto", item)).iter() if element.get("ID")]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("bad", ["1 a", "", "é", "same"])
def test_names_that_xml_does_not_allow_or_that_occur_twice_are_replaced(bad: str):
    first, second = page().regions
    lines = tuple(replace(line, id=bad) for line in first.lines)
    item = replace(scan(), page=replace(page(), regions=(replace(first, lines=lines), second)))
    schema("alto-4-4.xsd").assertValid(etree.fromstring(export("alto", item)))


def test_confidences_of_words_are_written():
    words = etree.fromstring(export("alto", scan())).iter("{*}String")
    assert {word.get("WC") for word in words if word.get("CONTENT")} == {"0.8750"}


def test_a_page_that_failed_says_why():
    assert "not read: letters/a&amp;b.pdf, page 2: broken" in export("alto", failed()).decode()


def test_points_beyond_the_page_are_moved_to_its_border():
    item = Line(((-20.0, 40.0), (1300.0, 40.0)), box(-20, -9, 1300, 60), Transcript("a", 1.0))
    over = replace(scan(), page=Page("a", 1, 1000, 1400, (Region(item.polygon, (item,)),)))
    schema("alto-4-4.xsd").assertValid(etree.fromstring(export("alto", over)))


def test_a_hyphen_belongs_to_the_word_before_it(read):
    hyphen = '<String CONTENT="Buch"/><HYP CONTENT="-"/></TextLine>\n    </TextBlock>'
    page = read(ALTO.replace('<String CONTENT="second"/></TextLine>\n    </TextBlock>', hyphen))
    assert page.lines[1].transcript.text == "Buch-"


def test_a_line_with_empty_places_is_refused_by_name(read):
    place = 'ID="l2" HPOS="10" VPOS="110" WIDTH="680" HEIGHT="70"'
    with pytest.raises(DataError, match="l2 has neither"):
        read(ALTO.replace(place, 'ID="l2" HPOS="" VPOS="" WIDTH="" HEIGHT=""'))
