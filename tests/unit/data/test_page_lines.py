import logging
import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import png
from numpy.typing import NDArray
from PIL import Image

from quillread.data.page_lines import read_pages
from quillread.data.source import Source
from quillread.data.spec import open_source, parse_spec
from quillread.errors import DataError

DATA = Path(__file__).parents[2] / "data"
RNG = np.random.default_rng(0)
PAGE = """\
<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15">
  <Page imageFilename="{image}" imageWidth="400" imageHeight="300">
    <TextRegion id="r1">
      <Coords points="0,0 400,0 400,300 0,300"/>{lines}
    </TextRegion>
  </Page>
</PcGts>
"""
ALTO = """\
<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">
  <Description><MeasurementUnit>pixel</MeasurementUnit></Description>
  <Layout><Page WIDTH="400" HEIGHT="300" ID="p"><PrintSpace><TextBlock ID="b">
    <TextLine ID="l1" BASELINE="20 90 380 90" HPOS="20" VPOS="65" WIDTH="360" HEIGHT="28">
      <String CONTENT="from"/><SP/><String CONTENT="alto"/>
    </TextLine>
  </TextBlock></PrintSpace></Page></Layout>
</alto>
"""


def page_image() -> NDArray[np.uint8]:
    """A page of 400 x 300 pixels: band k has grey 100 + 20 k and is 50 pixels high, from 50 k."""
    grey = np.repeat(100 + 20 * np.arange(6), 50).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(grey[:, None, None], (300, 400, 3)))


def line(number: int, text: str, outline: bool = True, baseline: str | None = None) -> str:
    """A line of PAGE in the middle of band `number`."""
    top, base = 50 * number + 10, baseline or f"20,{50 * number + 35} 380,{50 * number + 35}"
    coords = f'<Coords points="20,{top} 380,{top} 380,{top + 30} 20,{top + 30}"/>' if outline else '<Coords points=""/>'
    content = f"<TextEquiv><Unicode>{text}</Unicode></TextEquiv>" if text else ""
    return f'\n<TextLine id="l{number}">{coords}<Baseline points="{base}"/>{content}</TextLine>'


def write_page(folder: Path, stem: str, *lines: str, xml_folder: str = "", image: str = "") -> Path:
    (folder / xml_folder).mkdir(parents=True, exist_ok=True)
    (folder / (image or f"{stem}.png")).write_bytes(png(page_image()))
    xml = folder / xml_folder / f"{stem}.xml"
    xml.write_text(PAGE.format(image=image or f"{stem}.png", lines="".join(lines)), encoding="utf-8")
    return xml


def open_at(folder: Path, options: str = "", split: str = "train") -> Source:
    return open_source(parse_spec(f"page:{folder}{options}"), split)


def texts(source: Source) -> list[str]:
    return [source.text(i) for i in range(len(source))]


def test_page_xml_gives_its_lines_with_their_pixels(tmp_path: Path):
    write_page(tmp_path, "p1", line(1, "one"), line(2, "two"))
    source = open_at(tmp_path, "?outline=polygon")
    assert texts(source) == ["one", "two"]
    assert np.unique(source.sample(1, RNG).image).tolist() == [140]


def test_lines_of_a_negative_are_inverted_as_when_they_are_read(tmp_path: Path):
    written = np.full((300, 400, 3), 220, np.uint8)
    written[20:290:10, 30:370:20] = 40
    for folder, pixels in (("positive", written), ("negative", 255 - written)):
        write_page(tmp_path / folder, "p1", line(2, "two"))
        (tmp_path / folder / "p1.png").write_bytes(png(pixels))
    positive, negative = (open_at(tmp_path / folder).sample(0, RNG).image for folder in ("positive", "negative"))
    assert negative.max() == 220
    assert np.array_equal(negative, positive)


def test_alto_gives_its_lines_with_their_pixels(tmp_path: Path):
    (tmp_path / "p1.png").write_bytes(png(page_image()))
    (tmp_path / "p1.xml").write_text(ALTO, encoding="utf-8")
    source = open_at(tmp_path, "?outline=polygon")
    assert texts(source) == ["from alto"]
    assert np.unique(source.sample(0, RNG).image).tolist() == [120]


