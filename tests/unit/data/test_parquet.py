from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from fakes import line_image, png, write_folder, write_strokes

from quillread.data.parquet import find_shards, write_parquet
from quillread.data.source import Row, RowSource
from quillread.data.spec import open_source, parse_spec
from quillread.data.strokes import StrokeSource
from quillread.errors import DataError, OutputError

RNG = np.random.default_rng(0)


def rows(*texts: str) -> RowSource:
    return RowSource("mine", [Row(f"id-{text}", png(line_image(text)), text, "me") for text in texts])


def stored(files: tuple[Path, ...]) -> list[dict[str, object]]:
    return [row for path in files for row in pa.parquet.read_table(path).to_pylist()]


def jpeg(text: str) -> bytes:
    return cv2.imencode(".jpg", line_image(text))[1].tobytes()


def test_lines_come_back_through_hub(tmp_path: Path):
    source = rows("one", "two", "été")
    write_parquet(source, range(3), tmp_path, "train")
    read = open_source(parse_spec(f"hub:{tmp_path}"), "train")
    for i in range(3):
        mine, back = source.sample(i, RNG), read.sample(i, RNG)
        assert (back.id, back.text, back.group) == (mine.id, mine.text, mine.group)
        assert np.array_equal(back.image, mine.image)


def test_datasets_sees_a_column_of_images(tmp_path: Path):
    datasets = pytest.importorskip("datasets")
    report = write_parquet(rows("one", "two"), range(2), tmp_path / "set", "train")
    files = {"train": list(map(str, report.files))}
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    assert isinstance(loaded.features["image"], datasets.Image)
    assert np.array_equal(np.array(loaded[1]["image"].convert("RGB")), line_image("two"))


def test_only_the_lines_asked_for_are_written_in_their_order(tmp_path: Path):
    report = write_parquet(rows("one", "two", "three"), [2, 0], tmp_path, "train")
    assert report.lines == 2
    assert [row["text"] for row in stored(report.files)] == ["three", "one"]


