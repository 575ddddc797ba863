from pathlib import Path

import numpy as np
import pytest

from quillread.errors import ModelError
from quillread.models.catalog import describe
from quillread.models.model_folder import ONNX_NAME
from quillread.models.onnx import OnnxBackend


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be loaded"):
        OnnxBackend(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x08\x08\x12\x00"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be loaded"):
        OnnxBackend(tmp_path / "model.onnx")


@pytest.mark.parametrize("threads", [1, 3])
def test_what_is_read_in_a_line_does_not_depend_on_the_lines_beside_it(threads: int):
    entry = describe("builtin")
    rng = np.random.default_rng(0)
    lines = [rng.random((entry.info.ink.height, 64 * (1 + i % 3)), np.float32) for i in range(8)]
    backend = OnnxBackend(entry.folder / ONNX_NAME, threads)
    together = list(backend(lines))
    assert [len(columns) for columns in together] == [line.shape[1] // 4 for line in lines]
    for line, columns in zip(lines, together, strict=True):
        (alone,) = backend([line])
        assert np.array_equal(columns, alone)


def test_no_lines_have_no_columns():
    assert list(OnnxBackend(describe("builtin").folder / ONNX_NAME)([])) == []