@pytest.mark.parametrize("content", [ALTO, ALTO.replace('WIDTH="400" HEIGHT="300" ', "", 1)], ids=["size", "no size"])
def test_a_page_may_be_a_pdf(content: str, tmp_path: Path):
    Image.fromarray(page_image()).save(tmp_path / "p1.pdf", resolution=300)
    (tmp_path / "p1.xml").write_text(content, encoding="utf-8")
    (page,) = read_pages(tmp_path)[0].values()
    assert (page.width, page.height) == (400, 300)
    pixels = open_at(tmp_path, "?outline=polygon").sample(0, RNG).image
    assert np.abs(pixels.astype(int) - 120).max() <= 3  # a JPEG within the PDF


@pytest.mark.parametrize("name", ["book.pdf", "book.tif"])
def test_the_pages_of_a_document_give_their_own_lines(tmp_path: Path, name: str):
    pages = [Image.fromarray(page_image()), Image.fromarray(page_image()[::-1].copy())]
    pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:], resolution=300)
    for number, text in ((1, ""), (2, "two")):
        xml = PAGE.format(image=name, lines=line(1, text))
        (tmp_path / f"book-{number:04}.page.xml").write_text(xml, encoding="utf-8")
    source = open_at(tmp_path, "?outline=polygon")
    sample = source.sample(0, RNG)
    assert (len(source), sample.id, sample.text, sample.group) == (1, "book-0002-001", "two", "book-0002")
    assert np.abs(sample.image.astype(int) - 180).max() <= 3  # band 4 of the first page
    first, faults = read_pages(tmp_path)
    assert [page.lines[0].transcript for page in first.values()] == [None]
    assert faults == [f"{tmp_path / name}, page 2: is not the first of its file"]


def test_the_number_in_a_name_is_no_page_of_an_image_that_has_not_so_many(tmp_path: Path):
    Image.fromarray(page_image()).save(tmp_path / "scan.tif")
    xml = PAGE.format(image="scan.tif", lines=line(1, "one"))
    (tmp_path / "scan-1847.xml").write_text(xml, encoding="utf-8")
    assert texts(open_at(tmp_path)) == ["one"]


def test_a_heic_of_another_size_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_page(tmp_path, "p1", line(1, "one"))
    write_page(tmp_path, "p2", line(1, "two")).with_suffix(".png").unlink()
    shutil.copy(DATA / "turned.heic", tmp_path / "p2.heic")
    assert texts(open_at(tmp_path)) == ["one"]
    assert re.search(r"p2\.heic: has \d+ x \d+ pixels, .*p2\.xml is about one of 400 x 300", caplog.text)


def test_lines_of_a_page_whose_image_is_damaged_count_and_say_so_when_they_are_read(tmp_path: Path):
    write_page(tmp_path, "p1", line(1, "one"))
    write_page(tmp_path, "p2", line(1, "two"))
    (tmp_path / "p2.png").write_bytes(b"no image at all")
    source = open_at(tmp_path)
    assert texts(source) == ["one", "two"]
    with pytest.raises(DataError, match=r"p2\.png: is not an image or PDF that can be read"):
        source.sample(1, RNG)


def test_the_group_is_the_page(tmp_path: Path):
    write_page(tmp_path / "box", "p1", line(1, "one"))
    source = open_at(tmp_path)
    assert (source.group(0), source.sample(0, RNG).group) == ("box/p1", "box/p1")


def test_ids_tell_pages_of_the_same_name_apart(tmp_path: Path):
    for box in ("a", "b"):
        write_page(tmp_path / box, "p1", line(1, ""), line(2, "two"))
    source = open_at(tmp_path)
    assert [source.sample(i, RNG).id for i in range(2)] == ["a/p1-002", "b/p1-002"]


def test_lines_are_the_same_in_any_order(tmp_path: Path):
    for stem in ("p1", "p2"):
        write_page(tmp_path, stem, line(1, "one"), line(3, "three"))
    forwards, backwards = open_at(tmp_path), open_at(tmp_path)
    ahead = [forwards.sample(i, RNG).image for i in range(4)]
    back = [backwards.sample(i, RNG).image for i in reversed(range(4))]
    assert all(np.array_equal(a, b) for a, b in zip(ahead, reversed(back), strict=True))


