from dataclasses import replace

import pytest
from documents import box, export, failed, scan, schema
from lxml import etree

from quillread.errors import DataError
from quillread.formats.alto import read_alto
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


TWO = """<alto>{order}<Layout><Page WIDTH="800" HEIGHT="600"><PrintSpace>{blocks}</PrintSpace></Page></Layout></alto>"""


def block(name: str, *lines: str, rest: str = "") -> str:
    items = "".join(f'<TextLine ID="{n}" HPOS="1" VPOS="1" WIDTH="9" HEIGHT="9"/>' for n in lines)
    return f'<TextBlock ID="{name}" {rest}>{items}</TextBlock>'


def ids(page: Page) -> list[str | None]:
    return [line.id for line in page.lines]


def test_blocks_and_lines_come_in_the_reading_order(read):
    order = """<ReadingOrder><OrderedGroup ID="g"><ElementRef ID="e0" REF="whole"/><ElementRef ID="e1" REF="b2 b1"/>
      <OrderedGroup ID="h"><ElementRef ID="e2" REF="l4"/><ElementRef ID="e3" REF="l3"/></OrderedGroup></OrderedGroup>
      <OrderedGroup ID="other"><ElementRef ID="e4" REF="b1"/></OrderedGroup></ReadingOrder>"""
    whole = f'<ComposedBlock ID="whole">{block("b5", "l6")}</ComposedBlock>'
    blocks = block("b1", "l1") + block("b2", "l2") + block("b3", "l3", "l5", "l4") + block("b4", "l7") + whole
    assert ids(read(TWO.format(order=order, blocks=blocks))) == ["l6", "l2", "l1", "l4", "l3", "l5", "l7"]


def test_blocks_follow_the_one_that_names_them(read):
    figure = '<Illustration ID="f" IDNEXT="b2"/>'
    blocks = block("b1", "l1") + block("b2", "l2", rest='IDNEXT="b1"') + figure + block("b3", "l3", rest='IDNEXT="f"')
    assert ids(read(TWO.format(order="", blocks=blocks))) == ["l3", "l2", "l1"]
    circle = block("b1", "l1", rest='IDNEXT="b2"') + block("b2", "l2", rest='IDNEXT="b1"')
    assert ids(read(TWO.format(order="", blocks=circle))) == ["l1", "l2"]


def test_a_page_may_be_without_its_size(read):
    page = read(ALTO.replace('WIDTH="800" HEIGHT="600"', ""))
    assert (page.width, page.height, len(page.lines)) == (0, 0, 2)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ('<String CONTENT="re-"/><HYP CONTENT="-"/>', "re-"),
        ('<String CONTENT="re"/><HYP CONTENT="&#173;"/>', "re-"),
        ('<String CONTENT="re"/><HYP/>', "re-"),
        ('<String CONTENT=""><Glyph CONTENT="r"/><Glyph CONTENT="e"/></String>', "re"),
        ('<String CONTENT="a&#10;  b"/><!-- no text --><SP/><String CONTENT="c"/>', "a b c"),
    ],
)
def test_text_is_that_of_the_paper(read, word, text):
    assert read(ALTO.replace('<String CONTENT="second"/>', word)).lines[1].transcript.text == text


def test_a_line_without_a_box_has_that_of_its_strings(read):
    words = '<String CONTENT="a" HPOS="5" VPOS="9" WIDTH="9" HEIGHT="9"/>'
    page = read(
        ALTO.replace('ID="l2" HPOS="10" VPOS="110" WIDTH="680" HEIGHT="70"><String CONTENT="second"/>', f">{words}")
    )
    assert page.lines[1].polygon == box(5, 9, 14, 18)


def test_a_baseline_of_one_place_is_none(read):
    page = read(ALTO.replace("10 60 300 61.5 690 60", "50,60 50,60"))
    assert page.lines[0].baseline == ((10, 80), (690, 80))


@pytest.mark.parametrize("kind", ["heading", "margin", "table", "picture", "text"])
def test_the_kind_of_a_block_is_written_and_read(tmp_path, kind):
    known = scan().page
    regions = (replace(known.regions[0], kind=kind), known.regions[1])
    path = tmp_path / "written.xml"
    path.write_bytes(export("alto", replace(scan(), page=replace(known, regions=regions))))
    assert [region.kind for region in read_alto(path).regions] == [kind, "text"]


def test_a_picture_without_lines_is_an_illustration():
    regions = (*scan().page.regions, Region(box(10, 900, 400, 1200), (), kind="picture"))
    root = etree.fromstring(export("alto", replace(scan(), page=replace(scan().page, regions=regions))))
    (found,) = root.iterfind(".//{*}Illustration")
    (tag,) = root.iterfind(".//{*}OtherTag")
    assert (found.get("TAGREFS"), found.get("HPOS"), tag.get("LABEL")) == (tag.get("ID"), "10", "image")


def test_tags_of_others_leave_a_block_text(read):
    tags = '<Tags><OtherTag ID="x" LABEL="MainZone"/></Tags><Layout>'
    text = ALTO.replace("<Layout>", tags).replace('<TextBlock ID="t"', '<TextBlock ID="t" TAGREFS="x y"')
    assert read(text).regions[0].kind == "text"
