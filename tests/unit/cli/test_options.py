import argparse
from pathlib import Path

import pytest
from fakes import write_folder

from quillread.cli.options import add_column_options, with_columns
from quillread.errors import UsageError


def args(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_column_options(parser)
    return parser.parse_args(arguments)


def test_without_flags_data_sets_stay_as_written():
    assert with_columns(["hub:a/b@0.3", "nonsense"], args()) == ["hub:a/b@0.3", "nonsense"]


@pytest.mark.parametrize("kind", ["hub", "csv", "jsonl"])
def test_flags_go_to_data_sets_with_columns(kind: str):
    flags = args("--image-column", "scan", "--text-column", "label")
    assert with_columns([f"{kind}:x@0.3"], flags) == [f"{kind}:x?image-column=scan&text-column=label@0.3"]


def test_a_data_set_without_columns_is_left_alone():
    flags = args("--text-column", "label")
    assert with_columns(["strokes:x", "hub:x"], flags) == ["strokes:x", "hub:x?text-column=label"]


def test_a_column_in_the_spec_goes_before_the_flag():
    flags = args("--text-column", "label", "--image-column", "scan")
    assert with_columns(["hub:x?text-column=own"], flags) == ["hub:x?image-column=scan&text-column=own"]


def test_a_folder_has_columns_if_it_has_a_table(tmp_path: Path):
    plain, table = write_folder(tmp_path / "plain", ["one"]), write_folder(tmp_path / "table", ["one"])
    (table / "metadata.csv").touch()
    flags = args("--text-column", "label")
    expected = [f"folder:{plain}", f"folder:{table}?text-column=label"]
    assert with_columns([str(plain), str(table)], flags) == expected


def test_a_flag_that_no_data_set_can_use_is_refused():
    with pytest.raises(UsageError, match="--text-column is given, and no data set has columns"):
        with_columns(["strokes:x"], args("--text-column", "label"))