def test_a_page_is_decoded_once(tmp_path: Path):
    write_page(tmp_path, "p1", line(1, "one"), line(2, "two"))
    source = open_at(tmp_path)
    source.sample(0, RNG)
    (tmp_path / "p1.png").unlink()
    assert source.sample(1, RNG).text == "two"


def test_a_worker_that_gets_a_copy_reads_the_same_lines(tmp_path: Path):
    write_page(tmp_path, "p1", line(1, "one"))
    source = open_at(tmp_path)
    copy = pickle.loads(pickle.dumps(source))
    assert np.array_equal(copy.sample(0, RNG).image, source.sample(0, RNG).image)


def test_cut_lines_go_with_their_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    write_page(tmp_path / "pages", "p1", line(1, "one"))
    source = open_at(tmp_path / "pages")
    source.sample(0, RNG)
    kept = len(list((tmp_path / "temporary").rglob("*.png")))
    del source
    assert (kept, list((tmp_path / "temporary").iterdir())) == (1, [])


def test_the_aspect_is_near_that_of_the_image(tmp_path: Path):
    write_page(tmp_path, "p1", line(1, "one"))
    source = open_at(tmp_path)
    height, width, _ = source.sample(0, RNG).image.shape
    assert source.aspect(0) == pytest.approx(width / height, rel=0.1)


def test_a_line_without_polygon_is_cut_along_its_baseline(tmp_path: Path):
    write_page(tmp_path, "p1", *(line(k, f"line {k}", outline=False) for k in range(1, 5)))
    image = open_at(tmp_path).sample(1, RNG).image
    # Baselines are 50 pixels apart.
    assert image.shape[0] == pytest.approx(52, abs=6)
    assert image.shape[1] == pytest.approx(385, abs=6)
    assert int(np.median(image)) == 140


def test_a_lone_line_without_polygon_has_a_height(tmp_path: Path):
    write_page(tmp_path, "p1", line(2, "one", outline=False))
    assert 20 < open_at(tmp_path).sample(0, RNG).image.shape[0] < 60


def test_lines_are_cut_along_polygon_and_baseline_together_or_along_either(tmp_path: Path):
    write_page(tmp_path, "p1", line(1, "one"), line(3, "three"))
    options = ("?outline=polygon", "", "?outline=both", "?outline=baseline")
    narrow, usual, both, high = (open_at(tmp_path, option).sample(0, RNG).image for option in options)
    assert high.shape[0] > both.shape[0] > 2 * narrow.shape[0]
    assert np.array_equal(usual, both)


def test_a_sloping_baseline_is_laid_flat(tmp_path: Path):
    write_page(tmp_path, "p1", *(line(k, "x", False, f"20,{50 * k + 35} 380,{50 * k - 5}") for k in range(1, 4)))
    source = open_at(tmp_path)
    image = source.sample(1, RNG).image
    assert image.shape[1] > 5 * image.shape[0]
    assert source.aspect(1) == pytest.approx(image.shape[1] / image.shape[0], rel=0.15)


@pytest.mark.parametrize("xml_folder", ["page", "alto"])
def test_xml_may_lie_in_a_folder_of_its_own(tmp_path: Path, xml_folder: str):
    write_page(tmp_path, "p1", line(1, "one"), xml_folder=xml_folder)
    assert texts(open_at(tmp_path)) == ["one"]


def test_a_page_exported_twice_is_taken_once(tmp_path: Path):
    write_page(tmp_path, "p1", line(1, "from page"), xml_folder="page")
    (tmp_path / "alto").mkdir()
    (tmp_path / "alto" / "p1.xml").write_text(ALTO, encoding="utf-8")
    assert texts(open_at(tmp_path)) == ["from page"]


def test_an_image_of_another_stem_is_found_by_the_name_in_the_xml(tmp_path: Path):
    write_page(tmp_path, "p1.page", line(1, "one"), image="p1.png")
    assert open_at(tmp_path).group(0) == "p1"


def test_a_stem_with_brackets_is_no_pattern(tmp_path: Path):
    write_page(tmp_path, "p[1]", line(1, "one"))
    assert texts(open_at(tmp_path)) == ["one"]


