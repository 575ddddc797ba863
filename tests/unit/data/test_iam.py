import logging
from pathlib import Path

import numpy as np
import pytest
from fakes import line_image, png

from quillread.data.iam import read_aachen_split
from quillread.data.source import Source
from quillread.data.spec import open_source, parse_spec
from quillread.errors import DataError

RNG = np.random.default_rng(0)

# In the form of the official files; the forms are of the training, validation and test part.
LINES = """\
#--- lines.txt ---------------------------------------------------------------#
#
# format: a01-000u-00 ok 154 19 408 746 1663 91 A|MOVE|to|stop|Mr.|Gaitskell|from
#
a01-000u-00 ok 154 19 408 746 1661 89 A|MOVE|to|stop|Mr.|Gaitskell|from
a01-000u-01 err 156 23 430 1290 1883 70 M Ps|tomorrow|.|Mr.|#|Foot
a01-000x-00 ok 182 30 375 748 1561 148 nominating|,|too
c04-156-00 ok 167 14 338 738 1665 112 part|.|The|rest
c04-110-00 ok 203 21 353 -1 1707 123 first|floor
j01-000-00 ok 203 21 353 694 1707 123 nowhere
"""
WORDS = """\
#--- words.txt ---------------------------------------------------------------#
#
# format: a01-000u-00-00 ok 154 1 408 768 27 51 AT A
#
a01-000u-00-00 ok 154 408 768 27 51 AT A
a01-000u-01-00 err 156 430 1290 113 59 NPTS M Ps
a01-000u-01-01 ok 156 -1 -1 -1 -1 . .
"""
FORMS = """\
#--- forms.txt --------------------------------------------------------------#
# format: a01-000u 000 2 prt 7 5 52 36
a01-000u 000 2 prt 7 5 52 36
a01-000x 001 2 all 6 6 52 52
"""
XML = """\
<?xml version="1.0" encoding="ISO-8859-1"?>
<!DOCTYPE form SYSTEM "http://www.iam.unibe.ch/~fki/iamdb/form-metadata.dtd">
<form created="2002-01-14" height="3542" id="a01-000u" width="2479" writer-id="000">
    <machine-printed-part>
        <machine-print-line text="A MOVE to stop"/>
    </machine-printed-part>
    <handwritten-part>
        <line id="a01-000u-00" segmentation="ok" text="A # MOVE, he said: &amp;quot;to" threshold="154">
            <word id="a01-000u-00-00" tag="AT" text="A"><cmp x="408" y="768" width="27" height="51"/></word>
            <word id="a01-000u-00-01" tag="NN" text="MOVE"/>
            <word id="a01-000u-00-02" tag="," text=","/>
            <word id="a01-000u-00-03" tag="*&apos;" text="&amp;quot;"/>
        </line>
        <line id="a01-000u-01" segmentation="err" text="stop." threshold="154">
            <word id="a01-000u-01-00" tag="VB" text="stop"/>
            <word id="a01-000u-01-01" tag="." text="."/>
        </line>
    </handwritten-part>
</form>
"""


@pytest.fixture
def iam(tmp_path: Path) -> Path:
    """A folder with the files of the database, one image for each line and word."""
    (tmp_path / "ascii").mkdir()
    for name, content in (("lines", LINES), ("words", WORDS), ("forms", FORMS)):
        (tmp_path / "ascii" / f"{name}.txt").write_text(content, encoding="utf-8")
    for level, content in (("lines", LINES), ("words", WORDS)):
        for row in content.splitlines():
            if not row.startswith("#"):
                image = image_of(tmp_path, level, row.split()[0])
                image.parent.mkdir(parents=True, exist_ok=True)
                image.write_bytes(png(line_image("abc")))
    return tmp_path


def image_of(folder: Path, level: str, name: str) -> Path:
    form = "-".join(name.split("-")[:2])
    return folder / level / name[:3] / form / f"{name}.png"


def write_xml(folder: Path, content: str = XML) -> None:
    (folder / "xml").mkdir()
    (folder / "xml" / "a01-000u.xml").write_text(content, encoding="iso-8859-1")


