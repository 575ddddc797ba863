"""Tables as other programs write them, and folders that lack a part."""

import errno
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from fakes import line_image, png, write_folder

from quillread.data.source import Source, fixed_sample
from quillread.data.spec import open_source, open_splits, parse_spec
from quillread.data.tables import read_text
from quillread.errors import DataError, SplitError


def open_at(text: str) -> Source:
    return open_source(parse_spec(text), "train")


def texts(source: Source) -> list[str]:
    return [source.text(i) for i in range(len(source))]


def write_table(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    (folder / "sub").mkdir()
    for place in ("0.png", "1.png", "2.png", "sub/0.png"):
        (folder / place).write_bytes(png(line_image("abc")))
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


@pytest.mark.parametrize(
    "content",
    [
        "image,text\n0.png,one\n1.png,two\n",
        "image;text\n0.png;one\n1.png;two\n",
        "image\ttext\r\n0.png\tone\r\n1.png\ttwo\r\n",
        "sep=;\nimage;text\n0.png;one\n1.png;two\n",
        '"image","text"\n"0.png","one"\n"1.png","two"',
        "image;text;;\n0.png;one;;\n1.png;two;;\n;;;\n;;;\n",
        " image , text \n0.png,one\n\n1.png,two\n",
        "image\ttext\r\n0.png\tone\r\n1.png\ttwo\r\n".encode("utf-16"),
        "image,text\n0.png,\u200bone\n1.png,two\u00a0\n",
    ],
    ids=["plain", "semicolons", "tabs", "excel", "quoted", "empty cells", "spaces", "utf-16", "invisible"],
)
def test_tables_of_other_programs_are_read(tmp_path: Path, content: str | bytes):
    assert texts(open_at(f"csv:{write_table(tmp_path, content)}")) == ["one", "two"]


def test_cells_with_quotation_marks_are_read(tmp_path: Path):
    rows = 'image,text\n0.png,"""Come,"" he said"\n1.png,he said "come"\n2.png,"of two\nrows"\n'
    assert texts(open_at(f"csv:{write_table(tmp_path, rows)}")) == ['"Come," he said', 'he said "come"', "of two rows"]


@pytest.mark.parametrize(
    "rows",
    [
        '1.png,"Come here he said\n2.png,and sat down\n',
        '1.png,"Come here\n2.png,he said"\n',
        '1.png,"Come here\n2.png,"and sat down"\n',
        '1.png,"Come" he said\n2.png,and sat down\n',
    ],
    ids=["to the end", "to a later mark", "to a later opening mark", "within the cell"],
)
def test_a_text_that_begins_with_a_bare_quotation_mark_is_refused(tmp_path: Path, rows: str):
    path = write_table(tmp_path, "image,text\n0.png,plain start\n" + rows)
    with pytest.raises(DataError, match=r"t\.csv, row 2 \(line 3\): a quotation mark opens a cell") as caught:
        open_at(f"csv:{path}")
    assert "double its own" in str(caught.value)


def test_a_table_that_is_not_utf_8_says_how_to_save_it(tmp_path: Path):
    path = write_table(tmp_path, "image,text\n0.png,été\n".encode("cp1252"))
    with pytest.raises(DataError, match="cannot be read as UTF-8 text") as caught:
        open_at(f"csv:{path}")
    assert "save it as UTF-8" in str(caught.value)


def test_images_are_found_by_paths_of_windows(tmp_path: Path):
    path = write_table(tmp_path, "image,text\nsub\\0.png,one\n")
    assert fixed_sample(open_at(f"csv:{path}"), 0).id == "sub\\0.png"


def test_a_name_with_a_backslash_is_that_of_its_file_where_there_is_one(tmp_path: Path):
    path = write_table(tmp_path, "image,text\na\\0.png,one\n")
    (tmp_path / "a\\0.png").write_bytes(png(line_image("abcdef")))
    assert fixed_sample(open_at(f"csv:{path}"), 0).image.shape == line_image("abcdef").shape


@pytest.mark.parametrize(("text", "known"), [(1914, "1914"), (1914.0, "1914"), ("x", "x")])
def test_whole_numbers_are_texts(tmp_path: Path, text: object, known: str):
    path = write_table(tmp_path, json.dumps({"image": "0.png", "text": text, "id": 0, "group": 7}), "t.jsonl")
    sample = fixed_sample(open_at(f"jsonl:{path}"), 0)
    assert (sample.text, sample.id, sample.group) == (known, "0", "7")


@pytest.mark.parametrize("text", [["one"], {"a": 1}, True, 0.5])
def test_other_things_are_no_texts(tmp_path: Path, text: object):
    path = write_table(tmp_path, json.dumps({"image": "0.png", "text": text}), "t.jsonl")
    with pytest.raises(DataError, match="row 1: column 'text' holds no text, but"):
        open_at(f"jsonl:{path}")


def test_a_null_id_or_group_is_none(tmp_path: Path):
    path = write_table(tmp_path, '{"image": "0.png", "text": "a", "id": null, "group": null}', "t.jsonl")
    sample = fixed_sample(open_at(f"jsonl:{path}"), 0)
    assert (sample.id, sample.group) == ("0.png", "")


@pytest.mark.parametrize("suffix", [".TXT", ".Txt"])
def test_texts_of_a_folder_may_have_their_suffix_in_capitals(tmp_path: Path, suffix: str):
    write_folder(tmp_path, ["one", "two"])
    (tmp_path / "line-01.txt").rename(tmp_path / f"line-01{suffix}")
    assert texts(open_at(str(tmp_path))) == ["one", "two"]


def test_a_folder_warns_of_images_and_texts_that_stand_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_folder(tmp_path, ["one", "two", "three"])
    assert not (open_at(str(tmp_path)), caplog.messages)[1]
    (tmp_path / "line-00.txt").unlink()
    (tmp_path / "line-02.png").unlink()
    assert texts(open_at(str(tmp_path))) == ["two"]
    assert [message.partition(": ")[2] for message in caplog.messages] == [
        "1 images have no text beside them and are skipped: line-00.png",
        "1 texts have no image beside them and are skipped: line-02.txt",
    ]


def test_an_image_of_the_same_name_is_not_a_second_line_of_its_text(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_folder(tmp_path, ["one", "two"])
    (tmp_path / "line-00.webp").write_bytes((tmp_path / "line-00.png").read_bytes())
    source = open_at(str(tmp_path))
    assert [fixed_sample(source, i).id for i in range(len(source))] == ["line-00.png", "line-01.png"]
    assert "1 images have the text of another and are skipped: line-00.webp" in caplog.text


def test_copies_in_hidden_folders_are_not_lines(tmp_path: Path):
    write_folder(tmp_path, ["one"])
    write_folder(tmp_path / ".ipynb_checkpoints", ["one"])
    assert texts(open_at(str(tmp_path))) == ["one"]


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev"])
def test_a_table_may_call_its_validation_split_otherwise(tmp_path: Path, name: str):
    table = write_table(tmp_path, f"image,text,split\n0.png,one,train\n1.png,two,{name}\n")
    splits = open_splits(parse_spec(f"csv:{table}"))
    assert {split: texts(source) for split, source in splits.items()} == {"train": ["one"], "validation": ["two"]}


def test_rows_without_a_split_are_in_none(tmp_path: Path):
    rows = [{"image": "0.png", "text": "one"}, {"image": "1.png", "text": "two", "split": "train"}]
    table = write_table(tmp_path, "\n".join(map(json.dumps, rows)), "t.jsonl")
    with pytest.raises(SplitError):
        open_source(parse_spec(f"jsonl:{table}"), "validation")


@pytest.mark.parametrize("table", ["", "metadata.csv", "metadata.jsonl"])
def test_folders_named_after_splits_are_these(tmp_path: Path, table: str):
    for folder, text in (("train", "one"), ("val", "two"), ("test", "three")):
        write_folder(tmp_path / folder, [text])
        if table:
            row = {"file_name": "line-00.png", "text": text}
            csv = f"file_name,text\nline-00.png,{text}\n"
            (tmp_path / folder / table).write_text(csv if table.endswith("csv") else json.dumps(row))
    splits = open_splits(parse_spec(f"folder:{tmp_path}"))
    assert {split: texts(source) for split, source in splits.items()} == {
        "train": ["one"],
        "validation": ["two"],
        "test": ["three"],
    }


def test_lines_of_another_split_are_not_those_of_the_one_that_is_missing(tmp_path: Path):
    write_folder(tmp_path / "test", ["one"])
    with pytest.raises(SplitError, match="has no such split"):
        open_at(str(tmp_path))


def test_lines_in_folders_of_other_names_are_all_there(tmp_path: Path):
    write_folder(tmp_path / "one", ["one"])
    write_folder(tmp_path / "two", ["two"])
    assert texts(open_at(str(tmp_path))) == ["one", "two"]


def write_lines(folder: Path) -> Path:
    folder.mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((32, 160, 3), 200, np.uint8))
        (folder / f"{name}.txt").write_text("some words", encoding="utf-8")
    return folder


def test_a_text_of_a_folder_that_cannot_be_read_costs_its_line_alone(tmp_path: Path):
    folder = write_lines(tmp_path / "lines")
    (folder / "a.txt").write_bytes(b"\xff\xfea")
    source = open_at(str(folder))
    assert [source.text(0), source.text(1)] == ["", "some words"]
    with pytest.raises(DataError, match=r"row 0 \(a\.png\): .*a\.txt: cannot be read as UTF-8 text"):
        fixed_sample(source, 0)
    assert fixed_sample(source, 1).text == "some words"


def test_a_text_that_cannot_be_opened_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_lines(tmp_path / "lines")

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.txt: cannot be read: Permission denied") as caught:
        read_text(folder / "a.txt")
    assert caught.value.hint == "check the path and its permissions"


def test_a_table_that_is_missing_says_so(tmp_path: Path):
    with pytest.raises(DataError, match=r"nope\.csv: cannot be read: No such file") as caught:
        open_at(f"csv:{tmp_path / 'nope.csv'}")
    assert "UTF-8" not in str(caught.value)
