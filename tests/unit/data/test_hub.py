import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from fakes import line_image, png, write_hub

from quillread.data.source import Source
from quillread.data.spec import open_source, parse_spec
from quillread.errors import DataError

RNG = np.random.default_rng(0)


def open_at(text: str, split: str = "train") -> Source:
    return open_source(parse_spec(text), split)


def texts(source: Source) -> list[str]:
    return [source.text(i) for i in range(len(source))]


def table(lines: list[str], **columns: list[Any]) -> pa.Table:
    images = [{"bytes": png(line_image(line)), "path": None} for line in lines]
    return pa.table({"image": images, "text": lines, **columns})


def write_shards(folder: Path, *shards: list[str], split: str = "train", rows: int = 2) -> Path:
    """Write parquet files with `rows` rows in a row group."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for i, lines in enumerate(shards):
        path = folder / "data" / f"{split}-{i:05}-of-{len(shards):05}.parquet"
        pyarrow.parquet.write_table(table(lines), path, row_group_size=rows)
    return folder


STREAMING = pytest.mark.parametrize("streaming", ["", "streaming=true"])


def test_a_folder_gives_the_lines_of_its_split(tmp_path: Path):
    write_hub(tmp_path, {"train": ["one", "two"], "validation": ["three"]})
    assert texts(open_at(f"hub:{tmp_path}")) == ["one", "two"]
    assert texts(open_at(f"hub:{tmp_path}", "validation")) == ["three"]


@STREAMING
@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())]
)
def test_strings_of_any_type_are_texts(tmp_path: Path, kind: pa.DataType, streaming: str):
    lines = pa.array(["one", "café\u00a0noir", None])
    lines = lines.dictionary_encode() if pa.types.is_dictionary(kind) else lines.cast(kind)
    columns = {"text": lines, "id": lines, "group": lines}
    images = table(["a", "b", "c"])["image"]
    pyarrow.parquet.write_table(pa.table({"image": images, **columns}), tmp_path / "train.parquet")
    source = open_at(f"hub:{tmp_path}?{streaming}")
    assert texts(source) == ["one", "café noir", ""]
    assert [source.sample(i, RNG).id for i in range(3)] == ["one", "café\u00a0noir", "2"]


@pytest.mark.parametrize("cells", [[["one"], ["two"]], [{"a": "one"}, {"a": "two"}], [0.5, 1.5]])
def test_a_column_of_other_things_holds_no_text(tmp_path: Path, cells: list[Any]):
    pyarrow.parquet.write_table(table(["a", "b"], label=cells), tmp_path / "train.parquet")
    with pytest.raises(DataError, match=r"row 0: column 'label' holds no text, but"):
        open_at(f"hub:{tmp_path}?text-column=label")


@pytest.mark.parametrize("ids", [["a", None, None], [1, None, None], [0.0, None, float("nan")]])
def test_rows_without_an_id_get_their_number(tmp_path: Path, ids: list[Any]):
    pyarrow.parquet.write_table(table(["a", "b", "c"], id=ids), tmp_path / "train.parquet")
    source = open_at(f"hub:{tmp_path}")
    found = [source.sample(i, RNG).id for i in range(3)]
    assert found == [str(ids[0]).removesuffix(".0"), "row 1" if ids[0] == 1 else "1", "2"]


def test_a_missing_file_of_a_set_is_warned_about(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    write_shards(tmp_path, ["one"], ["two"], ["three"])
    open_at(f"hub:{tmp_path}")
    assert not caplog.messages
    (tmp_path / "data" / "train-00001-of-00003.parquet").unlink()
    assert texts(open_at(f"hub:{tmp_path}")) == ["one", "three"]
    assert f"1 of 3 files are missing in {tmp_path / 'data'}: 00001" in caplog.text


@STREAMING
def test_a_line_has_its_image(tmp_path: Path, streaming: str):
    write_shards(tmp_path, ["one", "two", "three"], ["four", "five"])
    source = open_at(f"hub:{tmp_path}?{streaming}")
    for i, text in ((4, "five"), (0, "one"), (2, "three"), (3, "four")):
        sample = source.sample(i, RNG)
        assert (sample.id, sample.text) == (str(i), text)
        assert np.array_equal(sample.image, line_image(text))


@STREAMING
def test_a_line_has_its_aspect(tmp_path: Path, streaming: str):
    write_shards(tmp_path, ["one", "twelve", "three"])
    height, width, _ = line_image("twelve").shape
    assert open_at(f"hub:{tmp_path}?{streaming}").aspect(1) == width / height


@STREAMING
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 9])
def test_a_limit_takes_the_first_lines(tmp_path: Path, streaming: str, limit: int):
    lines = ["one", "two", "three", "four", "five"]
    write_shards(tmp_path, lines[:3], lines[3:])
    assert texts(open_at(f"hub:{tmp_path}?limit={limit}&{streaming}")) == lines[:limit]


def test_files_behind_the_limit_are_not_opened(tmp_path: Path):
    write_shards(tmp_path, ["one", "two"])
    (tmp_path / "data" / "train-00002.parquet").write_bytes(b"nothing")
    assert texts(open_at(f"hub:{tmp_path}?limit=2")) == ["one", "two"]


def test_a_streamed_folder_holds_no_image_until_it_is_asked_for(tmp_path: Path):
    write_shards(tmp_path, ["one", "two", "three"])
    source = open_at(f"hub:{tmp_path}?streaming=true")
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet cannot be read"):
        source.sample(0, RNG)


def test_rows_of_a_row_group_are_read_from_their_file_once(tmp_path: Path):
    write_shards(tmp_path, ["one", "two"])
    source = open_at(f"hub:{tmp_path}?streaming=true")
    source.sample(0, RNG)
    (tmp_path / "data" / "train-00000-of-00001.parquet").unlink()
    assert source.sample(1, RNG).text == "two"


def test_a_text_that_is_missing_is_empty(tmp_path: Path):
    write_hub(tmp_path, {"train": ["one", None, ""]})
    assert texts(open_at(f"hub:{tmp_path}")) == ["one", "", ""]


def test_texts_are_composed(tmp_path: Path):
    write_hub(tmp_path, {"train": ["e\u0301te\u0301"]})
    assert texts(open_at(f"hub:{tmp_path}")) == ["été"]


def test_ids_and_groups_come_from_their_columns(tmp_path: Path):
    pyarrow.parquet.write_table(table(["one"], id=["a01"], writer=["042"]), tmp_path / "train.parquet")
    sample = open_at(f"hub:{tmp_path}?group-column=writer").sample(0, RNG)
    assert (sample.id, sample.group) == ("a01", "042")


@pytest.mark.parametrize("column_type", [pa.binary(), pa.large_binary()])
def test_images_may_be_bare_bytes(tmp_path: Path, column_type: pa.DataType):
    images = pa.array([png(line_image("one"))], column_type)
    pyarrow.parquet.write_table(pa.table({"picture": images, "word": ["one"]}), tmp_path / "train.parquet")
    source = open_at(f"hub:{tmp_path}?image-column=picture&text-column=word")
    assert np.array_equal(source.sample(0, RNG).image, line_image("one"))


def test_a_missing_text_column_lists_the_columns(tmp_path: Path):
    write_hub(tmp_path, {"train": ["one"]}, text_column="label")
    with pytest.raises(DataError, match="has no column 'text'; its columns are image, label") as caught:
        open_at(f"hub:{tmp_path}")
    assert "?text-column=NAME" in str(caught.value)


def test_another_text_column_can_be_named(tmp_path: Path):
    write_hub(tmp_path, {"train": ["one"]}, text_column="label")
    assert texts(open_at(f"hub:{tmp_path}?text-column=label")) == ["one"]


@pytest.mark.parametrize("column", ["group", "id"])
def test_a_named_column_that_is_missing_is_not_passed_over(tmp_path: Path, column: str):
    write_hub(tmp_path, {"train": ["one"]})
    with pytest.raises(DataError, match="has no column 'writer'"):
        open_at(f"hub:{tmp_path}?{column}-column=writer")


@STREAMING
def test_a_column_that_holds_no_images_is_refused(tmp_path: Path, streaming: str):
    write_hub(tmp_path, {"train": ["one"]})
    with pytest.raises(DataError, match="column 'text' holds no image bytes, but string") as caught:
        open_at(f"hub:{tmp_path}?image-column=text&{streaming}")
    assert "?image-column=NAME" in str(caught.value)


@pytest.mark.parametrize("cell", [None, {"bytes": None, "path": "/etc/hostname"}])
def test_a_row_without_image_is_named_and_no_path_followed(tmp_path: Path, cell: object):
    images = pa.array([{"bytes": b"", "path": ""}, cell])
    schema = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pyarrow.parquet.write_table(
        pa.table({"image": images.cast(schema), "text": ["a", "b"]}), tmp_path / "train.parquet"
    )
    with pytest.raises(DataError, match="row 1: column 'image' holds no image bytes"):
        open_at(f"hub:{tmp_path}").sample(1, RNG)


def test_a_missing_split_lists_the_found_ones(tmp_path: Path):
    write_hub(tmp_path, {"train": ["one"], "test": ["two"]})
    with pytest.raises(DataError, match=r"\(validation\): has no such split") as caught:
        open_at(f"hub:{tmp_path}", "validation")
    assert "test, train" in str(caught.value)


@pytest.mark.parametrize("name", ["valid", "val", "dev"])
def test_validation_has_other_names(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture):
    write_hub(tmp_path, {"train": ["one"], name: ["two"]})
    with caplog.at_level(logging.INFO):
        assert texts(open_at(f"hub:{tmp_path}", "validation")) == ["two"]
    assert f"the split is called {name!r} there" in caplog.text


def test_validation_itself_comes_before_its_other_names(tmp_path: Path):
    write_hub(tmp_path, {"dev": ["one"], "validation": ["two"]})
    assert texts(open_at(f"hub:{tmp_path}", "validation")) == ["two"]


def test_splits_may_be_folders(tmp_path: Path):
    for split, line in (("train", "one"), ("test", "two")):
        (tmp_path / "default" / split).mkdir(parents=True)
        pyarrow.parquet.write_table(table([line]), tmp_path / "default" / split / "0000.parquet")
    assert texts(open_at(f"hub:{tmp_path}", "test")) == ["two"]


def test_a_broken_parquet_file_is_named(tmp_path: Path):
    write_shards(tmp_path, ["one"])
    (tmp_path / "data" / "train-00007.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"train-00007\.parquet cannot be read as parquet") as caught:
        open_at(f"hub:{tmp_path}")
    assert "download it again" in str(caught.value)


@STREAMING
def test_damage_within_a_parquet_file_is_an_error_that_names_it(tmp_path: Path, streaming: str):
    write_shards(tmp_path, ["one", "two"])
    path = tmp_path / "data" / "train-00000-of-00001.parquet"
    content = bytearray(path.read_bytes())
    content[4:400] = bytes(396)  # the first pages of the first column; the footer stays
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train-00000-of-00001\.parquet cannot be read"):
        open_at(f"hub:{tmp_path}?{streaming}").sample(0, RNG)


def test_files_with_different_columns_are_an_error(tmp_path: Path):
    write_shards(tmp_path, ["one"])
    other = pa.table({"image": table(["two"])["image"], "text": [2]})
    pyarrow.parquet.write_table(other, tmp_path / "data" / "train-00001.parquet")
    with pytest.raises(DataError, match="its files have different columns"):
        open_at(f"hub:{tmp_path}")


def test_a_file_without_rows_is_an_error(tmp_path: Path):
    pyarrow.parquet.write_table(table(["one"]).slice(0, 0), tmp_path / "train.parquet")
    with pytest.raises(DataError, match="holds no lines"):
        open_at(f"hub:{tmp_path}")


@pytest.mark.parametrize("option", ["revision=main", "config=a"])
def test_a_folder_has_no_revision_and_no_config(tmp_path: Path, option: str):
    with pytest.raises(DataError, match="belong to data sets on the hub"):
        open_at(f"hub:{tmp_path}?{option}")


@pytest.mark.parametrize("option", ["streaming=yes", "limit=0", "limit=some"])
def test_an_option_of_another_value_is_refused(tmp_path: Path, option: str):
    write_hub(tmp_path, {"train": ["one"]})
    with pytest.raises(DataError, match=f"{option.split('=')[0]} must be"):
        open_at(f"hub:{tmp_path}?{option}")


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that the `datasets` library, in all but its download, takes for the repository "org/lines"."""
    datasets = pytest.importorskip("datasets")
    folder, load = tmp_path / "repository", datasets.load_dataset_builder

    def load_builder(name: str, config: str | None, *, revision: str | None) -> Any:
        if name != "org/lines" or revision not in (None, COMMIT):
            raise FileNotFoundError(f"no {name} at {revision}")
        builder = load(str(folder), cache_dir=str(tmp_path / "cache"))
        builder.hash = COMMIT
        return builder

    monkeypatch.setattr(datasets, "load_dataset_builder", load_builder)
    datasets.disable_progress_bars()
    yield folder
    datasets.enable_progress_bars()


