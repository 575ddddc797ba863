from pathlib import Path

import pytest

from quillread.data.spec import DataSpec, find_split, parse_spec
from quillread.errors import DataError


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("hub:Teklia/IAM-line", DataSpec("hub", "Teklia/IAM-line")),
        ("csv:a/b.csv@0.3", DataSpec("csv", "a/b.csv", {}, 0.3)),
        ("folder:C:\\lines", DataSpec("folder", "C:\\lines")),
        (
            "hub:x/y?revision=abc&text-column=t@2",
            DataSpec("hub", "x/y", {"revision": ("abc",), "text-column": ("t",)}, 2),
        ),
        ("fonts:f?text=a.txt&text=b.txt", DataSpec("fonts", "f", {"text": ("a.txt", "b.txt")})),
        ("folder:photos@home", DataSpec("folder", "photos@home")),
        ("hub:x/y?config=", DataSpec("hub", "x/y", {"config": ("",)})),
    ],
)
def test_a_source_is_read_and_written_alike(text: str, spec: DataSpec):
    assert parse_spec(text) == spec
    assert str(spec) == text


def test_a_weight_is_written_exactly():
    assert parse_spec(str(DataSpec("hub", "x", {}, 1 / 3))).weight == 1 / 3


def test_the_root_is_filled_in_wherever_it_stands():
    spec = parse_spec("recombined:hub:{root}/a?cuts={root}/c.jsonl&lines=9@2")
    assert spec.needs_root
    assert str(spec.under(Path("/data"))) == "recombined:hub:/data/a?cuts=/data/c.jsonl&lines=9@2"
    assert not spec.under(Path("/data")).needs_root


def test_a_bare_folder_below_the_root_stands_for_its_lines():
    assert parse_spec("{root}/lines@0.5") == DataSpec("folder", "{root}/lines", {}, 0.5)


def test_a_bare_folder_stands_for_its_lines(tmp_path: Path):
    assert parse_spec(str(tmp_path)) == DataSpec("folder", str(tmp_path))


def test_a_name_that_is_neither_folder_nor_source_lists_the_kinds():
    with pytest.raises(DataError, match="neither a folder") as caught:
        parse_spec("no-such-folder")
    assert "strokes:" in str(caught.value)


def test_an_unknown_kind_suggests_the_nearest():
    with pytest.raises(DataError, match=r"unknown kind of data 'foldr'.*did you mean 'folder'"):
        parse_spec("foldr:lines")


def test_a_source_without_place_is_refused():
    with pytest.raises(DataError, match="does not say where"):
        parse_spec("csv:@0.5")


@pytest.mark.parametrize("weight", ["0", "-1", "nan", "inf"])
def test_a_weight_that_is_no_share_is_refused(weight: str):
    with pytest.raises(DataError, match=r"weight .* must be above 0"):
        parse_spec(f"csv:a.csv@{weight}")


def test_the_last_value_of_an_option_counts():
    assert parse_spec("hub:x?config=a&config=b").option("config", "") == "b"


def test_an_option_left_out_has_its_default():
    assert parse_spec("hub:x").option("config", "default") == "default"


def test_an_unknown_option_suggests_the_nearest():
    with pytest.raises(DataError, match=r"unknown option 'txt'.*did you mean 'text'"):
        parse_spec("fonts:f?txt=a").refuse_unknown(("text", "lines"))


def test_a_bare_folder_takes_a_weight_and_options(tmp_path: Path):
    assert parse_spec(f"{tmp_path}?text-column=words@0.3") == DataSpec(
        "folder", str(tmp_path), {"text-column": ("words",)}, 0.3
    )


def test_an_option_keeps_its_value_to_the_letter():
    assert parse_spec("fonts:f?text=/data/c++/50%25.txt").options == {"text": ("/data/c++/50%25.txt",)}


def test_an_option_without_a_value_is_refused():
    with pytest.raises(DataError, match="not of the form name=value"):
        parse_spec("fonts:f?text")


def test_a_choice_left_out_is_the_first():
    assert parse_spec("iam:x").choice("level", ("lines", "words")) == "lines"


def test_a_choice_outside_the_list_names_it():
    with pytest.raises(DataError, match="iam:x: level must be lines or words, got 'pages'"):
        parse_spec("iam:x?level=pages").choice("level", ("lines", "words"))


@pytest.mark.parametrize(("text", "count"), [("hub:x", 0), ("hub:x?limit=12", 12)])
def test_a_count_is_a_whole_number(text: str, count: int):
    assert parse_spec(text).count("limit", 0) == count


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", ""])
def test_a_count_that_is_none_is_refused(value: str):
    with pytest.raises(DataError, match="limit must be a whole number above 0"):
        parse_spec(f"hub:x?limit={value}").count("limit", 0)


@pytest.mark.parametrize(
    ("split", "found", "name"),
    [
        ("train", ["test", "train"], "train"),
        ("validation", ["dev", "train"], "dev"),
        ("validation", ["val", "validation"], "validation"),
        ("test", ["train"], None),
        ("extra", ["extra"], "extra"),
    ],
)
def test_a_split_is_found_under_its_names(split: str, found: list[str], name: str | None):
    assert find_split(split, found) == name
