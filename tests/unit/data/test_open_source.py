import json
from pathlib import Path

import numpy as np
import pytest
from fakes import line_image, png, write_folder, write_font, write_strokes
from PIL import ExifTags, Image

from quillread.data.source import Source, fixed_sample
from quillread.data.spec import open_source, parse_spec
from quillread.errors import DataError

RNG = np.random.default_rng(0)


def open_at(text: str, split: str = "train") -> Source:
    return open_source(parse_spec(text), split)


def texts(source: Source) -> list[str]:
    return [source.text(i) for i in range(len(source))]


def write_table(folder: Path, name: str, content: str, images: int = 3) -> Path:
    for i in range(images):
        (folder / f"{i}.png").write_bytes(png(line_image("abc")))
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


def test_texts_are_composed(tmp_path: Path):
    write_folder(tmp_path, ["e\u0301te\u0301"])
    assert texts(open_at(f"folder:{tmp_path}")) == ["été"]


def test_a_folder_gives_images_with_a_text_beside_them(tmp_path: Path):
    write_folder(tmp_path, ["one", "", "three"])
    (tmp_path / "line-02.txt").unlink()
    source = open_at(f"folder:{tmp_path}")
    assert texts(source) == ["one", ""]
    assert source.sample(0, RNG).id == "line-00.png"


def test_the_image_of_a_negative_is_inverted_as_when_it_is_read(tmp_path: Path):
    write_folder(tmp_path, ["a line in white"])
    written = line_image("a line in white")
    (tmp_path / "line-00.png").write_bytes(png(255 - written))
    assert np.array_equal(open_at(f"folder:{tmp_path}").sample(0, RNG).image, written)


def test_a_folder_without_texts_says_what_to_do(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(line_image("a")))
    with pytest.raises(DataError, match=r"no image has a \.txt file") as caught:
        open_at(f"folder:{tmp_path}")
    assert "metadata.csv" in str(caught.value)


def test_a_folder_that_does_not_exist_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="is not a folder"):
        open_at(f"folder:{tmp_path / 'none'}")


def test_a_folder_with_metadata_csv_gives_its_rows(tmp_path: Path):
    write_table(tmp_path, "metadata.csv", 'file_name,text,group\n0.png,"one, two",ada\n1.png,,bob\n')
    source = open_at(f"folder:{tmp_path}")
    assert texts(source) == ["one, two", ""]
    assert source.sample(0, RNG).group == "ada"


def test_a_folder_with_metadata_jsonl_gives_its_rows(tmp_path: Path):
    rows = [{"image": "0.png", "text": "one", "id": "x"}, {"image": "1.png", "text": "two"}]
    write_table(tmp_path, "metadata.jsonl", "\n\n".join(map(json.dumps, rows)) + "\n")
    source = open_at(f"folder:{tmp_path}")
    assert [source.sample(i, RNG).id for i in range(2)] == ["x", "1.png"]
    assert texts(source) == ["one", "two"]


def test_a_csv_table_is_read_from_beside_its_images(tmp_path: Path):
    path = write_table(tmp_path, "lines.csv", "\ufeffimage,text\n0.png,one\n")
    sample = open_at(f"csv:{path}").sample(0, RNG)
    assert sample.text == "one"
    assert np.array_equal(sample.image, line_image("abc"))


def test_a_jsonl_table_is_read(tmp_path: Path):
    path = write_table(tmp_path, "lines.jsonl", '{"image": "2.png", "text": "one"}\n')
    assert texts(open_at(f"jsonl:{path}")) == ["one"]


def test_a_table_with_splits_gives_those_rows_only(tmp_path: Path):
    path = write_table(tmp_path, "lines.csv", "image,text,split\n0.png,one,train\n1.png,two,test\n")
    assert texts(open_at(f"csv:{path}")) == ["one"]
    assert texts(open_at(f"csv:{path}", "test")) == ["two"]


def test_a_split_named_in_later_rows_only_is_heeded(tmp_path: Path):
    rows = [{"image": "0.png", "text": "one"}, {"image": "1.png", "text": "two", "split": "test"}]
    path = write_table(tmp_path, "lines.jsonl", "\n".join(map(json.dumps, rows)))
    assert texts(open_at(f"jsonl:{path}", "test")) == ["two"]


def test_a_table_without_the_split_lists_the_found_ones(tmp_path: Path):
    path = write_table(tmp_path, "lines.csv", "image,text,split\n0.png,one,train\n1.png,two,test\n")
    with pytest.raises(DataError, match="no row has split = 'validation'") as caught:
        open_at(f"csv:{path}", "validation")
    assert "test, train" in str(caught.value)


def test_a_row_without_image_is_named(tmp_path: Path):
    path = write_table(tmp_path, "lines.csv", "image,text\n0.png,one\n,two\n")
    with pytest.raises(DataError, match=r"lines\.csv, row 2: needs 'image' and 'text'"):
        open_at(f"csv:{path}")


def test_a_row_number_counts_the_rows_of_other_splits(tmp_path: Path):
    path = write_table(tmp_path, "lines.csv", "image,text,split\n0.png,one,test\n,two,train\n")
    with pytest.raises(DataError, match="row 2: needs"):
        open_at(f"csv:{path}")


