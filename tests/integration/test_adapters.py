"""The adapters of a training as a folder of their own, from `quill train` to reading and exporting."""

import json
import shutil
from pathlib import Path

import pytest
from fakes import line_image, png, write_folder, write_trocr
from liveliness import write_lively
from safetensors.torch import load_file, save_file

from quillread.cli.main import main
from quillread.models.model_folder import read_info
from quillread.models.trocr.adapters import open_trocr
from quillread.models.trocr.loading import load_trocr

TEXTS = ["a bad cab", "dead bee", "a bead", "faded", "cafe", "decade"]
SMALL = (
    "epochs=2", "batch_size=3", "workers=0", "canvas={height: 32, width: 64, fit: pad}", "augment.strength=0.5",
    "preprocess.steps=[grayscale]",
)  # fmt: skip


def quill(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    lines = write_folder(folder / "lines", TEXTS)
    start = write_lively(folder / "start")
    settings = [word for setting in SMALL for word in ("--set", setting)]
    command = ("train", "--config", "trocr-lora", "--model", start, "--data", lines, "--validation", lines)
    assert quill(*command, *settings, "--output", folder / "run") == 0
    return folder


@pytest.fixture
def place(trained: Path, tmp_path: Path) -> Path:
    """The same in a folder of its own, with what a test may change."""
    shutil.copytree(trained, tmp_path / "place")
    return tmp_path / "place"


def pack(place: Path) -> Path:
    """Write the adapters of the run that was copied there, beside the copy of its base."""
    assert quill("models", "adapter", place / "run", place / "small", "--base", place / "start") == 0
    return place / "small"


def test_they_read_as_the_whole_model_does(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert quill("models", "adapter", trained / "run", tmp_path / "small") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'small'}\n"
    whole, ours = load_trocr(trained / "run" / "model"), open_trocr(tmp_path / "small")
    expected, found = whole.network.state_dict(), ours.network.state_dict()
    assert expected.keys() == found.keys()
    assert max(float((expected[name] - found[name]).abs().max()) for name in expected) < 1e-6
    assert ours.network.generation_config.max_length == whole.network.generation_config.max_length
    (tmp_path / "line.png").write_bytes(png(line_image("decade")))
    texts = []
    for model in (trained / "run" / "model", tmp_path / "small"):
        assert quill("read", "--lines", "--model", model, tmp_path / "line.png") == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1]


def test_the_folder_is_small_and_has_what_the_training_found(trained: Path, tmp_path: Path):
    quill("models", "adapter", trained / "run", tmp_path / "small")
    names = {path.name for path in (tmp_path / "small").iterdir()}
    assert names == {
        "adapter_config.json", "adapter_model.safetensors", "base.json", "quillread.json", "README.md",
        "generation_config.json", "preprocessor_config.json",
    }  # fmt: skip
    assert read_info(tmp_path / "small") == read_info(trained / "run" / "model")
    card = (tmp_path / "small" / "README.md").read_text(encoding="utf-8")
    assert "## Training data" in card and "read beside start" in card
    base = json.loads((tmp_path / "small" / "base.json").read_text(encoding="utf-8"))
    assert (base["name"], len(base["weights"])) == ("start", 64)
    assert (tmp_path / "small" / base["folder"]).resolve() == trained / "start"


def test_a_checkpoint_gives_its_own_adapters_and_no_confidences_of_another(trained: Path, tmp_path: Path):
    best = quill("models", "adapter", trained / "run", tmp_path / "best")
    assert best == 0
    chosen = load_file(tmp_path / "best" / "adapter_model.safetensors")
    for checkpoint in sorted((trained / "run").glob("checkpoint-*")):
        target = tmp_path / checkpoint.name
        assert quill("models", "adapter", checkpoint, target) == 0
        own = load_file(target / "adapter_model.safetensors")
        assert all((own[n] == v).all() for n, v in load_file(checkpoint / "adapter_model.safetensors").items())
        if any((own[n] != chosen[n]).any() for n in own):
            assert read_info(target).line_calibration == type(read_info(target).line_calibration)()


