import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import bar_recognizer, line_image, write_trocr

from quillread.config import dump
from quillread.errors import ConfigError, MissingExtraError, ModelError, UsageError
from quillread.images.fit import CanvasConfig
from quillread.models.catalog import resolve
from quillread.models.model_folder import INFO_NAME, ONNX_NAME, ModelInfo, write_info
from quillread.models.trocr.settings import GenerateChanges, GenerateConfig
from quillread.recognize import load as loading
from quillread.recognize.choosing import ChoosingReader
from quillread.recognize.ensemble import EnsembleReader
from quillread.recognize.load import load, load_all
from quillread.recognize.recognizer import LineRecognizer


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


IMAGE = line_image("a few words", 40)


@pytest.fixture(scope="module")
def trocr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain TrOCR folder, without a record of ours."""
    return write_trocr(tmp_path_factory.mktemp("trocr"))


@pytest.fixture
def recorded(trocr: Path) -> Iterator[Path]:
    """The same folder with a record, which is taken away again."""
    write_info(ModelInfo(family="trocr", name="ours", generate=GenerateConfig(max_tokens=3)), trocr)
    yield trocr
    (trocr / INFO_NAME).unlink()


def test_a_plain_trocr_folder_reads_with_nothing_of_ours_switched_on(trocr: Path):
    recognizer = load(str(trocr), threads=1)
    assert recognizer.info.generate == GenerateConfig()
    assert len(recognizer.read([IMAGE])) == 1


def test_stored_settings_are_used(recorded: Path):
    (transcript,) = load(str(recorded), threads=1).read([IMAGE])
    assert 1 <= len(transcript.text) <= 3 * len("the")


def test_settings_of_the_call_replace_the_stored_ones(recorded: Path):
    recognizer = load(str(recorded), threads=1, generate=GenerateChanges(max_tokens=1))
    assert recognizer.info.generate == GenerateConfig(max_tokens=1)
    assert len(recognizer.read([IMAGE])[0].characters) <= len("the")


def test_the_stored_canvas_is_that_of_the_network(recorded: Path):
    change(recorded, canvas=dump(CanvasConfig(32, 128, "pad")))
    (transcript,) = load(str(recorded), threads=1).read([IMAGE])
    assert all(0 <= c.x0 < c.x1 <= IMAGE.shape[1] for c in transcript.characters)


def test_a_network_computes_in_the_numbers_that_are_asked_for(recorded: Path, monkeypatch: pytest.MonkeyPatch):
    from quillread.models.trocr import adapters

    opened, load_it = [], adapters.open_trocr
    monkeypatch.setattr(adapters, "open_trocr", lambda *args: opened.append(load_it(*args)) or opened[-1])
    readings = [
        load(str(recorded), threads=1, generate=GenerateChanges(precision=precision)).read([IMAGE])[0]
        for precision in (None, "fp32", "bf16")
    ]
    assert [str(next(model.network.parameters()).dtype) for model in opened] == ["torch.float32"] * 2 + [
        "torch.bfloat16"
    ]
    assert readings[0] == readings[1]
    assert readings[2].text and 0 <= readings[2].confidence <= 1


def test_fp16_without_a_gpu_is_refused(recorded: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        load(str(recorded), generate=GenerateChanges(precision="fp16"))


def test_settings_of_generation_are_refused_for_a_compact_model():
    with pytest.raises(UsageError, match=r"generate\.beams: only for TrOCR models, and .* is a compact model"):
        load("builtin", threads=1, generate=GenerateChanges(beams=2))


def test_a_compact_model_gives_alternatives():
    (transcript,) = load("builtin", threads=1, generate=GenerateChanges(alternatives=3)).read([IMAGE])
    assert len({transcript.text, *(other.text for other in transcript.alternatives)}) <= 4
    assert transcript.text not in [other.text for other in transcript.alternatives]


@pytest.mark.parametrize("module", ["torch", "transformers"])
def test_a_trocr_model_without_its_packages_says_what_to_install(
    trocr: Path, module: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"quillread\[train\]"):
        load(str(trocr), threads=1)


def test_a_model_that_cuts_lines_short_is_warned_of(trocr: Path, caplog: pytest.LogCaptureFixture):
    load(str(trocr))
    assert [r.getMessage() for r in caplog.records] == [
        f"{trocr}: its generation settings end a line after 20 tokens: "
        "longer ones are cut, unless generate.max_tokens says otherwise"
    ]


def test_a_model_that_is_told_how_long_lines_are_is_not_warned_of(trocr: Path, caplog: pytest.LogCaptureFixture):
    load(str(trocr), generate=GenerateChanges(max_tokens=20))
    assert caplog.records == []


def test_threads_are_those_of_the_reading_alone(recorded: Path, monkeypatch: pytest.MonkeyPatch):
    import torch

    before, told = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "set_num_threads", told.append)
    monkeypatch.setattr("quillread.worker.usable_cores", lambda: before + 1)
    recognizer = load(str(recorded), threads=before + 2)  # more than cores only wait for each other
    assert told == []
    recognizer.read([IMAGE])
    assert told == [before + 1, before]


def test_a_cache_of_fixed_size_reaches_the_network(recorded: Path, monkeypatch: pytest.MonkeyPatch):
    from quillread.recognize.trocr import torch_backend

    made: list[Any] = []

    class Backend(torch_backend.TorchTrocr):
        def __init__(self, *args: Any, **settings: Any) -> None:
            made.append(settings["static_cache"])
            super().__init__(*args, **settings)

    monkeypatch.setattr(torch_backend, "TorchTrocr", Backend)
    for chosen in (None, False, True):
        load(str(recorded), threads=1, generate=GenerateChanges(static_cache=chosen)).read([IMAGE])
    assert made == [False, False, True]


@pytest.mark.parametrize("chooses", [False, True])
def test_each_name_is_loaded_and_one_that_is_named_twice_votes_twice(chooses: bool, monkeypatch: pytest.MonkeyPatch):
    loaded: list[str] = []

    def load_bars(name: str, **settings: Any) -> LineRecognizer:
        loaded.append(name)
        return bar_recognizer(name)

    monkeypatch.setattr(loading, "load", load_bars)
    names = ("builtin", "open") if chooses else ("builtin", "builtin", "open")
    reader = load_all(names, chooses=chooses, threads=1, generate=GenerateChanges(), language=None, variants=1)
    assert isinstance(reader, ChoosingReader if chooses else EnsembleReader)
    assert loaded == list(names)


def test_models_that_vote_give_alternatives():
    images = [line_image("the cat", 48)]
    reader = load_all(
        ("builtin", "open"),
        chooses=False,
        threads=1,
        generate=GenerateChanges(alternatives=3),
        language=None,
        variants=1,
    )
    (read,) = reader.read(images)
    assert 0 < len(read.alternatives) <= 3
    assert read.text not in [other.text for other in read.alternatives]


def test_settings_that_none_of_several_models_takes_are_refused():
    with pytest.raises(UsageError, match=r"generate\.beams"):
        load_all(
            ("builtin", "open"), chooses=False, threads=1, generate=GenerateChanges(beams=4), language=None, variants=1
        )


@pytest.mark.parametrize("values", [{"alternatives": -1}, {"alternatives": 100}, {"beams": 2, "alternatives": 2}])
def test_settings_that_fit_no_model_are_refused_before_one_is_loaded(values: dict[str, int]):
    with pytest.raises(ConfigError, match="alternatives"):
        GenerateChanges(**values)