def test_other_xml_files_are_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_page(tmp_path, "p1", line(1, "one"))
    (tmp_path / "mets.xml").write_text("<mets/>", encoding="utf-8")
    assert texts(open_at(tmp_path)) == ["one"]
    assert not caplog.records


def test_xml_without_image_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_page(tmp_path, "p1", line(1, "one"))
    write_page(tmp_path, "p2", line(1, "two"))
    (tmp_path / "p2.png").unlink()
    assert texts(open_at(tmp_path)) == ["one"]
    assert f"{tmp_path / 'p2.xml'}: has no image of its name beside it" in caplog.text


def test_broken_xml_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_page(tmp_path, "p1", line(1, "one"))
    write_page(tmp_path, "p2").write_text("<PcGts", encoding="utf-8")
    assert texts(open_at(tmp_path)) == ["one"]
    assert "p2.xml: malformed XML" in caplog.text


def test_an_image_of_another_size_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_page(tmp_path, "p1", line(1, "one"))
    write_page(tmp_path, "p2", line(1, "two"))
    (tmp_path / "p2.png").write_bytes(png(page_image()[::2, ::2]))
    assert texts(open_at(tmp_path)) == ["one"]
    assert f"p2.png: has 200 x 150 pixels, {tmp_path / 'p2.xml'} is about one of 400 x 300" in caplog.text


def test_lines_without_text_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_page(tmp_path, "p1", line(1, "one"), line(2, ""), line(3, ""))
    assert texts(open_at(tmp_path)) == ["one"]
    assert "2 lines have no text and are skipped" in caplog.text


def test_a_line_without_extent_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_page(tmp_path, "p1", line(1, "one"), line(9, "two"))
    assert texts(open_at(tmp_path)) == ["one"]
    assert "p1-002: its baseline or polygon has no extent on the page" in caplog.text


def test_a_line_that_cannot_be_cut_names_its_page(tmp_path: Path):
    write_page(tmp_path, "p1", line(1, "one", baseline="40,80 45,80 40,80"), line(3, "two"))
    source = open_at(tmp_path)
    with pytest.raises(DataError, match=r"p1\.png, p1-001: the line from .* turns back on itself"):
        source.sample(0, RNG)
    assert source.sample(1, RNG).text == "two"


def test_a_broken_image_is_an_error_of_its_lines(tmp_path: Path):
    write_page(tmp_path, "p1", line(1, "one"))
    (tmp_path / "p1.png").write_bytes(png(page_image())[:-200])
    with pytest.raises(DataError, match=r"p1\.png: cannot be decoded"):
        open_at(tmp_path).sample(0, RNG)


def test_the_folder_of_the_split_is_opened(tmp_path: Path):
    write_page(tmp_path / "train" / "box", "p1", line(1, "one"))
    write_page(tmp_path / "valid", "p2", line(1, "two"))
    assert texts(open_at(tmp_path)) == ["one"]
    assert texts(open_at(tmp_path, split="validation")) == ["two"]


def test_a_split_without_folder_lists_the_others(tmp_path: Path):
    write_page(tmp_path / "train", "p1", line(1, "one"))
    with pytest.raises(DataError, match="has no such split") as caught:
        open_at(tmp_path, split="test")
    assert "there are: train" in str(caught.value)


def test_a_folder_without_pages_says_what_to_do(tmp_path: Path):
    with pytest.raises(DataError, match="holds no PAGE or ALTO file") as caught:
        open_at(tmp_path)
    assert "page-1.xml beside page-1.jpg" in str(caught.value)


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="is not a folder"):
        open_at(tmp_path / "none")


def test_the_number_of_lines_and_pages_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_page(tmp_path, "p1", line(1, "one"), line(2, "two"))
    with caplog.at_level(logging.INFO):
        open_at(tmp_path)
    assert "2 lines of 1 pages" in caplog.text


def test_copies_in_hidden_folders_are_not_pages(tmp_path: Path):
    write_page(tmp_path, "p1", line(1, "one"))
    write_page(tmp_path / ".backup", "p1", line(1, "one"))
    assert texts(open_at(tmp_path)) == ["one"]
