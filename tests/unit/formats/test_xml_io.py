import os
from pathlib import Path

import pytest

from quillread.errors import DataError
from quillread.formats import xml_io
from quillread.formats.xml_io import make_line, parse_points, parse_xml, plain_text, root_name
from quillread.types import Point

PAGE = '<?xml version="1.0" encoding="{}"?>\n<!-- of <alto> --><p:PcGts xmlns:p="urn:x"><p:Page/></p:PcGts>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_the_root_is_told_in_any_encoding_and_behind_any_comment(encoding: str, tmp_path: Path):
    path = tmp_path / "a.xml"
    path.write_bytes(PAGE.format(encoding.removesuffix("-sig")).encode(encoding))
    assert root_name(path) == "PcGts"
    assert [child.tag for child in parse_xml(path, "PcGts")] == ["Page"]


def test_a_file_that_is_not_xml_is_refused(tmp_path: Path):
    for content in (b"", b"text", b"\xff\xd8\xff\xe0 JFIF"):
        (tmp_path / "a.xml").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.xml: malformed XML"):
            root_name(tmp_path / "a.xml")


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_not_a_file_is_refused_without_waiting(kind: str, tmp_path: Path):
    path = tmp_path / "x.xml"
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    for read in (root_name, lambda path: parse_xml(path, "PcGts")):
        with pytest.raises(DataError, match=r"x\.xml: is not a file"):
            read(path)


def test_a_file_of_100_mb_is_refused_unread(tmp_path: Path):
    path = tmp_path / "a.xml"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(DataError, match="has 104,857,600 bytes, more than the limit of 33,554,432"):
        root_name(path)


@pytest.mark.parametrize("element", ["a", "TextRegion"])
def test_elements_nested_100000_deep_are_refused(element: str, tmp_path: Path):
    path = tmp_path / "a.xml"
    path.write_text(f"<PcGts>{f'<{element}>' * 100_000}{f'</{element}>' * 100_000}</PcGts>", encoding="utf-8")
    with pytest.raises(DataError, match="elements are nested more than 100 deep"):
        parse_xml(path, "PcGts")


def test_too_many_elements_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(xml_io, "_MOST_ELEMENTS", 1000)
    (tmp_path / "a.xml").write_text(f"<PcGts>{'<a/>' * 1000}</PcGts>", encoding="utf-8")
    with pytest.raises(DataError, match="more than 1,000 elements"):
        parse_xml(tmp_path / "a.xml", "PcGts")


@pytest.mark.parametrize("text", ["1,1 " * 100_001, "0" * 3_000_000])
def test_too_many_points_are_refused(text: str):
    with pytest.raises(DataError, match=r"a\.xml: more: has more than 100,000 points"):
        parse_points(text, "a.xml: more")


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("\n      Dear\n\t Sir,  I \n", "Dear Sir,  I"),
        ("recon\u00ad", "recon-"),
        ("recon-\u00ad", "recon-"),
        ("re\u00adcon", "recon"),
        ("\u00ad", "-"),
        ("a\u00a0b", "a\u00a0b"),
    ],
)
def test_text_is_as_on_the_paper(written: str, seen: str):
    assert plain_text(written) == seen


ABOVE = ((10.0, 10.0), (210.0, 30.0), (210.0, 70.0), (10.0, 50.0))
"""The outline of a line that falls a little, whose letters stand on a baseline from (10, 40) to (210, 60)."""
COURSE = ((10.0, 40.0), (100.0, 49.0), (210.0, 60.0))


@pytest.mark.parametrize("baseline", [COURSE, COURSE[::-1]])
def test_a_baseline_that_is_drawn_to_the_left_below_its_writing_is_turned_round(baseline: tuple[Point, ...]):
    line = make_line(baseline, ABOVE, "text", None)
    assert line is not None
    assert line.baseline == COURSE


def test_a_baseline_of_writing_upside_down_stays():
    upside_down = [(220 - x, 80 - y) for x, y in ABOVE]
    baseline = tuple((220 - x, 80 - y) for x, y in COURSE)
    line = make_line(baseline, upside_down, "text", None)
    assert line is not None
    assert line.baseline == baseline


@pytest.mark.parametrize("baseline", [((50.0, 200.0), (50.0, 10.0)), ((50.0, 10.0), (50.0, 200.0))])
def test_a_baseline_of_writing_on_its_side_stays(baseline: tuple[Point, ...]):
    line = make_line(baseline, [(20, 10), (60, 10), (60, 200), (20, 200)], "text", None)
    assert line is not None
    assert line.baseline == baseline
