import json
import re
from pathlib import Path

import pytest
from fakes import bar_line, png

from quillread.batch.review import ReviewList
from quillread.cli.main import main
from quillread.types import DocumentInfo, Line, Page, Polygon, Region, Scan, Transcript

pytestmark = pytest.mark.usefixtures("bar_model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for name, text in (("a", "a bad cab"), ("b", "dead")):
        (tmp_path / "in" / f"{name}.png").write_bytes(png(bar_line(text)))
    return tmp_path / "in"


def read(folder: Path, *options: str) -> int:
    return main(["read", "--lines", str(folder), *options])


def test_all_lines_are_named_if_no_error_may_remain(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read(folder, "--review", "0") == 0
    captured = capsys.readouterr()
    assert "a bad cab" in captured.out
    assert f"review {folder / 'b.png'}, page 1, line 1 (expected CER " in captured.err
    assert "proofread 2 of 2 lines; the others are expected to hold at most 0 % errors" in captured.err


def test_no_line_is_named_if_any_error_may_remain(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert read(folder, "--review", "1") == 0
    assert "proofread 0 of 2 lines" in capsys.readouterr().err


def test_the_list_lies_beside_the_results(folder: Path, tmp_path: Path):
    assert read(folder, "--review", "0", "--output", str(tmp_path / "out")) == 0
    head, *rows = (tmp_path / "out" / "review.tsv").read_text(encoding="utf-8").splitlines()
    assert head.split("\t") == ["input", "page", "line", "expected_cer", "text"]
    assert [row.split("\t")[4] for row in rows] == ["a bad cab", "dead"]


def test_the_json_says_what_is_to_be_expected_of_a_line(folder: Path, capsys: pytest.CaptureFixture[str]):
    read(folder, "--format", "json")
    document = json.loads(capsys.readouterr().out.splitlines()[0])
    assert 0 < document["pages"][0]["lines"][0]["expected_cer"] < 1


@pytest.mark.parametrize("target", ["5", "-1", "x", "nan"])
def test_a_target_that_is_not_a_share_is_refused(folder: Path, target: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        read(folder, "--review", target)
    assert caught.value.code == 2
    assert "5 % is 0.05" in capsys.readouterr().err


def test_a_list_for_a_spreadsheet_computes_nothing_and_keeps_to_its_rows(tmp_path: Path):
    review = ReviewList(0.0)
    box = Polygon(((0.0, 0.0), (9.0, 0.0), (9.0, 9.0)))
    writer = review.writer()
    writer.begin(DocumentInfo("=a\n\x1b.png"))
    writer.add(
        Scan(Page("", 1, 9, 9, (Region(box, (Line(((0.0, 9.0), (9.0, 9.0)), box, Transcript("=1\t2", 0.5)),)),)))
    )
    said: list[str] = []
    review.finish(tmp_path, said.append)
    (_, row) = (tmp_path / "review.tsv").read_text(encoding="utf-8").splitlines()
    assert row.split("\t") == ["'=a\ufffd\ufffd.png", "1", "1", "1.0000", "'=1 2"]
    review.finish(None, said.append)
    assert "\n" not in said[1]


@pytest.mark.parametrize("is_listed", [False, True])
def test_the_summary_says_what_was_read_and_what_is_to_be_proofread(
    is_listed: bool, folder: Path, capsys: pytest.CaptureFixture[str]
):
    assert read(folder, *(["--review", "0"] if is_listed else [])) == 0
    said = capsys.readouterr().err.splitlines()[-1]
    proofread = "" if is_listed else r", \d of them to proofread \(--review 0.05 lists them\)"
    assert re.fullmatch(rf"quill: 2 pages with 2 lines read{proofread}", said)


def test_the_summary_counts_the_pages_on_which_something_was_skipped():
    review = ReviewList(0.05)
    for notes in ((), ("no writing found",)):
        review.take("a.png", Scan(Page("a.png", 1, 10, 10, notes=notes)))
    assert review.summary() == "2 pages with 0 lines read; 1 page with something skipped or amiss"
