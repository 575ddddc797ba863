import json
from pathlib import Path

import pytest
from fakes import bar_line, png

from quillread.cli.main import main

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
