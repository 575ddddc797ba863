import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from quillread.errors import ModelError
from quillread.language.build import Content, read_content, write_content


@pytest.fixture
def file(tmp_path: Path) -> Path:
    arrays = {
        "a": np.arange(5, dtype=np.uint8),
        "b": np.array([1, 70_000], np.uint32),
        "empty": np.zeros(0, np.uint16),
    }
    write_content(tmp_path / "x.lm", Content({"name": "été"}, arrays))
    return tmp_path / "x.lm"


def test_what_is_written_is_read_back(file: Path):
    content = read_content(file)
    assert content.facts == {"name": "été"}
    assert {name: (a.dtype.name, a.tolist()) for name, a in content.arrays.items()} == {
        "a": ("uint8", [0, 1, 2, 3, 4]),
        "b": ("uint32", [1, 70_000]),
        "empty": ("uint16", []),
    }


def test_arrays_start_at_multiples_of_eight_bytes(file: Path):
    data = file.read_bytes()
    length = struct.unpack_from("<I", data, 12)[0]
    head = json.loads(data[20 : 20 + length])
    assert all((20 + length + offset) % 8 == 0 for _, offset, _ in head["arrays"].values())


@pytest.mark.parametrize("size", [0, 4, 19, 21, 60, -1])
def test_a_cut_file_is_refused(file: Path, size: int):
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(ModelError) as caught:
        read_content(file)
    assert str(file) in caught.value.message and caught.value.hint


def test_a_changed_byte_is_noticed(file: Path):
    data = bytearray(file.read_bytes())
    data[-10] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelError, match="cut or damaged"):
        read_content(file)


def test_a_text_file_is_no_language_model(tmp_path: Path):
    (tmp_path / "x.lm").write_text("the cat sat on the mat\n" * 5, encoding="utf-8")
    with pytest.raises(ModelError, match="is not a language model"):
        read_content(tmp_path / "x.lm")


def test_a_later_version_is_named(file: Path):
    data = bytearray(file.read_bytes())
    data[8] = 2
    file.write_bytes(data)
    with pytest.raises(ModelError, match="has format 2") as caught:
        read_content(file)
    assert "newer version" in caught.value.hint


@pytest.mark.parametrize(
    "head",
    [
        {"facts": {}, "arrays": {"a": ["object", 0, 1]}},
        {"facts": {}, "arrays": {"a": ["uint8", 0, 10**9]}},
        {"facts": {}, "arrays": {"a": ["uint8", -8, 1]}},
        {"facts": {}, "arrays": {"a": 3}},
        {"facts": {}},
        [],
    ],
)
def test_a_head_that_makes_no_sense_is_refused(tmp_path: Path, head: object):
    body = json.dumps(head).encode()
    start = struct.pack("<8sIII", b"QUILLLM\0", 1, len(body), zlib.crc32(body))
    (tmp_path / "x.lm").write_bytes(start + body)
    with pytest.raises(ModelError, match="damaged"):
        read_content(tmp_path / "x.lm")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match="there is no such language model"):
        read_content(tmp_path / "none.lm")
