import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from quillread.errors import DataError
from quillread.formats.page_images import PageImages
from quillread.types import Page


def files(top: Path, *names: str) -> None:
    """Put something there: images are found by name."""
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(b"image")


def find(top: Path, xml: str, source: str, where: str = "") -> str:
    image = PageImages(top / where).find(top / xml, Page(source, 1, 9, 9))
    return image.relative_to(top).as_posix()


def test_a_binarised_copy_beside_the_image_is_not_taken(tmp_path: Path):
    files(tmp_path, "0001.bin.png", "0001.nrm.png", "0001.png", "00010.png")
    assert find(tmp_path, "0001.xml", "0001.png") == "0001.png"
    assert find(tmp_path, "0001.xml", "other.png") == "0001.png"
    assert find(tmp_path, "0001.xml", "0001.nrm.png") == "0001.png"


def test_where_there_are_copies_only_the_one_that_is_named_is_taken(tmp_path: Path):
    files(tmp_path, "0001.bin.png", "0001.nrm.png")
    assert find(tmp_path, "0001.xml", "0001.nrm.png") == "0001.nrm.png"
    assert find(tmp_path, "0001.xml", "0001.png") == "0001.bin.png"


def test_of_images_with_the_same_stem_the_one_that_is_named_is_taken(tmp_path: Path):
    files(tmp_path, "a.jpg", "a.png")
    assert find(tmp_path, "a.xml", "a.png") == "a.png"
    assert find(tmp_path, "a.xml", "") == "a.jpg"


def test_capitals_do_not_matter_unless_they_tell_images_apart(tmp_path: Path):
    files(tmp_path, "Page1.JPG", "other.png", "Twin.png", "twin.png")
    assert find(tmp_path, "page1.XML", "") == "Page1.JPG"
    assert find(tmp_path, "x.xml", "OTHER.PNG") == "other.png"
    assert find(tmp_path, "twin.xml", "") == "twin.png"
    assert find(tmp_path, "Twin.xml", "") == "Twin.png"


@pytest.mark.parametrize("where", ["", "xml"])
@pytest.mark.parametrize("source", ["../images/a.png", "..\\images\\a.png"])
def test_the_path_in_the_file_is_followed(where: str, source: str, tmp_path: Path):
    files(tmp_path, "images/a.png", "more/a.png")
    assert find(tmp_path, "xml/page.xml", source, where) == "images/a.png"


@pytest.mark.parametrize("source", ["../../secret/a.png", "{}/secret/a.png", "../../../../../../etc/a.png", "a\0.png"])
def test_a_path_that_leads_elsewhere_is_not_followed(source: str, tmp_path: Path):
    files(tmp_path, "secret/a.png", "set/xml/page.xml")
    with pytest.raises(DataError, match="has no image of its name beside it, and names"):
        find(tmp_path, "set/xml/page.xml", source.format(tmp_path), "set/xml")


@pytest.mark.parametrize("where", ["", "OCR-D-SEG"])
def test_paths_of_a_workspace_of_ocr_d_start_at_its_top(where: str, tmp_path: Path):
    files(tmp_path, "mets.xml", "OCR-D-IMG/IMG_1.png", "OCR-D-BIN/IMG_1.png")
    assert find(tmp_path, "OCR-D-SEG/SEG_1.xml", "OCR-D-IMG/IMG_1.png", where) == "OCR-D-IMG/IMG_1.png"


def test_the_image_may_be_in_a_folder_beside_that_of_the_file(tmp_path: Path):
    files(tmp_path, "images/a.png", "xml/a.xml", "b.png")
    assert find(tmp_path, "xml/a.xml", "a.png") == "images/a.png"
    assert find(tmp_path, "xml/b.xml", "") == "b.png"
    with pytest.raises(DataError, match="has no image") as caught:
        find(tmp_path, "xml/a.xml", "a.png", "xml")  # folders beside the one that was named are nobody's business
    assert "name the folder that holds both" in str(caught.value)


def test_several_images_in_folders_beside_are_not_chosen_from(tmp_path: Path):
    files(tmp_path, "colour/a.png", "grey/a.png", "xml/a.xml")
    with pytest.raises(DataError, match=r"has several images of its name: .*colour/a\.png, .*grey/a\.png"):
        find(tmp_path, "xml/a.xml", "a.png")


def test_a_name_may_have_a_backslash(tmp_path: Path):
    files(tmp_path, "a\\b.png", "c.png")
    assert find(tmp_path, "x.xml", "a\\b.png") == "a\\b.png"
    assert find(tmp_path, "x.xml", "C:\\scans\\c.png") == "c.png"


def test_a_folder_with_the_name_of_an_image_is_none(tmp_path: Path):
    (tmp_path / "a.png").mkdir()
    with pytest.raises(DataError, match="has no image"):
        find(tmp_path, "a.xml", "a.png")


def test_a_folder_that_may_not_be_listed_holds_no_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files(tmp_path, "set/xml/page.xml", "set/images/a.png")
    listed = Path.iterdir

    def refuse(place: Path) -> Iterator[Path]:
        if place.name == "set":
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return listed(place)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="has no image of its name beside it"):
        find(tmp_path, "set/xml/page.xml", "a.png")
