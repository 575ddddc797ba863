"""Files that only the driver has are there for the workers, and read as they would there."""

from pathlib import Path

import pytest
from fakes import write_bar_folder

from quillread.batch.cluster import shipping
from quillread.batch.cluster.shipping import Cargo, pack, unpack
from quillread.errors import OutputError
from quillread.models.trocr.adapter_folder import Base, digest_weights, find_base, write_base
from quillread.options import ReadOptions


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of another machine."""
    folder = tmp_path / "machine"
    folder.mkdir()
    monkeypatch.setattr(shipping.tempfile, "tempdir", str(folder))
    return folder


def test_nothing_is_sent_for_models_of_the_package(machine: Path):
    assert pack(ReadOptions(models=("auto",))) == Cargo()
    options = ReadOptions(lm=("en", "fr"))
    assert pack(options) == Cargo()
    assert unpack(options, Cargo()) == options
    assert list(machine.iterdir()) == []


def test_models_and_other_files_are_written_where_a_worker_finds_them(machine: Path, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    model = write_bar_folder(home / "model", b"weights of ours")
    for name in ("parish.lm", "names.txt", "finder.onnx"):
        (home / name).write_text(name, encoding="utf-8")
    options = ReadOptions(
        models=("builtin", str(model)),
        lm=("fr", f"{home / 'parish.lm'}@2"),
        lexicons=(home / "names.txt",),
        segmenter=str(home / "finder.onnx"),
    )
    cargo = pack(options)
    home.rename(tmp_path / "gone")
    there = unpack(options, cargo)
    assert there.models[0] == "builtin"
    assert (Path(there.models[1]) / "model.onnx").read_bytes() == b"weights of ours"
    assert there.lm is not None
    assert there.lm[0] == "fr"
    assert there.lm[1].endswith("/parish.lm@2")
    assert Path(there.lm[1].removesuffix("@2")).read_text(encoding="utf-8") == "parish.lm"
    assert there.lexicons[0].read_text(encoding="utf-8") == "names.txt"
    assert Path(there.segmenter).read_text(encoding="utf-8") == "finder.onnx"
    assert cargo.size > 0
    assert unpack(options, cargo) == there


def test_files_of_equal_names_stay_apart(machine: Path, tmp_path: Path):
    paths = []
    for number in range(2):
        path = tmp_path / str(number) / "names.txt"
        path.parent.mkdir()
        path.write_text(f"words {number}", encoding="utf-8")
        paths.append(path)
    options = ReadOptions(lm=("fr",), lexicons=tuple(paths))
    found = unpack(options, pack(options)).lexicons
    assert [path.read_text(encoding="utf-8") for path in found] == ["words 0", "words 1"]


def test_a_full_disk_is_told_and_nothing_half_written_stays(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "names.txt").write_text("words", encoding="utf-8")
    options = ReadOptions(lm=("fr",), lexicons=(tmp_path / "names.txt",))
    cargo = pack(options)

    def fill(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", fill)
        with pytest.raises(OutputError, match="cannot be written: No space left on device"):
            unpack(options, cargo)
    assert [path for path in machine.rglob("*") if path.parent != machine] == []
    assert len(list(machine.iterdir())) == 1
    assert unpack(options, cargo).lexicons[0].read_text(encoding="utf-8") == "words"


def test_adapters_travel_with_the_model_that_they_belong_to(machine: Path, tmp_path: Path):
    home = tmp_path / "home"
    base, adapters = home / "base", home / "far" / "adapters"
    for folder, name in ((base, "model.safetensors"), (adapters, "adapter_model.safetensors")):
        folder.mkdir(parents=True)
        (folder / name).write_bytes(name.encode())
        (folder / "config.json").write_text('{"model_type": "vision-encoder-decoder"}', encoding="utf-8")
    (adapters / "adapter_config.json").write_text("{}", encoding="utf-8")
    write_base(Base("base", digest_weights(base), folder="../../base"), adapters)
    options = ReadOptions(models=(str(adapters),))
    cargo = pack(options)
    home.rename(tmp_path / "gone")
    (there,) = unpack(options, cargo).models
    assert (find_base(Path(there)) / "model.safetensors").read_bytes() == b"model.safetensors"
