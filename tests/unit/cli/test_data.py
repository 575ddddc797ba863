import argparse
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from fakes import write_folder
from PIL import Image

from quillread.cli.data import configure
from quillread.errors import ConfigError, DataError, UsageError


@pytest.fixture
def lines(tmp_path):
    """A table of two splits; the image of validation is also in train."""
    folder = tmp_path / "lines"
    folder.mkdir()
    for name, level in (("one", 1), ("two", 2)):
        image = np.full((32, 160, 3), 255, np.uint8)
        image[8:24, 8:152] = level
        cv2.imwrite(str(folder / f"{name}.png"), image)
    (folder / "metadata.csv").write_text(
        "id,image,text,split\na,one.png,some words,train\nb,two.png,other words,train\n"
        "c,one.png,some words,validation\n",
        encoding="utf-8",
    )
    return folder


def quill(*arguments):
    parser = argparse.ArgumentParser(prog="quill data")
    configure(parser)
    args = parser.parse_args([*map(str, arguments)])
    return args.run(args)


def size(path):
    with Image.open(path) as image:
        return image.size


def test_stats_go_to_stdout(lines, capsys):
    assert quill("stats", lines) == 0
    assert "2 lines" in capsys.readouterr().out


def test_stats_of_several_splits_are_in_the_json(lines, tmp_path):
    quill("stats", lines, "--split", "train", "--split", "validation", "--json", tmp_path / "stats.json")
    sources = json.loads((tmp_path / "stats.json").read_text(encoding="utf-8"))["sources"]
    assert [(s["name"], s["lines"]) for s in sources] == [
        (f"folder:{lines} (train)", 2),
        (f"folder:{lines} (validation)", 1),
    ]


def test_check_of_sound_lines_gives_0(lines, capsys):
    assert quill("check", lines, "--split", "train") == 0
    assert "no faults found" in capsys.readouterr().out


def test_check_that_finds_faults_gives_3(lines, capsys):
    assert quill("check", lines, "--split", "train", "--split", "validation") == 3
    assert "images that occur twice: 1" in capsys.readouterr().out


def test_check_looks_at_all_splits_that_there_are(lines, capsys):
    assert quill("check", lines) == 3
    out = capsys.readouterr().out
    assert "(validation): 1 lines" in out and "(test)" not in out
    assert "images that occur twice: 1" in out


def test_check_looks_once_at_lines_without_splits(tmp_path, capsys):
    write_folder(tmp_path / "plain", ["some words", "other words"])
    assert quill("check", tmp_path / "plain") == 0
    assert capsys.readouterr().out.startswith(f"folder:{tmp_path / 'plain'} (train): 2 lines\n\n")


def test_check_tells_a_group_of_two_data_sets_and_takes_it_for_no_fault(lines, tmp_path, capsys):
    for name, image in (("a", "one"), ("b", "two")):
        rows = f"image,text,group\nlines/{image}.png,some words,ann\n"
        (tmp_path / f"{name}.csv").write_text(rows, encoding="utf-8")
    assert quill("check", f"csv:{tmp_path / 'a.csv'}", f"csv:{tmp_path / 'b.csv'}") == 0
    out = capsys.readouterr().out
    assert "no fault, but groups of the same name in several data sets: 1" in out
    assert f"group 'ann': 1 lines in csv:{tmp_path / 'a.csv'}, 1 lines in csv:{tmp_path / 'b.csv'}" in out


def test_check_of_a_table_without_a_usual_split_says_so(lines, tmp_path):
    table = lines / "metadata.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("train", "x").replace("validation", "x"), "utf-8")
    with pytest.raises(DataError, match="no row has split = 'train'"):
        quill("check", lines)


def test_check_writes_its_faults_as_json(lines, tmp_path):
    quill("check", lines, "--split", "train", "--split", "validation", "--json", tmp_path / "check.json")
    report = json.loads((tmp_path / "check.json").read_text(encoding="utf-8"))
    assert [(fault["kind"], fault["id"]) for fault in report["faults"]] == [("duplicate_image", "c")]


def test_split_named_twice_is_checked_once(lines):
    assert quill("check", lines, "--split", "train", "--split", "train") == 0


def test_show_writes_a_png_and_names_it(lines, tmp_path, capsys):
    output = tmp_path / "sheet.png"
    assert quill("show", lines, "--output", output, "--lines", 1) == 0
    assert size(output)[0] == 1600
    assert capsys.readouterr().out == f"{output}\n"


def test_show_draws_the_sheets_of_all_sources_in_one_file(lines, tmp_path):
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    quill("show", lines, "--output", one)
    quill("show", lines, lines, "--output", two)
    assert size(two)[1] == 2 * size(one)[1]


def test_show_takes_settings_of_the_augmentation(lines, tmp_path):
    plain, strong = tmp_path / "plain.png", tmp_path / "strong.png"
    quill("show", lines, "--output", plain, "--augment")
    quill("show", lines, "--output", strong, "--augment", "--set", "augment.strength=2")
    assert plain.read_bytes() != strong.read_bytes()


