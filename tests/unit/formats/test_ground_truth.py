import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from documents import export, page

from quillread.errors import DataError, ImageError
from quillread.formats.ground_truth import GroundTruth, list_layouts, place_below
from quillread.types import DocumentInfo, Polygon, Scan

SIZE = (1000, 1400)


def write(path: Path, image: str = "a.jpg", first: str = "l1", kind: str = "page") -> Path:
    """Write a segmentation whose first line has the name `first`."""
    source = page()
    region = source.regions[0]
    named = replace(region, id="block", lines=(replace(region.lines[0], id=first), region.lines[1]))
    path.parent.mkdir(parents=True, exist_ok=True)
    content = export(kind, Scan(replace(source, regions=(named,))), info=DocumentInfo(image))
    path.write_bytes(content)
    return path


def first_line(where: Path, source: str, number: int = 1, count: int = 1) -> str | None:
    return GroundTruth(where).regions(source, number, count, SIZE)[0].lines[0].id


@pytest.mark.parametrize("kind", ["page", "alto"])
def test_a_file_gives_its_lines_with_their_names(kind: str, tmp_path: Path):
    where = write(tmp_path / "seg.xml", kind=kind)
    (region,) = GroundTruth(where).regions("anything.jpg", 1, 1, SIZE)
    assert (region.id, region.lines[0].id, len(region.lines)) == ("block", "l1", 2)
    assert region.lines[0].baseline == page().lines[0].baseline


@pytest.mark.parametrize(
    ("image", "warns"),
    [("scan.tif", False), ("other.jpg", True), ("-", False), ("https://x.org/iiif/manifest.json", False)],
)
def test_a_file_that_names_another_image_is_told(image: str, warns: bool, tmp_path: Path, caplog):
    where = write(tmp_path / "seg.xml", image="scan.jpg")
    GroundTruth(where).regions(image, 1, 1, SIZE)
    assert ("which names scan.jpg" in caplog.text) is warns


def test_a_file_is_about_one_page(tmp_path: Path):
    with pytest.raises(DataError, match="is about one page"):
        first_line(write(tmp_path / "seg.xml"), "a.pdf", 1, 2)


@pytest.mark.parametrize(
    "name", ["a.xml", "a.page.xml", "a.alto.xml", "a.XML", "a.jpg.xml", "deep/a.xml", "page/a.xml"]
)
def test_a_folder_gives_the_file_of_the_images_name(name: str, tmp_path: Path):
    write(tmp_path / name)
    write(tmp_path / "b.xml", first="other")
    assert first_line(tmp_path, "scans/a.jpg") == "l1"


@pytest.mark.parametrize("name", ["a-0003.xml", "a-0003.page.xml", "a-0003.alto.xml"])
def test_pages_of_a_document_have_their_number(name: str, tmp_path: Path):
    write(tmp_path / name)
    write(tmp_path / "a.xml", first="other")
    write(tmp_path / "a-0001.xml", first="other")
    assert first_line(tmp_path, "a.pdf", 3, 9) == "l1"


def test_what_quill_read_wrote_is_found_again(tmp_path: Path):
    write(tmp_path / "a-0001.page.xml")
    assert first_line(tmp_path, "a.jpg") == "l1"


def test_a_file_of_another_name_is_about_the_image_that_it_names(tmp_path: Path):
    write(tmp_path / "0001_export.xml", image="scan 7.jpg")
    (tmp_path / "broken.xml").write_text("<PcGts>", encoding="utf-8")
    (tmp_path / "mets.xml").write_text("<mets/>", encoding="utf-8")
    assert first_line(tmp_path, "in/scan 7.jpg") == "l1"


def test_folders_tell_images_of_the_same_name_apart(tmp_path: Path):
    write(tmp_path / "x" / "page" / "1.xml", first="in-x")
    write(tmp_path / "y" / "1.xml", first="in-y")
    assert first_line(tmp_path, "scans/x/1.jpg") == "in-x"
    assert first_line(tmp_path, "scans/y/1.jpg") == "in-y"


def test_page_comes_before_alto(tmp_path: Path):
    write(tmp_path / "a.alto.xml", first="alto", kind="alto")
    write(tmp_path / "a.page.xml", first="page")
    assert first_line(tmp_path, "a.jpg") == "page"