def open_at(folder: Path, options: str = "", split: str = "train") -> Source:
    return open_source(parse_spec(f"iam:{folder}{options}"), split)


def texts(source: Source) -> list[str]:
    return [source.text(i) for i in range(len(source))]


def ids(source: Source) -> list[str]:
    return [source.sample(i, RNG).id for i in range(len(source))]


def test_lines_are_text_as_written(iam: Path):
    assert texts(open_at(iam)) == ["A MOVE to stop Mr. Gaitskell from", "M Ps tomorrow. Mr. Foot", "nominating, too"]


def test_tokens_can_be_kept_apart(iam: Path):
    assert texts(open_at(iam, "?text=tokens"))[1] == "M Ps tomorrow . Mr. Foot"


def test_a_line_has_its_image(iam: Path):
    sample = open_at(iam).sample(0, RNG)
    assert sample.id == "a01-000u-00"
    assert np.array_equal(sample.image, line_image("abc"))


def test_the_group_is_the_writer(iam: Path):
    source = open_at(iam)
    assert [source.group(i) for i in range(3)] == ["000", "000", "001"]


def test_words_have_their_own_text_and_image(iam: Path):
    source = open_at(iam, "?level=words")
    assert texts(source) == ["A", "M Ps", "."]
    assert ids(source)[1] == "a01-000u-01-00"


def test_lines_marked_err_are_dropped_on_request(iam: Path):
    assert ids(open_at(iam, "?err=drop")) == ["a01-000u-00", "a01-000x-00"]


@pytest.mark.parametrize(("split", "line"), [("validation", "c04-156-00"), ("test", "c04-110-00")])
def test_the_split_is_that_of_aachen(iam: Path, split: str, line: str):
    assert ids(open_at(iam, split=split)) == [line]


def test_the_aachen_split_has_the_published_number_of_forms():
    assert {name: len(forms) for name, forms in read_aachen_split().items()} == {
        "train": 747,
        "validation": 116,
        "test": 336,
    }


def test_no_form_is_in_two_parts_of_the_aachen_split():
    assert len(frozenset.union(*read_aachen_split().values())) == 747 + 116 + 336


@pytest.mark.parametrize("wanted", ["j01-000", "j01-000-00"])
def test_a_list_of_forms_or_lines_replaces_the_split(iam: Path, wanted: str):
    (iam / "my.txt").write_text(f"{wanted}\n", encoding="utf-8")
    assert ids(open_at(iam, f"?train-list={iam / 'my.txt'}")) == ["j01-000-00"]


def test_lists_add_up(iam: Path):
    (iam / "1.txt").write_text("j01-000\n", encoding="utf-8")
    (iam / "2.txt").write_text("c04-110-00\n", encoding="utf-8")
    spec = f"?validation-list={iam / '1.txt'}&validation-list={iam / '2.txt'}"
    assert ids(open_at(iam, spec, "validation")) == ["c04-110-00", "j01-000-00"]


def test_a_list_of_another_split_does_not_mix_with_the_built_in_one(iam: Path):
    (iam / "my.txt").write_text("j01-000\n", encoding="utf-8")
    with pytest.raises(DataError, match="has lists of other splits only") as caught:
        open_at(iam, f"?train-list={iam / 'my.txt'}", "validation")
    assert "add validation-list=FILE" in str(caught.value)


def test_a_list_of_other_forms_is_an_error(iam: Path):
    (iam / "my.txt").write_text("z99-000\n", encoding="utf-8")
    with pytest.raises(DataError, match="none of the 1 forms or lines of this split is in the files"):
        open_at(iam, f"?train-list={iam / 'my.txt'}")


def test_missing_and_empty_images_are_named_and_left_out(iam: Path, caplog: pytest.LogCaptureFixture):
    image_of(iam, "lines", "a01-000u-00").unlink()
    image_of(iam, "lines", "a01-000x-00").write_bytes(b"")
    assert ids(open_at(iam)) == ["a01-000u-01"]
    assert "2 of 3 images are missing or empty, and skipped: a01-000u-00, a01-000x-00" in caplog.text