MODES = pytest.mark.parametrize("options", ["", "&streaming=true", "&limit=3"])


@MODES
def test_a_data_set_of_the_hub_gives_its_lines(hub: Path, options: str):
    write_shards(hub, ["one", "two"], ["three"])
    source = open_at(f"hub:org/lines?revision={COMMIT}{options}")
    assert texts(source) == ["one", "two", "three"]
    assert np.array_equal(source.sample(2, RNG).image, line_image("three"))


def test_a_limit_takes_no_more_from_the_hub(hub: Path):
    write_shards(hub, ["one", "two"], ["three"])
    (hub / "data" / "train-00001-of-00002.parquet").write_bytes(b"nothing")
    assert texts(open_at(f"hub:org/lines?revision={COMMIT}&limit=2")) == ["one", "two"]


def test_a_stream_leaves_no_file_behind(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    write_shards(hub, ["one"])
    open_at(f"hub:org/lines?revision={COMMIT}&streaming=true").sample(0, RNG)
    assert not list((tmp_path / "temporary").iterdir())


@MODES
def test_bare_image_files_of_the_hub_are_lines(hub: Path, options: str):
    (hub / "train").mkdir(parents=True)
    (hub / "train" / "0.png").write_bytes(png(line_image("one")))
    (hub / "train" / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "one"}\n', encoding="utf-8")
    sample = open_at(f"hub:org/lines?revision={COMMIT}{options}").sample(0, RNG)
    assert sample.text == "one"
    assert np.array_equal(sample.image, line_image("one"))


@MODES
def test_a_table_of_the_hub_cannot_name_files(hub: Path, options: str):
    hub.mkdir()
    (hub / "secret.png").write_bytes(png(line_image("one")))
    images = pa.array(
        [{"bytes": None, "path": str(hub / "secret.png")}], pa.struct({"bytes": pa.binary(), "path": pa.string()})
    )
    pyarrow.parquet.write_table(pa.table({"image": images, "text": ["one"]}), hub / "train.parquet")
    with pytest.raises(DataError, match="row 0: column 'image' holds no image bytes"):
        open_at(f"hub:org/lines?revision={COMMIT}{options}").sample(0, RNG)


@MODES
def test_a_missing_column_of_the_hub_lists_the_columns(hub: Path, options: str):
    write_shards(hub, ["one"])
    with pytest.raises(DataError, match=r"has no column 'label'; its columns are image, text"):
        open_at(f"hub:org/lines?revision={COMMIT}&text-column=label{options}")


def test_a_missing_split_of_the_hub_lists_the_found_ones(hub: Path):
    write_shards(hub, ["one"])
    with pytest.raises(DataError, match="has no such split") as caught:
        open_at(f"hub:org/lines?revision={COMMIT}", "test")
    assert "train" in str(caught.value)


def test_a_hub_id_without_revision_is_warned_about_with_its_commit(hub: Path, caplog: pytest.LogCaptureFixture):
    write_shards(hub, ["one"])
    open_at("hub:org/lines?limit=1")
    assert f"no revision is named, so the data may change between two runs; this is ?revision={COMMIT}" in caplog.text


def test_a_pinned_revision_is_not_warned_about(hub: Path, caplog: pytest.LogCaptureFixture):
    write_shards(hub, ["one"])
    open_at(f"hub:org/lines?revision={COMMIT}&limit=1")
    assert "revision" not in caplog.text


def test_a_data_set_that_cannot_be_loaded_says_why(hub: Path):
    with pytest.raises(DataError, match="cannot be loaded from the Hugging Face hub: no org/none") as caught:
        open_at("hub:org/none")
    assert "check the name" in str(caught.value)