def test_a_page_without_a_file_says_where_to_put_it(tmp_path: Path):
    write(tmp_path / "b.xml", image="b.jpg")
    with pytest.raises(DataError, match="has no segmentation of it") as caught:
        first_line(tmp_path, "a.jpg")
    assert "put it there as a.xml" in str(caught.value)


def test_an_image_of_another_size_is_refused(tmp_path: Path):
    layouts = GroundTruth(write(tmp_path / "a.xml"))
    with pytest.raises(ImageError, match=r"has 500 x 700 pixels, .*a\.xml is about one of 1000 x 1400"):
        layouts.regions("a.jpg", 1, 1, (500, 700))


def test_lines_without_an_outline_come_as_their_file_has_them(tmp_path: Path):
    path = write(tmp_path / "a.xml")
    text = path.read_text(encoding="utf-8").replace('<Coords points="95,95 375,95 375,155 95,155" />', "")
    path.write_text(text, encoding="utf-8")
    line = GroundTruth(path).regions("a.jpg", 1, 1, SIZE)[0].lines[0]
    assert line.polygon.bounds == Polygon(line.baseline).bounds


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('<!DOCTYPE a [<!ENTITY e "x">]><PcGts>&e;</PcGts>', "a document type"),
        ("<PcGts>", "malformed XML"),
        ("<mets/>", "is neither PAGE nor ALTO"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(content: str, message: str, tmp_path: Path):
    (tmp_path / "a.xml").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        first_line(tmp_path, "a.jpg")


@pytest.mark.parametrize("kind", ["missing", "empty"])
def test_a_place_without_segmentations_says_so(kind: str, tmp_path: Path):
    with pytest.raises(DataError, match=r"no such file or folder|holds no PAGE or ALTO file"):
        GroundTruth(tmp_path / "none" if kind == "missing" else tmp_path)


def test_a_number_in_the_name_of_another_image_is_not_taken_for_a_page(tmp_path: Path):
    write(tmp_path / "a.xml")
    write(tmp_path / "a-0001.xml", first="other")
    assert first_line(tmp_path, "a.jpg") == "l1"
    assert first_line(tmp_path, "a-0001.jpg") == "other"


def image(path: Path) -> Path:
    """Put something there: images are found by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"image")
    return path


def test_page_and_alto_of_the_same_image_are_one_pair(tmp_path: Path):
    write(tmp_path / "alto" / "a.xml", kind="alto", first="alto")
    write(tmp_path / "page" / "a.xml", first="page")
    (pair,) = GroundTruth(tmp_path).pairs() if image(tmp_path / "a.jpg") else ()
    assert pair.image == tmp_path / "a.jpg"
    assert pair.page is not None and pair.page.lines[0].id == "page"


def test_pairs_come_in_the_order_of_the_numbers_of_their_images(tmp_path: Path):
    for number in (10, 2, 1):
        write(tmp_path / f"page-{number}.xml", image=image(tmp_path / f"page-{number}.png").name)
    assert [pair.xml.stem for pair in GroundTruth(tmp_path).pairs()] == ["page-1", "page-2", "page-10"]


def test_a_file_without_an_image_or_damaged_has_a_fault(tmp_path: Path):
    write(tmp_path / "a.xml", image="gone.jpg")
    (tmp_path / "b.xml").write_text("<PcGts>", encoding="utf-8")
    (tmp_path / "mets.xml").write_text("<mets/>", encoding="utf-8")
    without, damaged = GroundTruth(tmp_path).pairs()
    assert without.fault is not None and "has no image of its name" in without.fault.message
    assert damaged.fault is not None and "malformed XML" in damaged.fault.message


def test_what_is_hidden_or_a_folder_is_no_segmentation(tmp_path: Path):
    write(tmp_path / "a.xml")
    (tmp_path / "._a.xml").write_bytes(b"\0\5\26\7")
    (tmp_path / "b.xml").mkdir()
    assert list_layouts(tmp_path) == [tmp_path / "a.xml"]


def test_a_pipe_or_a_link_to_nowhere_is_named_and_the_others_are_found(tmp_path: Path):
    image(tmp_path / "a.jpg")
    write(tmp_path / "a.xml")
    os.mkfifo(tmp_path / "b.xml")
    (tmp_path / "c.xml").symlink_to("none.xml")
    assert list_layouts(tmp_path) == [tmp_path / "a.xml"]
    good, pipe, link = GroundTruth(tmp_path).pairs()
    assert good.page is not None
    assert pipe.fault is not None and "b.xml: is not a file" in pipe.fault.message
    assert link.fault is not None and "c.xml: cannot be read" in link.fault.message


def test_of_several_files_about_an_image_one_with_lines_and_text_is_taken(tmp_path: Path):
    image(tmp_path / "OCR-D-IMG" / "1.jpg")
    (tmp_path / "mets.xml").write_text("<mets/>", encoding="utf-8")
    for group in ("OCR-D-BIN", "OCR-D-OCR", "OCR-D-SEG"):
        path = write(tmp_path / group / f"{group}_1.xml", image="1.jpg", first=group)
        text = path.read_text(encoding="utf-8").replace('"1.jpg"', '"OCR-D-IMG/1.jpg"')
        if group == "OCR-D-BIN":
            text = re.sub(r"<TextRegion.*</TextRegion>", "", text, flags=re.DOTALL)
        if group == "OCR-D-SEG":
            text = re.sub(r"<Unicode>.*?</Unicode>", "", text)
        path.write_text(text, encoding="utf-8")
    (pair,) = GroundTruth(tmp_path).pairs()
    assert pair.xml.parent.name == "OCR-D-OCR"
    assert first_line(tmp_path, str(tmp_path / "OCR-D-IMG" / "1.jpg")) == "OCR-D-OCR"


def test_a_copy_of_the_image_has_its_lines_too(tmp_path: Path):
    write(tmp_path / "0001.xml", image="0001.png")
    assert first_line(tmp_path, "0001.nrm.png") == "l1"


def test_capitals_in_names_do_not_matter(tmp_path: Path):
    write(tmp_path / "Page.xml", image="SCAN.jpg")
    write(tmp_path / "other.xml", image="other.jpg", first="other")
    assert first_line(tmp_path, "page.JPG") == "l1"
    assert first_line(tmp_path, "scan.jpg") == "l1"


def without_size(path: Path) -> Path:
    """Take the size out of an ALTO file."""
    path.write_text(path.read_text(encoding="utf-8").replace('WIDTH="1000" HEIGHT="1400"', ""), encoding="utf-8")
    return path


def test_a_page_without_a_size_has_that_of_its_image(tmp_path: Path):
    truth = GroundTruth(without_size(write(tmp_path / "a.xml", kind="alto")))
    assert truth.regions("a.jpg", 1, 1, SIZE)[0].lines[0].id == "l1"
    with pytest.raises(ImageError, match=r"the image has 50 x 70 pixels, .*a\.xml has a line from \(100, 140\)"):
        truth.regions("a.jpg", 1, 1, (50, 70))


def long_line(points: str) -> str:
    return f'<TextLine id="long"><Coords points="0,0 9,0 9,9"/><Baseline points="{points}"/></TextLine>'


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (long_line("0,100 100000000,100"), "a baseline of 100,000,000 pixels on a page of 1000 x 1400 (long)"),
        (long_line("0,100 1e308,100 -1e308,100"), "a baseline of inf pixels on a page of"),
        (long_line("0,5 999,6 " * 2000), "a baseline of 3,99"),
        (
            f'<TextLine id="wide"><Coords points="{"0,5 999,900 " * 2000}"/></TextLine>',
            "an outline of 5,",
        ),
        (long_line("0,5 9,5") * 10_001, "has 10,001 lines, more than the limit of 10,000"),
        (
            '<TextLine id="all"><Coords points="0,0 1000,0 1000,1400 0,1400"/></TextLine>' * 31,
            "its 31 lines cover 31 times the page of 1000 x 1400 pixels",
        ),
    ],
)
def test_lines_that_no_page_has_are_refused(lines: str, message: str, tmp_path: Path):
    page = '<PcGts><Page imageFilename="a.jpg" imageWidth="1000" imageHeight="1400"><TextRegion id="r">{}'
    path = tmp_path / "a.xml"
    path.write_text(page.format(lines) + "</TextRegion></Page></PcGts>", encoding="utf-8")
    with pytest.raises(DataError, match=re.escape("a.xml: ")) as caught:
        first_line(tmp_path, "a.jpg")
    assert message in caught.value.message
    assert caught.value.hint


def test_images_elsewhere_have_a_path_too(tmp_path: Path):
    assert place_below(tmp_path, tmp_path / "a" / "b.jpg") == Path("a/b.jpg")
    assert place_below(tmp_path / "xml", tmp_path / "images" / "b.jpg") == Path("images/b.jpg")
