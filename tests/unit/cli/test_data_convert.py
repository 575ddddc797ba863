import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fakes import write_folder, write_hub

from quillread.cli.main import main
from quillread.data.source import Source
from quillread.data.spec import open_source, parse_spec


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Lines of five writers, four of each, in a table; and one of a validation split."""
    folder = tmp_path / "lines"
    write_folder(folder, [f"text {i}" for i in range(20)])
    rows = [f"line-{i:02}.png,text {i},writer {i // 4},train" for i in range(20)]
    table = ["image,text,group,split", *rows, "line-00.png,held out,other,validation", ""]
    (folder / "metadata.csv").write_text("\n".join(table), encoding="utf-8")
    return folder


def quill(*arguments: object) -> int:
    return main(["data", *map(str, arguments)])


def opened(folder: Path, split: str = "train") -> Source:
    return open_source(parse_spec(f"hub:{folder}"), split)


def texts(folder: Path, split: str = "train") -> list[str]:
    source = opened(folder, split)
    return [source.text(i) for i in range(len(source))]


def groups(folder: Path, split: str) -> set[str]:
    source = opened(folder, split)
    return {source.group(i) for i in range(len(source))}


def test_convert_writes_each_split_and_names_the_set(lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    output = tmp_path / "set"
    assert quill("convert", lines, "--output", output, "--split", "train", "--split", "validation") == 0
    assert texts(output, "validation") == ["held out"]
    assert capsys.readouterr().out == (
        f"train: 20 lines of 5 groups, files: 1\nvalidation: 1 lines of 1 groups, files: 1\nhub:{output}\n"
    )


def test_convert_makes_small_copies(lines: Path, tmp_path: Path):
    assert quill("convert", lines, "--output", tmp_path / "set", "--webp", 30) == 0
    assert texts(tmp_path / "set") == [f"text {i}" for i in range(20)]


@pytest.mark.parametrize("quality", ["0", "101", "good"])
def test_convert_refuses_a_quality_that_is_none(quality: str, lines: Path, tmp_path: Path):
    with pytest.raises(SystemExit, match="2"):
        quill("convert", lines, "--output", tmp_path / "set", "--webp", quality)
    assert not (tmp_path / "set").exists()


def test_convert_scales_to_a_height(lines: Path, tmp_path: Path):
    quill("convert", lines, "--output", tmp_path / "set", "--height", 20)
    assert opened(tmp_path / "set").sample(0, np.random.default_rng(0)).image.shape[0] == 20


def test_convert_takes_columns_from_flags(tmp_path: Path):
    write_hub(tmp_path / "hub", {"train": ["one"]}, text_column="label")
    assert quill("convert", f"hub:{tmp_path / 'hub'}", "--text-column", "label", "--output", tmp_path / "set") == 0
    assert texts(tmp_path / "set") == ["one"]


@pytest.mark.parametrize("action", ["convert", "split"])
def test_unreadable_lines_give_3_and_are_named(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str
):
    (lines / "line-05.png").write_bytes(b"nothing")
    assert quill(action, lines, "--output", tmp_path / "set") == 3
    out, err = capsys.readouterr()
    assert "skipped as unreadable: 1" in out
    assert "skipped: " in err and "line-05.png" in err


def test_a_source_without_splits_is_not_written_as_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_folder(tmp_path / "lines", ["one", "two"])
    output = tmp_path / "set"
    assert quill("convert", tmp_path / "lines", "--output", output, "--split", "train", "--split", "validation") == 3
    assert "same lines in train and validation" in capsys.readouterr().err


@pytest.mark.parametrize("action", ["convert", "split"])
def test_a_folder_that_holds_files_is_refused(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], action: str
):
    (tmp_path / "letter.txt").touch()
    assert quill(action, lines, "--output", tmp_path) == 2
    assert "holds other files" in capsys.readouterr().err


def test_overwriting_deletes_parquet_files_of_the_splits_written_only(lines: Path, tmp_path: Path):
    output = tmp_path / "set"
    output.mkdir()
    names = ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test.parquet", "train-notes.txt")
    for name in names:
        (output / name).touch()
    assert quill("convert", lines, "--output", output, "--overwrite") == 0
    found = sorted(path.name for path in output.iterdir())
    assert found == ["test.parquet", "train-00000-of-00001.parquet", "train-notes.txt"]


def test_parquet_files_that_would_be_read_along_are_refused(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_hub(tmp_path / "set", {"train": ["one"]})  # in the folder data of it
    assert quill("convert", lines, "--output", tmp_path / "set", "--overwrite") == 2
    assert "would be read together" in capsys.readouterr().err


def test_the_data_itself_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_hub(tmp_path / "set", {"train": ["one", "two"]})
    assert quill("split", f"hub:{tmp_path / 'set'}", "--output", tmp_path / "set", "--overwrite") == 2
    assert "is the data itself" in capsys.readouterr().err


def test_split_puts_no_group_in_two_parts(lines: Path, tmp_path: Path):
    output = tmp_path / "set"
    assert quill("split", lines, "--output", output, "--validation", 0.2, "--test", 0.2) == 0
    parts = [groups(output, split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [3, 1, 1]
    assert len(set.union(*parts)) == 5


def test_split_loses_and_repeats_no_line(lines: Path, tmp_path: Path):
    quill("split", lines, "--output", tmp_path / "set", "--test", 0.2)
    found = [text for split in ("train", "validation", "test") for text in texts(tmp_path / "set", split)]
    assert sorted(found) == sorted(f"text {i}" for i in range(20))


def test_the_seed_chooses_the_groups(lines: Path, tmp_path: Path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        quill("split", lines, "--output", tmp_path / name, "--seed", seed)
    a, b, c = (groups(tmp_path / name, "validation") for name in "abc")
    assert a == b
    assert a != c


def test_lines_without_groups_are_split_with_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_folder(tmp_path / "lines", [f"text {i}" for i in range(10)])
    assert quill("split", tmp_path / "lines", "--output", tmp_path / "set", "--validation", 0.2) == 0
    assert len(texts(tmp_path / "set", "validation")) == 2
    assert "no line has a group" in capsys.readouterr().err


def test_a_test_split_of_another_division_is_refused(lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    quill("split", lines, "--output", tmp_path / "set", "--test", 0.2)
    assert quill("split", lines, "--output", tmp_path / "set", "--seed", 1, "--overwrite") == 2
    assert "test split of another division" in capsys.readouterr().err


def test_shares_that_leave_nothing_are_refused(lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert quill("split", lines, "--output", tmp_path / "set", "--validation", 0.5, "--test", 0.5) == 2
    assert "leave nothing to train on" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "1", "10%", "nan"])
def test_a_share_is_a_fraction(lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], share: str):
    with pytest.raises(SystemExit):
        quill("split", lines, "--output", tmp_path / "set", "--validation", share)
    assert "must be above 0 and below 1" in capsys.readouterr().err


def test_parser_imports_neither_numpy_nor_pillow():
    code = "import sys, quillread.cli.data_files; sys.exit(bool({'numpy', 'PIL', 'cv2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