def test_they_are_exported_evaluated_and_trained_on(place: Path, capsys: pytest.CaptureFixture[str]):
    small = pack(place)
    assert quill("models", "export", small, place / "exported", "--weights", "float32") == 0
    assert quill("data", "check", place / "lines", "--model", small) == 0
    assert quill("models", "show", small, "--json") == 0
    for model in (small, place / "exported"):
        assert quill("evaluate", "--model", model, "--data", place / "lines") == 0
    settings = [word for setting in ("epochs=1", "batch_size=3", "workers=0") for word in ("--set", setting)]
    again = ("train", "--config", "trocr-base", "--model", small, "--data", place / "lines", *settings)
    assert quill(*again, "--output", place / "again") == 0
    capsys.readouterr()


def test_a_base_that_was_moved_is_named_once(place: Path, capsys: pytest.CaptureFixture[str]):
    pack(place)
    (place / "bases").mkdir()
    (place / "start").rename(place / "bases" / "published")
    assert quill("evaluate", "--model", place / "small", "--data", place / "lines") == 2
    assert "quill models adapter" in capsys.readouterr().err
    renewed = ("models", "adapter", place / "small", place / "new", "--base", place / "bases" / "published")
    assert quill(*renewed) == 0
    assert quill("evaluate", "--model", place / "new", "--data", place / "lines") == 0
    card = (place / "new" / "README.md").read_text(encoding="utf-8")
    assert card.count("## Adapters") == 1
    assert "read beside published" in card


@pytest.mark.parametrize("source", ["run", "small"])
def test_a_base_with_other_weights_is_refused(place: Path, source: str, capsys: pytest.CaptureFixture[str]):
    pack(place)
    weights = place / "start" / "model.safetensors"
    save_file({name: value * 2 for name, value in load_file(weights).items()}, weights, {"format": "pt"})
    capsys.readouterr()
    assert quill("models", "adapter", place / source, place / "new", "--base", place / "start") == 2
    assert "has other weights than the model that the adapters in" in capsys.readouterr().err
    assert not (place / "new").exists()


def test_a_run_that_trained_all_weights_has_no_adapters(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lines, start = write_folder(tmp_path / "lines", TEXTS), write_trocr(tmp_path / "start")
    settings = [word for setting in ("epochs=1", "batch_size=6", "workers=0") for word in ("--set", setting)]
    command = ("train", "--config", "trocr-base", "--model", start, "--data", lines, *settings)
    assert quill(*command, "--output", tmp_path / "run") == 0
    assert quill("models", "adapter", tmp_path / "run", tmp_path / "small") == 2
    assert "trained no adapters" in capsys.readouterr().err


def test_what_is_no_run_and_a_folder_in_use_are_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert quill("models", "adapter", trained / "lines", tmp_path / "small") == 2
    assert "holds neither a run nor adapters" in capsys.readouterr().err
    assert quill("models", "adapter", trained / "run", tmp_path) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_run_without_a_model_says_how_to_go_on(place: Path, capsys: pytest.CaptureFixture[str]):
    shutil.rmtree(place / "run" / "model")
    assert quill("models", "adapter", place / "run", place / "small") == 2
    assert "quill train --resume --output" in capsys.readouterr().err


def test_a_checkpoint_is_no_model_and_says_how_it_becomes_one(trained: Path, capsys: pytest.CaptureFixture[str]):
    checkpoint = next((trained / "run").glob("checkpoint-*"))
    assert quill("models", "show", checkpoint) == 2
    assert f"quill models adapter {checkpoint} DEST" in capsys.readouterr().err


def test_adapters_are_no_base_of_others(place: Path, capsys: pytest.CaptureFixture[str]):
    small = pack(place)
    assert quill("models", "adapter", place / "run", place / "new", "--base", small) == 2
    assert "adapters are read beside a whole model" in capsys.readouterr().err


def test_a_folder_of_peft_needs_no_run(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    shutil.copytree(next((trained / "run").glob("checkpoint-*")), tmp_path / "hand")
    assert quill("models", "adapter", tmp_path / "hand", tmp_path / "small") == 0
    assert read_info(tmp_path / "small").name == "hand"
    assert not (tmp_path / "small" / "README.md").exists()
    assert quill("evaluate", "--model", tmp_path / "small", "--data", trained / "lines") == 0
    settings = tmp_path / "hand" / "adapter_config.json"
    nameless = json.loads(settings.read_text(encoding="utf-8")) | {"base_model_name_or_path": None}
    settings.write_text(json.dumps(nameless), encoding="utf-8")
    assert quill("models", "adapter", tmp_path / "hand", tmp_path / "other") == 2
    assert "does not say which model" in capsys.readouterr().err
    assert quill("models", "adapter", tmp_path / "hand", tmp_path / "other", "--base", trained / "start") == 0