def test_a_row_cut_short_is_named(tmp_path: Path):
    path = write_table(tmp_path, "lines.csv", "image,text\n0.png,one\n1.png\n")
    with pytest.raises(DataError, match="row 2: needs 'image' and 'text'"):
        open_at(f"csv:{path}")


def test_a_text_with_bare_commas_is_not_cut_off_in_silence(tmp_path: Path):
    path = write_table(tmp_path, "lines.csv", "image,text\n0.png,Hello, world\n")
    with pytest.raises(DataError, match="row 1: has more cells than the header") as caught:
        open_at(f"csv:{path}")
    assert "quotes" in str(caught.value)


def test_a_table_without_rows_is_an_error(tmp_path: Path):
    path = write_table(tmp_path, "lines.csv", "image,text\n")
    with pytest.raises(DataError, match="holds no rows"):
        open_at(f"csv:{path}")


def test_a_table_without_text_column_lists_the_columns(tmp_path: Path):
    path = write_table(tmp_path, "lines.csv", "image,transcription\n0.png,one\n")
    with pytest.raises(DataError, match="its columns are image, transcription"):
        open_at(f"csv:{path}")


@pytest.mark.parametrize(("line", "message"), [("{", "line 2: is not JSON"), ("[1]", "line 2: expected an object")])
def test_a_json_line_of_another_form_is_named(tmp_path: Path, line: str, message: str):
    path = write_table(tmp_path, "lines.jsonl", '{"image": "0.png", "text": "one"}\n' + line)
    with pytest.raises(DataError, match=message):
        open_at(f"jsonl:{path}")


def test_a_table_that_is_no_utf8_is_an_error(tmp_path: Path):
    (tmp_path / "lines.csv").write_bytes("image,text\n0.png,été".encode("latin-1"))
    with pytest.raises(DataError, match="cannot be read as UTF-8"):
        open_at(f"csv:{tmp_path / 'lines.csv'}")


@pytest.mark.parametrize("damage", ["broken", "missing"])
def test_an_image_that_cannot_be_read_names_its_row(tmp_path: Path, damage: str):
    path = write_table(tmp_path, "lines.csv", "image,text\n0.png,one\n1.png,two\n")
    (tmp_path / "1.png").unlink()
    if damage == "broken":
        (tmp_path / "1.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"lines\.csv, row 1 \(1\.png\)"):
        open_at(f"csv:{path}").sample(1, RNG)


def test_the_aspect_is_that_of_the_image(tmp_path: Path):
    write_folder(tmp_path, ["some words"])
    height, width, _ = line_image("some words").shape
    assert open_at(f"folder:{tmp_path}").aspect(0) == width / height


def test_the_aspect_of_a_broken_image_is_a_guess(tmp_path: Path):
    path = write_table(tmp_path, "lines.csv", "image,text\nnone.png,one\n")
    assert open_at(f"csv:{path}").aspect(0) == 10.0


def test_strokes_are_a_source(tmp_path: Path):
    assert texts(open_at(f"strokes:{write_strokes(tmp_path / 's.npz', ['one', 'two'])}")) == ["one", "two"]


def test_fonts_are_a_source(tmp_path: Path):
    write_font(tmp_path / "a.ttf", "abcdefghijklmnopqrstuvwxyz ")
    (tmp_path / "text.txt").write_text("some words to write", encoding="utf-8")
    assert len(open_at(f"fonts:{tmp_path}?text={tmp_path / 'text.txt'}&lines=12")) == 12


@pytest.mark.parametrize("lines", ["many", "0", "-3"])
def test_a_count_of_lines_that_is_none_is_refused(tmp_path: Path, lines: str):
    with pytest.raises(DataError, match="lines must be a whole number"):
        open_at(f"fonts:{tmp_path}?lines={lines}")


@pytest.mark.parametrize("kind", ["hub", "folder", "csv", "jsonl", "iam", "page", "fonts", "strokes"])
def test_an_unknown_option_is_refused_by_every_kind(tmp_path: Path, kind: str):
    with pytest.raises(DataError, match="unknown option 'nonsense'"):
        open_at(f"{kind}:{tmp_path}?nonsense=1")


def test_the_aspect_of_an_image_stored_on_its_side_is_that_of_the_upright_one(tmp_path: Path):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (60, 600), "white").save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    source = open_source(parse_spec(str(tmp_path)), "train")
    assert source.aspect(0) == 10
    assert source.sample(0, np.random.default_rng(0)).image.shape == (60, 600, 3)


def test_texts_are_rewritten(tmp_path: Path):
    write_folder(tmp_path, ["M^r du Boiſ", "b : c"])
    source = open_source(parse_spec(f"folder:{tmp_path}?replace=^:&replace=ſ:s&replace= : :, "), "train")
    assert [source.text(i) for i in range(2)] == ["Mr du Bois", "b, c"]
    assert [fixed_sample(source, i).text for i in range(2)] == ["Mr du Bois", "b, c"]


@pytest.mark.parametrize(
    ("spec", "said"), [("folder:{}?replace=x", "FROM:TO"), ("fonts:{}?replace=a:b", "others have")]
)
def test_a_rewriting_that_makes_no_sense_is_refused(tmp_path: Path, spec: str, said: str):
    write_folder(tmp_path, ["a"])
    with pytest.raises(DataError, match=said):
        open_source(parse_spec(spec.format(tmp_path)), "train")
