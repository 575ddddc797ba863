import argparse

import pytest
from fakes import bar_line, bar_recognizer, png

from quillread.cli.data_files import add_cuts
from quillread.data.spec import open_source, parse_spec
from quillread.errors import DataError


@pytest.fixture
def lines(tmp_path, monkeypatch):
    monkeypatch.setattr("quillread.recognize.load.load", bar_recognizer)
    folder = tmp_path / "lines"
    folder.mkdir()
    for i, text in enumerate(["ab cd", "ea bc", "da"]):
        (folder / f"{i}.png").write_bytes(png(bar_line(text)))
        (folder / f"{i}.txt").write_text(text, encoding="utf-8")
    return folder


def cut(*arguments):
    parser = argparse.ArgumentParser(prog="quill data")
    add_cuts(parser.add_subparsers())
    args = parser.parse_args(["cuts", *map(str, arguments)])
    return args.run(args)


def test_lines_are_cut_and_put_together_anew(lines, tmp_path, capsys):
    assert cut(lines, "--output", tmp_path / "cuts.jsonl") == 0
    assert "2 of 2 spaces found, in 2 of 3 lines" in capsys.readouterr().err
    source = open_source(parse_spec(f"recombined:folder:{lines}?cuts={tmp_path / 'cuts.jsonl'}&lines=9"), "train")
    assert len(source) == 9
    assert {word for i in range(9) for word in source.text(i).split()} <= {"ab", "cd", "ea", "bc"}


def test_lines_that_cannot_be_read_are_skipped_and_told(lines, tmp_path, capsys):
    (lines / "1.png").write_bytes(b"nothing")
    assert cut(lines, "--output", tmp_path / "cuts.jsonl") == 3
    told = capsys.readouterr().err
    assert "1 of 2 spaces found, in 1 of 3 lines" in told
    assert "1.png: is not an image" in told
    assert told.endswith("; the line is skipped\n")


def test_lines_none_of_which_can_be_cut_give_no_file(lines, tmp_path):
    for i in range(2):
        (lines / f"{i}.txt").write_text("abcd", encoding="utf-8")
    with pytest.raises(DataError, match="none of the 3 lines can be cut"):
        cut(lines, "--output", tmp_path / "cuts.jsonl")
    assert not (tmp_path / "cuts.jsonl").exists()


def test_a_source_without_cuts_is_refused(lines):
    with pytest.raises(DataError, match="where the lines can be cut"):
        open_source(parse_spec(f"recombined:folder:{lines}"), "train")


def test_lines_that_are_made_anew_cannot_be_cut():
    with pytest.raises(DataError, match="made anew"):
        open_source(parse_spec("recombined:strokes:x.npz?cuts=c.jsonl"), "train")


def test_a_published_spec_names_no_folders(lines):
    spec = parse_spec(f"recombined:folder:{lines}?cuts={lines / '0.txt'}")
    assert str(spec.public()) == "recombined:folder:lines?cuts=0.txt"
