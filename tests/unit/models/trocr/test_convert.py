import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes import TROCR_VARIANTS, write_trocr
from safetensors.torch import load_file

from quillread.errors import ModelError
from quillread.models.trocr.loading import convert, load_trocr


@pytest.mark.parametrize("variant", TROCR_VARIANTS)
def test_a_converted_model_is_the_same(tmp_path: Path, variant: str):
    convert(write_trocr(tmp_path / "pickled", variant, pickled=True), tmp_path / "converted")
    before = load_trocr(write_trocr(tmp_path / "safe", variant)).network.state_dict()
    after = load_trocr(tmp_path / "converted").network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_names_and_values_stay(tmp_path: Path):
    source = write_trocr(tmp_path / "pickled", pickled=True)
    convert(source, tmp_path / "converted")
    before = torch.load(source / "pytorch_model.bin", weights_only=True)
    after = load_file(tmp_path / "converted" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_rest_of_the_folder_is_copied_without_pickles(tmp_path: Path):
    source = write_trocr(tmp_path / "pickled", pickled=True)
    (source / "README.md").write_text("card", encoding="utf-8")
    (source / "training_args.bin").write_bytes(b"pickle")
    names = {path.name for path in source.iterdir()}
    convert(source, tmp_path / "converted")
    copied = {path.name for path in (tmp_path / "converted").iterdir()}
    assert copied == names - {"pytorch_model.bin", "training_args.bin"} | {"model.safetensors"}
    weights, card = (tmp_path / "converted" / name for name in ("model.safetensors", "README.md"))
    assert weights.stat().st_mode == card.stat().st_mode


def test_a_model_in_parts_is_converted_in_parts(tmp_path: Path):
    source = write_trocr(tmp_path / "pickled", pickled=True)
    weights = torch.load(source / "pytorch_model.bin", weights_only=True)
    (source / "pytorch_model.bin").unlink()
    for i, names in enumerate((list(weights)[::2], list(weights)[1::2]), 1):
        torch.save({name: weights[name] for name in names}, source / f"pytorch_model-{i:05}-of-00002.bin")
    (source / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {}}), encoding="utf-8")
    convert(source, tmp_path / "converted")
    after = load_trocr(tmp_path / "converted").network.state_dict()
    assert torch.equal(after["encoder.embeddings.cls_token"], weights["encoder.embeddings.cls_token"])


class Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("ran",))


@pytest.mark.parametrize("dump", [torch.save, lambda trap, path: path.write_bytes(pickle.dumps(trap))])
def test_a_pickle_that_runs_code_is_refused_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], dump: Callable[[Trap, Path], object]
):
    source = write_trocr(tmp_path / "pickled", pickled=True)
    dump(Trap(), source / "pytorch_model.bin")
    with pytest.raises(ModelError, match="cannot be read as plain weights: it is damaged, or holds more") as caught:
        convert(source, tmp_path / "converted")
    # torch advises to let it run.
    assert "weights_only" not in str(caught.value)
    assert "as safetensors" in (caught.value.hint or "")
    assert capsys.readouterr().out == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pickled"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"weight": torch.zeros(1), "epoch": 3}, "holds more than tensors: epoch"),
        ({"state_dict": {"weight": torch.zeros(1)}}, "holds more than tensors: state_dict"),
        (torch.zeros(1), "holds a Tensor, not tensors by name"),
        ({}, "holds a dict, not tensors by name"),
    ],
)
def test_anything_but_tensors_by_name_is_refused(tmp_path: Path, content: object, message: str):
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=message):
        convert(tmp_path, tmp_path / "converted")


def test_a_damaged_pickle_is_refused(tmp_path: Path):
    source = write_trocr(tmp_path / "pickled", pickled=True)
    content = (source / "pytorch_model.bin").read_bytes()
    (source / "pytorch_model.bin").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="cannot be read as plain weights"):
        convert(source, tmp_path / "converted")


def test_a_folder_without_pickles_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="has no pickled weights"):
        convert(write_trocr(tmp_path / "safe"), tmp_path / "converted")


def test_a_folder_in_use_is_left_alone(tmp_path: Path):
    source = write_trocr(tmp_path / "pickled", pickled=True)
    with pytest.raises(ModelError, match="exists already"):
        convert(source, source)
