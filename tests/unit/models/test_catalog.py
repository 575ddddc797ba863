from pathlib import Path

import pytest
from fakes import bar_info

from quillread.errors import ModelError
from quillread.models.catalog import SHIPPED, ModelEntry, describe, resolve
from quillread.models.checkpoint import INFO_NAME, ONNX_NAME, write_info


def write_model(folder: Path) -> Path:
    write_info(bar_info(), folder)
    (folder / ONNX_NAME).write_bytes(b"weights")
    return folder


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_model_is_complete(name: str):
    entry = describe(name)
    assert entry.name == name
    assert entry.size > 1_000_000


def test_a_folder_is_described_by_its_record(tmp_path: Path):
    folder = write_model(tmp_path / "mine")
    assert describe(str(folder)) == ModelEntry(str(folder), folder, bar_info(), len(b"weights"))


def test_a_shipped_name_goes_before_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_model(tmp_path / "builtin")
    monkeypatch.chdir(tmp_path)
    assert resolve("builtin") != Path("builtin")
    assert resolve("./builtin") == Path("builtin")


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(ModelError, match=r"unknown model 'buildin'.*did you mean 'builtin'") as caught:
        resolve("buildin")
    assert caught.value.hint == "see: quill models list"


def test_a_folder_without_a_record_is_no_model(tmp_path: Path):
    with pytest.raises(ModelError, match=f"is no model folder: it has no {INFO_NAME}"):
        resolve(str(tmp_path))


def test_the_folder_of_a_run_points_to_the_model_in_it(tmp_path: Path):
    write_model(tmp_path / "run" / "model")
    with pytest.raises(ModelError) as caught:
        resolve(str(tmp_path / "run"))
    assert caught.value.hint == f"name the folder in it: {tmp_path / 'run' / 'model'}"


def test_a_folder_without_weights_is_damaged(tmp_path: Path):
    folder = write_model(tmp_path / "mine")
    (folder / ONNX_NAME).unlink()
    with pytest.raises(ModelError, match=f"lacks its weights, {ONNX_NAME}"):
        describe(str(folder))
