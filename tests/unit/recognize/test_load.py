import json
from pathlib import Path

import pytest

from quillread.errors import ModelError
from quillread.models.catalog import resolve
from quillread.models.checkpoint import INFO_NAME, ONNX_NAME
from quillread.recognize.load import load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the built-in model."""
    for name in (INFO_NAME, ONNX_NAME):
        (tmp_path / name).write_bytes((resolve("builtin") / name).read_bytes())
    return tmp_path


def change(folder: Path, **values: object) -> None:
    info = json.loads((folder / INFO_NAME).read_text(encoding="utf-8"))
    (folder / INFO_NAME).write_text(json.dumps({**info, **values}), encoding="utf-8")


def test_a_copied_model_folder_loads(folder: Path):
    assert load(str(folder), threads=1).info == load("builtin", threads=1).info


@pytest.mark.parametrize("values", [{"charset": "abc"}, {"ink": {"height": 100}}], ids=["charset", "height"])
def test_a_record_that_belongs_to_other_weights_is_refused(folder: Path, values: dict[str, object]):
    change(folder, **values)
    with pytest.raises(ModelError, match=f"{INFO_NAME} and {ONNX_NAME} do not belong together"):
        load(str(folder), threads=1)


def test_weights_that_are_cut_off_are_refused(folder: Path):
    weights = (folder / ONNX_NAME).read_bytes()
    (folder / ONNX_NAME).write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ModelError, match="cannot be loaded as an ONNX model"):
        load(str(folder), threads=1)