def test_a_folder_without_images_says_what_to_unpack(iam: Path):
    (iam / "lines").rename(iam / "else")
    with pytest.raises(DataError, match="none of the 3 images is under") as caught:
        open_at(iam)
    assert "unpack lines.tgz" in str(caught.value)


def test_a_quotation_is_followed_into_a_line_of_a_dropped_image(iam: Path):
    rows = ['a01-000u-00 ok 1 1 1 1 1 1 a|"|b', 'a01-000u-01 ok 1 1 1 1 1 1 c|"|d']
    (iam / "ascii" / "lines.txt").write_text("\n".join(rows), encoding="utf-8")
    image_of(iam, "lines", "a01-000u-00").unlink()
    assert texts(open_at(iam)) == ['c" d']


@pytest.mark.parametrize("row", ["a01-000u-00", "a01-000u-00 ok 154 19 408 x 1661 89 A", "a01-000u-00 ok 1 1 1 1 1 1"])
def test_a_malformed_row_is_named(iam: Path, row: str):
    (iam / "ascii" / "lines.txt").write_text(f"# head\n{row}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"lines\.txt, row 2: is not a row of lines\.txt"):
        open_at(iam)


def test_text_files_are_found_without_their_folder(iam: Path):
    (iam / "ascii" / "words.txt").rename(iam / "words.txt")
    assert len(open_at(iam, "?level=words")) == 3


def test_without_text_files_the_xml_says_what_is_written(iam: Path):
    (iam / "ascii" / "lines.txt").unlink()
    write_xml(iam)
    assert texts(open_at(iam)) == ['A MOVE, he said: "to', "stop."]


def test_words_are_read_from_xml(iam: Path):
    (iam / "ascii" / "words.txt").unlink()
    write_xml(iam)
    for number in ("00-01", "00-02", "00-03"):
        image_of(iam, "words", f"a01-000u-{number}").write_bytes(png(line_image("abc")))
    assert texts(open_at(iam, "?level=words&err=drop")) == ["A", "MOVE", ",", '"']


def test_lines_marked_err_in_xml_are_dropped_on_request(iam: Path):
    (iam / "ascii" / "lines.txt").unlink()
    write_xml(iam)
    assert ids(open_at(iam, "?err=drop")) == ["a01-000u-00"]


def test_without_forms_txt_the_xml_says_who_wrote(iam: Path):
    (iam / "ascii" / "forms.txt").unlink()
    write_xml(iam, XML.replace('writer-id="000"', 'writer-id="042"'))
    source = open_at(iam)
    assert [source.group(i) for i in range(3)] == ["042", "042", "a01-000x"]


def test_xml_that_declares_entities_is_refused(iam: Path):
    (iam / "ascii" / "lines.txt").unlink()
    write_xml(iam, XML.replace('form SYSTEM "http', 'form [<!ENTITY a "b">] SYSTEM "http'))
    with pytest.raises(DataError, match="holds a document type of its own"):
        open_at(iam)


@pytest.mark.parametrize(
    ("content", "message"), [("<form", "malformed XML"), (XML.replace(' text="stop."', ""), "has no attribute 'text'")]
)
def test_broken_xml_is_named(iam: Path, content: str, message: str):
    (iam / "ascii" / "lines.txt").unlink()
    write_xml(iam, content)
    with pytest.raises(DataError, match=rf"a01-000u\.xml: .*{message}"):
        open_at(iam)


def test_a_folder_without_texts_says_what_to_unpack(tmp_path: Path):
    with pytest.raises(DataError, match="has neither") as caught:
        open_at(tmp_path)
    assert "ascii.tgz" in str(caught.value)


@pytest.mark.parametrize("option", ["level=pages", "text=raw", "err=maybe"])
def test_an_option_of_another_value_is_refused(iam: Path, option: str):
    with pytest.raises(DataError, match=f"{option.split('=')[0]} must be "):
        open_at(iam, f"?{option}")


def test_another_split_is_refused(iam: Path):
    with pytest.raises(DataError, match="has no such split"):
        open_at(iam, split="everything")


def test_nothing_is_logged_about_complete_data(iam: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        open_at(iam)
    assert not caplog.records
