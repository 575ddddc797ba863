from pathlib import Path

import pytest

from quillread.errors import OutputError
from quillread.files import write_atomic


def test_a_file_is_written_with_its_folders(tmp_path: Path):
    path = tmp_path / "a" / "b" / "out.txt"
    write_atomic(path, b"text")
    assert path.read_bytes() == b"text"


def test_an_existing_file_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path):
    path = tmp_path / "out.txt"
    path.write_bytes(b"old and longer")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_can_be_read_by_others(tmp_path: Path):
    write_atomic(tmp_path / "out.txt", b"x")
    assert (tmp_path / "out.txt").stat().st_mode & 0o777 == 0o644


def test_a_folder_in_the_way_is_an_error_that_leaves_nothing_behind(tmp_path: Path):
    (tmp_path / "out.txt").mkdir()
    with pytest.raises(OutputError, match=r"out\.txt: cannot be written"):
        write_atomic(tmp_path / "out.txt", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["out.txt"]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "out.txt", b"x")
