from dataclasses import replace

import pytest
from documents import box, export, failed, line, scan, schema
from lxml import etree

from quillread.errors import DataError
from quillread.formats.pagexml import read_page_xml
from quillread.types import Line, Page, Region, Scan, Transcript

PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">
  <Page imageFilename="letter.jpg" imageWidth="800" imageHeight="600">
    <ReadingOrder><OrderedGroup id="g">
      <RegionRefIndexed index="1" regionRef="a"/><RegionRefIndexed index="0" regionRef="b"/>
    </OrderedGroup></ReadingOrder>
    <TextRegion id="a"><Coords points="0,100 700,100 700,200"/>
      <TextLine id="a1"><Coords points="10,110 690,110 690,180"/><Baseline points="10,160 690,170"/>
        <TextEquiv index="1"><Unicode>worse</Unicode></TextEquiv>
        <TextEquiv index="0"><Unicode>second line </Unicode></TextEquiv></TextLine>
    </TextRegion>
    <TextRegion id="b"><Coords points="0,0 700,0 700,90"/>
      <TextLine id="b1"><Coords points="10,10 690,10 690,80"/><Baseline points="10,60 300,61.5 690,60"/>
        <Word id="w"><TextEquiv><Unicode>first</Unicode></TextEquiv></Word>
        <TextEquiv><Unicode>first line</Unicode></TextEquiv></TextLine>
    </TextRegion>
    <TextRegion id="c"><Coords points="0,0 1,0 1,1"/></TextRegion>
  </Page>
