import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fakes import write_trocr
from safetensors.torch import load_file, save_file

from quillread.errors import ModelError
from quillread.models.trocr.files import (
    find_weights,
    is_trocr,
    read_config,
    read_shapes,
    replace_folder,
    summarise,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_trocr(tmp_path / "model")


def cut_in_parts(folder: Path) -> list[Path]:
    """Store the weights in two files with an index, as transformers does with large models."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    paths, places = [], {}
    for i, names in enumerate((sorted(weights)[:9], sorted(weights)[9:]), 1):
        paths.append(folder / f"model-{i:05}-of-00002.safetensors")
        save_file({name: weights[name] for name in names}, paths[-1], {"format": "pt"})
        places |= dict.fromkeys(names, paths[-1].name)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": places}), encoding="utf-8"
    )
    return paths


@pytest.mark.parametrize(("content", "expected"), [('{"model_type": "bert"}', False), ("[]", False), ("{", False)])
def test_other_configurations_are_not_trocr(tmp_path: Path, content: str, expected: bool):
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    assert is_trocr(tmp_path) is expected


def test_a_published_folder_is_trocr(folder: Path):
    assert is_trocr(folder)


def test_shapes_are_those_of_the_tensors(folder: Path):
    weights = load_file(folder / "model.safetensors")
    assert read_shapes(folder / "model.safetensors") == {name: tuple(t.shape) for name, t in weights.items()}


def test_weights_in_parts_are_found(folder: Path):
    parts = cut_in_parts(folder)
    assert list(find_weights(folder)) == parts


@pytest.mark.parametrize(
    ("others", "lost"),
    [
        (("adapter_model.safetensors",), "adapter_config.json"),
        (("base.json",), "adapter_config.json"),
        (("encoder.onnx",), "trocr.json"),
        (("decoder.onnx",), "trocr.json"),
    ],
)
def test_a_folder_that_does_not_say_of_which_kind_it_is_lacks_what_says_so(
    tmp_path: Path, others: tuple[str, ...], lost: str
):
    for name in others:
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match=f"lacks {lost}"):
        find_weights(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_damaged_settings_are_told_with_what_to_do(tmp_path: Path, content: str):
    (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=r"config\.json") as caught:
        read_config(tmp_path)
    assert caught.value.hint


def test_a_lost_part_is_named(folder: Path):
    cut_in_parts(folder)[1].unlink()
    with pytest.raises(ModelError, match=r"lacks model-00002-of-00002\.safetensors"):
        find_weights(folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x05", b"\xff" * 64, (2).to_bytes(8, "little") + b"{}", (3).to_bytes(8, "little") + b"[1]"],
)
def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors: (is damaged|cannot be read)"):
        read_shapes(tmp_path / "model.safetensors")


def test_the_summary_counts_what_the_file_holds(folder: Path):
    count = sum(tensor.numel() for tensor in load_file(folder / "model.safetensors").values())
    assert summarise(folder)["weights"]["parameters"] == count


def test_generation_settings_may_be_absent(folder: Path):
    (folder / "generation_config.json").unlink()
    assert summarise(folder)["generation_config"] is None


def test_the_old_folder_stands_until_the_new_one_is_whole(tmp_path: Path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("old", encoding="utf-8")
    with replace_folder(tmp_path / "model") as part:
        (part / "config.json").write_text("new", encoding="utf-8")
        assert (tmp_path / "model" / "config.json").read_text(encoding="utf-8") == "old"
    assert (tmp_path / "model" / "config.json").read_text(encoding="utf-8") == "new"


def test_parts_of_an_older_save_do_not_stay(folder: Path):
    cut_in_parts(folder)
    with replace_folder(folder) as part:
        save_file({"a": torch.zeros(1)}, part / "model.safetensors")
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]


def test_an_error_on_the_way_leaves_nothing(tmp_path: Path):
    with pytest.raises(ModelError), replace_folder(tmp_path / "model"):
        raise ModelError("no")
    assert list(tmp_path.iterdir()) == []


WRITING = """
import sys
from pathlib import Path
from quillread.models.trocr.files import replace_folder
with replace_folder(Path(sys.argv[1])) as part:
    (part / "encoder.onnx").write_bytes(b"x")
    print("writing", flush=True)
    sys.stdin.read()
"""


def start_writing(folder: Path) -> "subprocess.Popen[bytes]":
    """Start a program that writes to a folder until it is ended."""
    command = [sys.executable, "-c", WRITING, str(folder)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout is not None and writer.stdout.readline() == b"writing\n"
    return writer


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks of files")
def test_what_a_killed_program_left_goes_and_what_is_written_stays(tmp_path: Path):
    for name in (".model.note.part", ".models.12.part"):
        (tmp_path / name).mkdir()
    others = set(tmp_path.iterdir())
    with start_writing(tmp_path / "model") as killed, start_writing(tmp_path / "model") as alive:
        parts = {writer: tmp_path / f".model.{writer.pid}.part" for writer in (killed, alive)}
        killed.kill()
        killed.wait()
        assert set(tmp_path.iterdir()) == {*others, *parts.values()}
        with replace_folder(tmp_path / "model") as part:
            assert set(tmp_path.iterdir()) == {*others, parts[alive], part}
        assert (parts[alive] / "encoder.onnx").read_bytes() == b"x"
        alive.kill()
    with replace_folder(tmp_path / "model"):
        pass
    assert set(tmp_path.iterdir()) == {*others, tmp_path / "model"}