def test_seed_changes_the_looks(lines, tmp_path):
    zero, one = tmp_path / "zero.png", tmp_path / "one.png"
    quill("show", lines, "--output", zero, "--augment")
    quill("show", lines, "--output", one, "--augment", "--seed", 1)
    assert zero.read_bytes() != one.read_bytes()


def test_show_draws_the_cleaning_steps_with_their_settings(lines, tmp_path):
    plain, coarse = tmp_path / "plain.png", tmp_path / "coarse.png"
    quill("show", lines, "--output", plain, "--steps")
    quill("show", lines, "--output", coarse, "--steps", "--set", "preprocess.median.size=9")
    assert plain.read_bytes() != coarse.read_bytes()


def test_steps_and_augmentation_are_not_drawn_together(lines, tmp_path, capsys):
    with pytest.raises(SystemExit):
        quill("show", lines, "--output", tmp_path / "x.png", "--steps", "--augment")
    assert "not allowed with argument" in capsys.readouterr().err


def test_setting_of_what_is_not_drawn_is_refused(lines, tmp_path):
    with pytest.raises(UsageError, match="unknown setting 'augment'"):
        quill("show", lines, "--output", tmp_path / "x.png", "--steps", "--set", "augment.strength=2")


def test_columns_are_taken_from_flags(lines, capsys):
    table = (lines / "metadata.csv").read_text(encoding="utf-8").replace("image,text", "scan,label")
    (lines / "metadata.csv").write_text(table, encoding="utf-8")
    assert quill("stats", lines, "--image-column", "scan", "--text-column", "label") == 0
    assert "2 lines" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["fetch", "split", "convert"])
def test_actions_that_write_are_wired(action, capsys):
    with pytest.raises(SystemExit) as stop:
        quill(action, "--help")
    assert stop.value.code == 0


def test_settings_without_augmentation_are_refused(lines, tmp_path):
    with pytest.raises(UsageError, match="--set"):
        quill("show", lines, "--output", tmp_path / "x.png", "--set", "augment.strength=2")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("augment.strenght=2", "strength"),
        ("strength=2", "unknown setting 'strength'"),
        ("augment=2", "--set"),
    ],
)
def test_mistyped_setting_is_refused(lines, tmp_path, setting, message):
    with pytest.raises((ConfigError, UsageError), match=message):
        quill("show", lines, "--output", tmp_path / "x.png", "--augment", "--set", setting)


@pytest.mark.parametrize("number", ["0", "-1", "many"])
def test_number_of_lines_must_be_positive(lines, tmp_path, capsys, number):
    with pytest.raises(SystemExit):
        quill("show", lines, "--output", tmp_path / "x.png", f"--lines={number}")
    assert "must be a whole number, 1 or more" in capsys.readouterr().err


def test_progress_is_shown_on_a_terminal_only(lines, capsys, monkeypatch):
    quill("check", lines)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    quill("check", lines)
    assert "3/3 lines" in capsys.readouterr().err


def test_unknown_source_is_an_error_of_ours(tmp_path):
    with pytest.raises(DataError, match="neither a folder"):
        quill("stats", tmp_path / "missing")


def test_parser_imports_neither_numpy_nor_pillow():
    code = "import sys, quillread.cli.data; sys.exit(bool({'numpy', 'PIL', 'cv2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_looks_of_a_training_are_drawn_as_its_network_gets_them(lines, tmp_path):
    plain, classic, noisy = (tmp_path / f"{name}.png" for name in ("plain", "classic", "noisy"))
    quill("show", lines, "--output", plain, "--augment")
    preset = ("--augment", "--config", "trocr-classic")
    assert quill("show", lines, "--output", classic, *preset) == 0
    assert quill("show", lines, "--output", noisy, *preset, "--set", "augment.elastic_noise=0.5") == 0
    assert size(classic)[0] == 1600
    # Two more distortions are two more rows.
    assert size(plain)[1] != size(classic)[1] < size(noisy)[1]


def test_a_training_that_is_not_drawn_is_refused(lines, tmp_path):
    with pytest.raises(UsageError, match="--config changes what is not drawn"):
        quill("show", lines, "--output", tmp_path / "x.png", "--config", "trocr-classic")
    with pytest.raises(ConfigError, match="trocr-classic"):
        quill("show", lines, "--output", tmp_path / "x.png", "--augment", "--config", "trocr-clasic")


def test_a_text_that_cannot_be_read_is_a_fault_of_its_line(tmp_path, capsys):
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((32, 320, 3), 200, np.uint8))
        (tmp_path / f"{name}.txt").write_text("some words", encoding="utf-8")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfea")
    assert quill("check", tmp_path, "--json", tmp_path / "faults.json") == 3
    faults = json.loads((tmp_path / "faults.json").read_text(encoding="utf-8"))["faults"]
    assert ("unreadable", 0) in [(fault["kind"], fault["row"]) for fault in faults]
    assert "a.txt: cannot be read as UTF-8 text" in capsys.readouterr().out
    assert quill("stats", tmp_path) == 0
    assert quill("show", tmp_path, "--output", tmp_path / "out" / "sheet.png") == 0