</PcGts>"""


@pytest.mark.parametrize(("name", "kind"), [("heading", "heading"), ("marginalia", "margin"), ("paragraph", "text")])
def test_the_kind_of_a_region_is_read(tmp_path, name, kind):
    path = tmp_path / "letter.xml"
    path.write_text(PAGE.replace('id="a">', f'id="a" type="{name}">'), encoding="utf-8")
    assert {region.id: region.kind for region in read_page_xml(path).regions} == {"a": kind, "b": "text"}


@pytest.fixture
def read(tmp_path):
    def read(text):
        path = tmp_path / "letter.xml"
        path.write_text(text, encoding="utf-8")
        return read_page_xml(path)

    return read


@pytest.mark.parametrize("version", ["2013", "2019"])
def test_both_versions_are_read(read, version):
    page = read(PAGE.replace("2019", version))
    assert (page.source, page.width, page.height) == ("letter.jpg", 800, 600)


def test_regions_come_in_reading_order(read):
    assert read(PAGE).text == "first line\n\nsecond line"


def test_baselines_keep_their_points(read):
    assert read(PAGE).lines[0].baseline == ((10, 60), (300, 61.5), (690, 60))


def test_regions_without_lines_are_left_out(read):
    assert len(read(PAGE).regions) == 2


def test_a_line_without_baseline_has_the_lower_edge_of_its_outline(read):
    assert read(PAGE.replace('<Baseline points="10,160 690,170"/>', "")).lines[1].baseline == ((10, 180), (690, 180))


def test_a_line_with_neither_baseline_nor_outline_is_left_out(read):
    bare = PAGE.replace('<Coords points="10,110 690,110 690,180"/><Baseline points="10,160 690,170"/>', "")
    assert len(read(bare).lines) == 1


def test_a_line_without_text_has_no_transcript(read):
    assert read(PAGE.replace("first line", "").replace("first", "")).lines[0].transcript is None


@pytest.mark.parametrize("empty", ["", " "])
def test_a_reading_without_text_does_not_hide_the_next(read, empty):
    assert read(PAGE.replace("second line ", empty)).lines[1].transcript.text == "worse"


def test_points_as_elements_are_read(read):
    old = '<Baseline><Point x="10" y="160"/><Point x="690" y="170"/></Baseline>'
    assert read(PAGE.replace('<Baseline points="10,160 690,170"/>', old)).lines[1].baseline == (
        (10, 160),
        (690, 170),
    )


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("10,60 300,61.5", "10,60 300,x", "malformed point.*x"),
        ("10,60 300,61.5", "10,60 300", "TextLine b1.*not a list of points"),
        ("10,60 300,61.5", "10,60 300,nan", "not a list of points"),
        ('imageWidth="800"', "", "imageWidth"),
        ('imageWidth="800"', 'imageWidth="-3"', "'-3'"),
        ("</PcGts>", "", "malformed XML"),
        ("PcGts", "Other", "'Other'"),
    ],
)
def test_faults_name_the_file_and_the_fault(read, old, new, fault):
    with pytest.raises(DataError, match=f"letter.xml.*{fault}"):
        read(PAGE.replace(old, new))


def test_a_file_without_page_is_refused(read):
    with pytest.raises(DataError, match="without a Page"):
        read("<PcGts/>")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.xml: cannot be read"):
        read_page_xml(tmp_path / "none.xml")


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE PcGts [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>',
        '<!DOCTYPE PcGts [<!ENTITY a SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE PcGts SYSTEM "http://localhost/page.dtd">',
    ],
)
def test_a_document_type_is_refused(read, doctype):
    with pytest.raises(DataError, match="document type"):
        read(PAGE.replace("?>", "?>" + doctype, 1).replace("first line", "&a;" if "ENTITY" in doctype else "x"))


def test_confidences_of_words_are_written():
    words = etree.fromstring(export("page", scan())).iter("{*}Word")
    assert {word.find("{*}TextEquiv").get("conf") for word in words} == {"0.8750"}


def test_a_page_that_failed_says_why():
    assert "not read: letters/a&amp;b.pdf, page 2: broken" in export("page", failed()).decode()


def test_points_beyond_the_page_are_moved_to_its_border():
    item = Line(((-20.0, 40.0), (1300.0, 40.0)), box(-20, -9, 1300, 60), Transcript("a", 1.0))
    over = replace(scan(), page=Page("a", 1, 1000, 1400, (Region(item.polygon, (item,)),)))
    schema("pagecontent-2019-07-15.xsd").assertValid(etree.fromstring(export("page", over)))


def test_lines_in_the_cells_of_a_table_are_read(read):
    cell = PAGE.replace('<TextRegion id="b">', '<TableRegion id="t"><TableCell id="b">', 1)
    head, _, tail = cell.partition('<TextRegion id="c">')
    first, _, last = head.rpartition("</TextRegion>")
    page = read(f'{first}</TableCell></TableRegion>{last}<TextRegion id="c">{tail}')
    assert [line.transcript.text for line in page.lines] == ["first line", "second line"]


def test_lines_come_in_the_order_of_transkribus(read):
    page = """<PcGts><Page imageFilename="a" imageWidth="9" imageHeight="99">
      <TextRegion id="r" custom="readingOrder {index:1;}"><Coords points="0,0 9,0 9,9"/>
        <TextLine id="c"><Coords points="0,0 9,0 9,9"/></TextLine>
        <TextLine id="b" custom="structure {type:x;} readingOrder {index:10;}"><Coords points="0,0 9,0 9,9"/></TextLine>
        <TextLine id="a" custom="readingOrder {index:2;}"><Coords points="0,0 9,0 9,9"/></TextLine>
      </TextRegion>
      <TextRegion id="s" custom="readingOrder {index:0;}"><Coords points="0,0 9,0 9,9"/>
        <TextLine id="d" custom="readingOrder {index:99999999999999999999;}"><Coords points="0,0 9,0 9,9"/></TextLine>
      </TextRegion></Page></PcGts>"""
    assert [line.id for line in read(page).lines] == ["d", "a", "b", "c"]


def test_regions_within_others_are_read_where_those_are(read):
    line = '<TextLine id="{}"><Coords points="0,0 9,0 9,9"/></TextLine>'
    page = f"""<PcGts><Page imageFilename="a" imageWidth="9" imageHeight="99">
      <ReadingOrder><OrderedGroup><RegionRefIndexed index="0" regionRef="table"/>
        <RegionRefIndexed index="1" regionRef="text"/></OrderedGroup></ReadingOrder>
      <TextRegion id="text">{line.format("d")}<TextRegion id="inner">{line.format("e")}</TextRegion></TextRegion>
      <TableRegion id="table"><TableCell id="c1">{line.format("a")}</TableCell>
        <TableCell id="c2">{line.format("b")}</TableCell></TableRegion>
      <TextRegion id="none">{line.format("f")}</TextRegion></Page></PcGts>"""
    assert [line.id for line in read(page).lines] == ["a", "b", "d", "e", "f"]


@pytest.mark.parametrize("empty", ["", "<TextEquiv><Unicode/></TextEquiv>", "<TextEquiv/>"])
def test_text_in_words_or_glyphs_only_is_read(read, empty):
    words = """<Word custom="readingOrder {index:1;}"><Glyph><TextEquiv><Unicode>S</Unicode></TextEquiv></Glyph>
      <Glyph><TextEquiv><Unicode>ir</Unicode></TextEquiv></Glyph></Word><Word/>
      <Word custom="readingOrder {index:0;}"><TextEquiv><PlainText>Dear</PlainText></TextEquiv></Word>"""
    full = "<TextEquiv><Unicode>first line</Unicode></TextEquiv>"
    page = PAGE.replace(full, words + empty).replace("<Unicode>first</Unicode>", "")
    assert read(page).lines[0].transcript.text == "Dear Sir"


def test_pretty_printed_text_is_one_line(read):
    assert read(PAGE.replace("first line", "\n   first\n    line\n  ")).lines[0].transcript.text == "first line"


def test_a_baseline_of_one_place_is_none(read):
    page = read(PAGE.replace("10,160 690,170", "50,60 50,60"))
    assert page.lines[1].baseline == ((10, 180), (690, 180))


def test_a_line_with_neither_is_named(read, caplog):
    read(PAGE.replace('<Coords points="10,110 690,110 690,180"/><Baseline points="10,160 690,170"/>', ""))
    assert "letter.xml: 1 lines without a baseline or outline are skipped: a1" in caplog.text


def test_comments_are_no_text(read):
    assert read(PAGE.replace("first line", "first<!-- a --> line")).lines[0].transcript.text == "first line"


def test_print_is_marked():
    whole = scan()
    first, *rest = whole.page.regions
    printed = replace(first, lines=(replace(first.lines[0], printed=True), *first.lines[1:]))
    content = export("page", replace(whole, page=replace(whole.page, regions=(printed, *rest))))
    schema("pagecontent-2019-07-15.xsd").assertValid(etree.fromstring(content))
    assert content.count(b'production="printed"') == 1


def test_marks_of_editors_are_written_as_tags_of_the_text():
    text = "⟦old⟧ d⟨omi⟩n […]"
    region = Region(box(0, 0, 900, 900), (line(text, 100),))
    content = export("page", Scan(Page("a.png", 1, 1000, 1400, (region,)))).decode()
    tags = (
        "textStyle {offset:0; length:5;strikethrough:true;} expansion {offset:7; length:5;} gap {offset:14; length:3;}"
    )
    assert tags in content
    assert f"<Unicode>{text}</Unicode>" in content


def test_a_picture_without_lines_is_a_region_of_an_image():
    regions = (*scan().page.regions, Region(box(10, 900, 400, 1200), (), kind="picture"))
    root = etree.fromstring(export("page", replace(scan(), page=replace(scan().page, regions=regions))))
    (found,) = root.iterfind(".//{*}ImageRegion")
    assert found.get("id") == list(root.iterfind(".//{*}RegionRefIndexed"))[-1].get("regionRef")


@pytest.mark.parametrize("tag", ["GraphicRegion", "ImageRegion", "MapRegion"])
def test_a_picture_keeps_its_element(tmp_path, tag):
    path = tmp_path / "a.xml"
    path.write_text(PAGE.replace("</Page>", f'<{tag} id="g"><Coords points="0,0 90,0 90,90"/></{tag}></Page>'))
    found = read_page_xml(path)
    content = export("page", Scan(found))
    assert [region.id for region in found.regions if region.kind == "picture"] == ["g"]
    assert etree.fromstring(content).find(f".//{{*}}{tag}").get("id") == "g"


def test_a_type_of_transkribus_is_read_and_paragraphs_need_no_label(tmp_path):
    path = tmp_path / "a.xml"
    for custom, expected in (
        ("structure {type:marginalia;}", "margin"),
        ("structure {score:1; type:paragraph;}", "text"),
    ):
        region = f'<TextRegion id="n" custom="readingOrder {{index:9;}} {custom}">'
        line = '<TextLine id="n1"><Baseline points="0,0 90,0"/></TextLine></TextRegion></Page>'
        path.write_text(PAGE.replace("</Page>", region + line))
        found = next(region for region in read_page_xml(path).regions if region.id == "n")
        assert (found.kind, found.label) == (expected, "marginalia" if expected == "margin" else None)
