import pytest

from quillread.errors import DataError
from quillread.formats.alto import read_alto

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
