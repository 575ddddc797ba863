import os
from dataclasses import replace
from pathlib import Path

import pytest
from documents import box, export, page

from quillread.errors import DataError, ImageError
from quillread.formats.ground_truth import GroundTruth
from quillread.types import DocumentInfo, Scan

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


def test_lines_without_an_outline_get_one(tmp_path: Path):
    path = write(tmp_path / "a.xml")
    text = path.read_text(encoding="utf-8").replace('<Coords points="95,95 375,95 375,155 95,155" />', "")
    path.write_text(text, encoding="utf-8")
    line = GroundTruth(path).regions("a.jpg", 1, 1, SIZE)[0].lines[0]
    assert line.polygon.bounds.height == pytest.approx(105, abs=1)  # lines are 100 apart
    assert line.polygon != box(95, 95, 375, 155)


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


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "page.xml")
    (pair,) = GroundTruth(tmp_path).pairs()
    assert pair.fault is not None
    assert "page.xml: is not a regular file" in pair.fault.message
