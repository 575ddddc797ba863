from pathlib import Path

import pytest

from quillread.errors import ModelError
from quillread.models.onnx import OnnxBackend


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match=r"none\.onnx: cannot be loaded"):
        OnnxBackend(tmp_path / "none.onnx")


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x08\x08\x12\x00"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.onnx: cannot be loaded"):
        OnnxBackend(tmp_path / "model.onnx")