def test_a_file_of_an_image_is_kept_with_its_name(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(jpeg("one"))
    source = RowSource("mine", [Row("x", tmp_path / "a.jpg", "one")])
    (row,) = stored(write_parquet(source, [0], tmp_path / "set", "train").files)
    assert row["image"] == {"bytes": jpeg("one"), "path": "a.jpg"}


def test_a_file_that_only_few_can_open_becomes_a_png(tmp_path: Path):
    import pypdfium2

    pdf = pypdfium2.PdfDocument.new()
    pdf.new_page(100, 20)
    pdf.save(tmp_path / "a.pdf")
    source = RowSource("mine", [Row("x", tmp_path / "a.pdf", "one")])
    (row,) = stored(write_parquet(source, [0], tmp_path / "set", "train").files)
    assert row["image"]["bytes"].startswith(b"\x89PNG")  # type: ignore[index]


def test_a_coloured_image_that_is_encoded_keeps_its_colours(tmp_path: Path):
    image = np.zeros((80, 20, 3), np.uint8)
    image[:] = (200, 100, 0)
    source = RowSource("mine", [Row("x", png(image), "one")])
    write_parquet(source, [0], tmp_path, "train", height=40)
    back = open_source(parse_spec(f"hub:{tmp_path}"), "train").sample(0, RNG).image
    assert back.shape == (40, 10, 3)
    assert (back == (200, 100, 0)).all()


def test_an_image_that_is_not_higher_stays_as_it_is(tmp_path: Path):
    (row,) = stored(write_parquet(rows("one"), [0], tmp_path, "train", height=40).files)
    assert row["image"]["bytes"] == png(line_image("one"))  # type: ignore[index]


def test_synthetic_lines_are_written(tmp_path: Path):
    source = StrokeSource(write_strokes(tmp_path / "strokes.npz", ["one", "two"]))
    write_parquet(source, range(2), tmp_path / "set", "train")
    back = open_source(parse_spec(f"hub:{tmp_path / 'set'}"), "train").sample(1, RNG)
    assert back.text == "two"
    assert np.array_equal(back.image, source.sample(1, np.random.default_rng(1)).image)


def test_an_unreadable_image_is_named_and_the_rest_goes_on(tmp_path: Path):
    write_folder(tmp_path / "lines", ["one", "two", "three"])
    (tmp_path / "lines" / "line-01.png").write_bytes(b"nothing")
    source = open_source(parse_spec(str(tmp_path / "lines")), "train")
    report = write_parquet(source, range(3), tmp_path / "set", "train")
    assert [row["text"] for row in stored(report.files)] == ["one", "three"]
    (message,) = report.unreadable
    assert "line-01.png" in message


def test_a_name_that_is_no_unicode_leaves_its_line_out(tmp_path: Path):
    source = RowSource("mine", [Row("\udcff", png(line_image("x")), "x"), Row("b", png(line_image("y")), "y")])
    report = write_parquet(source, range(2), tmp_path, "train")
    assert (report.lines, len(report.unreadable)) == (1, 1)


def test_nothing_is_written_if_no_image_can_be_read(tmp_path: Path):
    source = RowSource("mine", [Row("a", b"nothing", "x")])
    with pytest.raises(DataError, match="no line can be read"):
        write_parquet(source, [0], tmp_path, "train")
    assert list(tmp_path.iterdir()) == []


def test_large_data_is_spread_over_numbered_files(tmp_path: Path):
    size = len(png(line_image("one")))
    report = write_parquet(rows("one"), [0] * 5, tmp_path, "train", shard_bytes=2 * size)
    assert [path.name for path in report.files] == [f"train-{i:05}-of-00003.parquet" for i in range(3)]
    assert [pa.parquet.read_metadata(path).num_rows for path in report.files] == [2, 2, 1]


def test_row_groups_are_small(tmp_path: Path):
    report = write_parquet(rows("one"), [0] * 250, tmp_path, "train")
    with pa.parquet.ParquetFile(report.files[0]) as file:
        assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [100, 100, 50]


def test_files_of_the_same_split_are_replaced_and_others_kept(tmp_path: Path):
    for name in ("train-00007-of-00009.parquet", "validation-00000-of-00001.parquet"):
        (tmp_path / name).write_bytes(b"old")
    write_parquet(rows("one"), [0], tmp_path, "train")
    assert [path.name for path in find_shards(tmp_path, "train")] == ["train-00000-of-00001.parquet"]
    assert [path.read_bytes() for path in find_shards(tmp_path, "validation")] == [b"old"]


def test_an_interrupted_run_leaves_the_old_files_and_no_others(tmp_path: Path):
    (tmp_path / "train-00000-of-00001.parquet").write_bytes(b"old")

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_parquet(rows("one"), [0], tmp_path, "train", shard_bytes=1, progress=interrupt)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_place_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file: cannot be written"):
        write_parquet(rows("one"), [0], tmp_path / "file", "train")


@pytest.mark.parametrize("height", [None, 40])
def test_a_quality_makes_small_copies_of_all_images(height: int | None, tmp_path: Path):
    image = np.random.default_rng(0).integers(0, 255, (80, 200, 3)).astype(np.uint8)
    source = RowSource("mine", [Row("x", png(image), "one"), Row("y", png(line_image("two")), "two")])
    (coloured, grey) = stored(write_parquet(source, [0, 1], tmp_path, "train", height=height, quality=20).files)
    for row in (coloured, grey):
        assert row["image"]["bytes"][:4] == b"RIFF"  # type: ignore[index]
    assert len(coloured["image"]["bytes"]) < len(png(image)) / 5  # type: ignore[index]
    read = open_source(parse_spec(f"hub:{tmp_path}"), "train")
    back = read.sample(1, RNG).image
    assert back.shape[0] == (height or line_image("two").shape[0])
    if height is None:
        assert np.abs(back.astype(int) - line_image("two")).mean() < 10


def test_an_image_wider_than_webp_has_room_for_stays_whole(tmp_path: Path):
    image = np.full((20, 20_000, 3), 255, np.uint8)
    image[:, ::2] = 0
    source = RowSource("mine", [Row("x", png(image), "one")])
    write_parquet(source, [0], tmp_path, "train", quality=20)
    assert np.array_equal(open_source(parse_spec(f"hub:{tmp_path}"), "train").sample(0, RNG).image, image)
