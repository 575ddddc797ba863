from pathlib import Path

import pytest
from unit.train.finder.made_pages import make_pages

from quillread.cli.main import main
from quillread.models.page import PageBackend

TINY = (
    *("--set", "network.channels=[4, 6]", "--set", "network.blocks=[1, 1]", "--set", "look.side=64"),
    *("--set", "batch_size=1", "--set", "workers=0", "--set", "precision=fp32"),
)


def train(*arguments: str | Path) -> int:
    return main(["train-segmenter", *map(str, arguments), *TINY])


def test_a_line_finder_is_trained_and_its_file_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pages = make_pages(tmp_path / "pages", count=1)
    assert train("--pages", pages, "--output", tmp_path / "run", "--set", "steps=2") == 0
    named = Path(capsys.readouterr().out.strip())
    assert named == tmp_path / "run" / "lines.onnx"
    PageBackend(named)


def test_a_run_goes_on_with_the_settings_of_its_folder(tmp_path: Path):
    pages = make_pages(tmp_path / "pages", count=1)
    assert train("--pages", pages, "--output", tmp_path / "run", "--set", "steps=1") == 0
    resumed = ["train-segmenter", "--output", str(tmp_path / "run"), "--resume", "--set", "steps=2"]
    assert main(resumed) == 0
    assert (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").count('"step": 2') == 1


def test_no_pages_and_no_lines_give_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert train("--output", tmp_path / "run") == 2
    assert "no pages and no lines" in capsys.readouterr().err


def test_a_folder_without_ground_truth_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "empty").mkdir()
    assert train("--pages", tmp_path / "empty", "--output", tmp_path / "run") == 3
    assert f"{tmp_path / 'empty'}: holds no PAGE or ALTO file" in capsys.readouterr().err


def test_a_mistyped_setting_is_refused_with_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pages = make_pages(tmp_path / "pages", count=1)
    assert train("--pages", pages, "--output", tmp_path / "run", "--set", "minuts=3") == 2
    assert "minutes" in capsys.readouterr().err
