"""What PAGE and ALTO files have in common: pages that are written fit the schema and are read again as they were."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pytest
from documents import blank, box, export, failed, page, scan, schema
from lxml import etree

from quillread.formats.alto import read_alto
from quillread.formats.ground_truth import GroundTruth
from quillread.formats.pagexml import read_page_xml
from quillread.formats.xml_io import parse_points
from quillread.types import DocumentInfo, Page, Polygon, Region, RegionKind, Scan


@dataclass(frozen=True)
class Format:
    name: str
    schema: str
    id: str
    read: Callable[[Path], Page]

    def written(self, tmp_path: Path, item: Scan) -> Page:
        """Write a page and read it again."""
        path = tmp_path / "written.xml"
        path.write_bytes(export(self.name, item))
        return self.read(path)


@pytest.fixture(
    params=[
        Format("alto", "alto-4-4.xsd", "ID", read_alto),
        Format("page", "pagecontent-2019-07-15.xsd", "id", read_page_xml),
    ],
    ids=lambda form: form.name,
)
def form(request: pytest.FixtureRequest) -> Format:
    found: Format = request.param
    return found


@pytest.mark.parametrize("item", [scan(1), failed(2), blank(3)], ids=["page", "failed", "blank"])
def test_what_is_written_fits_the_schema(form: Format, item: Scan):
    document = etree.fromstring(export(form.name, item))
    schema(form.schema).assertValid(document)


def of_all_kinds() -> Scan:
    """A page with a region of each kind, the picture without lines."""
    known = page()
    kinds = get_args(RegionKind)[:4]
    regions = [
        Region(region.polygon, region.lines, kind=kind) for region, kind in zip(known.regions * 2, kinds, strict=True)
    ]
    return replace(scan(), page=replace(known, regions=(*regions, Region(box(10, 900, 400, 1200), (), kind="picture"))))


def test_regions_of_all_kinds_fit_the_schema(form: Format):
    schema(form.schema).assertValid(etree.fromstring(export(form.name, of_all_kinds())))


def test_a_page_that_is_written_is_read_again(form: Format, tmp_path: Path):
    found, source = form.written(tmp_path, scan()), page()
    assert (found.source, found.width, found.height) == ("a&b.pdf", 1000, 1400)
    assert [region.polygon for region in found.regions] == [region.polygon for region in source.regions]
    assert [line.baseline for line in found.lines] == [line.baseline for line in source.lines]
    assert [line.polygon for line in found.lines] == [line.polygon for line in source.lines]
    assert found.text == source.text.replace("\u0007", "\ufffd")


def test_regions_are_written_in_reading_order(form: Format, tmp_path: Path):
    item = scan()
    turned = replace(item, page=replace(item.page, regions=item.page.regions[::-1]))
    assert [r.polygon for r in form.written(tmp_path, turned).regions] == [r.polygon for r in turned.page.regions]


def test_names_from_a_segmentation_are_kept(form: Format, tmp_path: Path):
    first, second = page().regions
    lines = (replace(first.lines[0], id="eSc_line_7"), replace(first.lines[1], id="r2"))
    item = replace(scan(), page=replace(page(), regions=(replace(first, id="eSc_block_1", lines=lines), second)))
    found = form.written(tmp_path, item)
    assert found.regions[0].id == "eSc_block_1"
    assert [line.id for line in found.regions[0].lines] == ["eSc_line_7", "r2"]
    ids = [element.get(form.id) for element in etree.fromstring(export(form.name, item)).iter() if element.get(form.id)]
    assert len(ids) == len(set(ids))


def test_names_with_letters_of_any_script_are_kept(form: Format, tmp_path: Path):
    first, second = page().regions
    lines = (replace(first.lines[0], id="ligne_é1"), replace(first.lines[1], id="שורה·2"))
    item = replace(scan(), page=replace(page(), regions=(replace(first, id="région", lines=lines), second)))
    schema(form.schema).assertValid(etree.fromstring(export(form.name, item)))
    found = form.written(tmp_path, item).regions[0]
    assert [found.id, *(line.id for line in found.lines)] == ["région", "ligne_é1", "שורה·2"]


@pytest.mark.parametrize("kind", ["heading", "margin", "table", "picture", "text"])
def test_the_kind_of_a_region_is_written_and_read(form: Format, tmp_path: Path, kind: RegionKind):
    first, second = page().regions
    item = replace(scan(), page=replace(page(), regions=(replace(first, kind=kind), second)))
    assert [region.kind for region in form.written(tmp_path, item).regions] == [kind, "text"]


@pytest.mark.parametrize("label", ["footnote", "MainZone", "Zone principale: texte", "é"])
def test_what_a_file_calls_a_region_is_written_and_read(form: Format, tmp_path: Path, label: str):
    first, second = page().regions
    item = replace(scan(), page=replace(page(), regions=(replace(first, label=label), second)))
    schema(form.schema).assertValid(etree.fromstring(export(form.name, item)))
    assert [(region.kind, region.label) for region in form.written(tmp_path, item).regions] == [
        ("text", label), ("text", None),
    ]  # fmt: skip


def test_what_a_person_says_of_a_region_counts_more_than_what_a_file_calls_it(form: Format, tmp_path: Path):
    first, second = page().regions
    regions = (replace(first, label="footnote", kind="heading"), replace(second, label="marginalia"))
    found = form.written(tmp_path, replace(scan(), page=replace(page(), regions=regions))).regions
    assert [(region.kind, region.label) for region in found] == [("heading", "heading"), ("text", None)]


def test_a_picture_without_lines_is_written_and_read(form: Format, tmp_path: Path):
    picture = Region(box(10, 900, 400, 1200), (), "i", "picture")
    item = replace(scan(), page=replace(page(), regions=(page().regions[0], picture, page().regions[1])))
    found = form.written(tmp_path, item).regions
    assert [(region.id, region.kind, len(region.lines)) for region in found][1] == ("i", "picture", 0)
    assert found[1].polygon == picture.polygon


@pytest.mark.parametrize("bad", ["1 a", "", "é", "same"])
def test_names_that_xml_does_not_allow_or_that_occur_twice_are_replaced(form: Format, bad: str):
    first, second = page().regions
    lines = tuple(replace(line, id=bad) for line in first.lines)
    item = replace(scan(), page=replace(page(), regions=(replace(first, lines=lines), second)))
    schema(form.schema).assertValid(etree.fromstring(export(form.name, item)))


def test_words_stand_within_their_lines(form: Format):
    upper = tuple((x, 100.0 + 12 * (x // 20 % 2)) for x in np.arange(90.0, 380, 10).tolist())
    first = replace(page().lines[0], polygon=Polygon((*upper, (380, 150), (90, 150))))
    item = replace(scan(), page=replace(page(), regions=(Region(first.polygon, (first,)),)))
    document = etree.fromstring(export(form.name, item))
    schema(form.schema).assertValid(document)
    path = "{*}Coords" if form.name == "page" else "{*}Shape/{*}Polygon"
    words = [item.find(path) for tag in ("Word", "String") for item in document.iter(f"{{*}}{tag}")]
    points = [parse_points(word.get("points") or word.get("POINTS"), "") for word in words]
    rim = np.array(first.polygon.points, np.float32)
    assert len(points) == 2 and all(len(word) > 10 for word in points)
    assert min(cv2.pointPolygonTest(rim, point, True) for word in points for point in word) > -1.5


def test_an_image_with_a_backslash_in_its_name_is_found_again(form: Format, tmp_path: Path):
    (tmp_path / "a\\b.png").write_bytes(b"image")
    (tmp_path / "seg.xml").write_bytes(export(form.name, scan(), info=DocumentInfo("in/a\\b.png")))
    (pair,) = GroundTruth(tmp_path).pairs()
    assert pair.image == tmp_path / "a\\b.png"
