from pathlib import Path

import pytest
from fakes import bar_info, write_trocr

from quillread.errors import ModelError
from quillread.models import catalog
from quillread.models.catalog import PUBLISHED, SHIPPED, ModelEntry, describe, is_hub_name, pin, resolve
from quillread.models.model_folder import INFO_NAME, ONNX_NAME, ModelInfo, write_info


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


def test_the_choice_among_models_is_no_model_of_its_own():
    with pytest.raises(ModelError, match="chooses a model for each page") as caught:
        resolve("auto")
    assert caught.value.hint == "name one: builtin, open, medieval"


def test_a_folder_without_a_record_is_no_model(tmp_path: Path):
    with pytest.raises(ModelError, match=f"is not a model folder: it has no {INFO_NAME}, nor the config.json of"):
        resolve(str(tmp_path))


def test_a_folder_of_another_model_is_told_of_what_type_it_is(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"its config\.json is of a model of type 'bert'"):
        resolve(str(tmp_path))


def test_a_damaged_configuration_is_told_with_what_to_do(tmp_path: Path):
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json: cannot be read") as caught:
        resolve(str(tmp_path))
    assert "copy the file again" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["", " "])
def test_a_name_of_nothing_is_told(name: str):
    with pytest.raises(ModelError, match="the name of the model is empty"):
        resolve(name)


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


def test_a_plain_folder_of_transformers_has_all_aids_off(tmp_path: Path):
    folder = write_trocr(tmp_path / "plain")
    size = (folder / "model.safetensors").stat().st_size
    assert describe(str(folder)) == ModelEntry(str(folder), folder, ModelInfo(family="trocr", name="plain"), size)
    assert describe(str(folder)).info.preprocess.steps == ()


def test_the_record_in_a_transformers_folder_counts(tmp_path: Path):
    folder = write_trocr(tmp_path)
    write_info(ModelInfo(family="trocr", name="mine"), folder)
    assert describe(str(folder)).info.name == "mine"


def test_the_folder_of_a_run_points_to_the_transformers_folder_in_it(tmp_path: Path):
    write_trocr(tmp_path / "model")
    with pytest.raises(ModelError) as caught:
        resolve(str(tmp_path))
    assert caught.value.hint == f"name the folder in it: {tmp_path / 'model'}"


def test_a_name_of_the_hub_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = write_trocr(tmp_path)
    monkeypatch.setattr(catalog, "fetch_model", {"org/name@v1": folder}.__getitem__)
    entry = describe("org/name@v1")
    assert (entry.folder, entry.info.name) == (folder, "org/name@v1")


def test_a_folder_that_is_there_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_trocr(tmp_path / "org" / "name")
    monkeypatch.chdir(tmp_path)
    assert resolve("org/name") == Path("org/name")


def test_pickled_weights_are_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="has its weights as a pickle"):
        describe(str(write_trocr(tmp_path, pickled=True)))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_names_of_the_hub(name: str):
    assert is_hub_name(name)
    assert PUBLISHED[name].licence == "MIT"


def test_a_model_of_the_hub_is_pinned_to_what_was_fetched(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(catalog, "fetch_model", lambda name: Path("models--org--x") / "snapshots" / "abc123")
    assert pin("org/x") == "org/x@abc123"
    assert pin("org/x@main") == "org/x@abc123"


def test_what_is_here_needs_no_pin(tmp_path: Path):
    assert pin("builtin") == "builtin"
    assert pin(str(tmp_path)) == str(tmp_path)
