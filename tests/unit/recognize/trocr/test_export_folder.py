"""The folder of an export: what is written there, and what is refused."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from quillread.errors import ConfigError, ModelError, UsageError
from quillread.images.fit import CanvasConfig
from quillread.models.catalog import describe
from quillread.models.model_folder import ModelInfo, write_info
from quillread.models.trocr.export import compare, export, find_facts
from quillread.models.trocr.loading import load_trocr
from quillread.models.trocr.onnx_folder import (
    DECODER_NAME,
    ENCODER_NAME,
    FACTS_NAME,
    GRAPH_NAMES,
    NETWORK_NAMES,
    TOKENIZER_NAME,
    read_facts,
)
from quillread.models.trocr.onnx_network import OnnxTrocr
from quillread.models.trocr.settings import GenerateChanges, GenerateConfig
from quillread.recognize.load import load


@pytest.mark.parametrize("name", [*NETWORK_NAMES, TOKENIZER_NAME, "trocr.json"])
@pytest.mark.parametrize("damage", ["cut", "none"])
def test_a_damaged_file_is_named(exports: dict[str, Path], tmp_path: Path, name: str, damage: str):
    copy(exports["small"], tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    if damage == "cut":
        (tmp_path / name).write_bytes(content[: len(content) // 2])
    # Of weights that are cut the file is named that asks for them.
    with pytest.raises(ModelError, match=name.removesuffix(".data") if damage == "cut" else name):
        OnnxTrocr(tmp_path, 1)


def test_files_of_two_exports_are_told_apart(exports: dict[str, Path], tmp_path: Path):
    copy(exports["small"], tmp_path)
    for name in (DECODER_NAME, f"{DECODER_NAME}.data"):
        (tmp_path / name).write_bytes((exports["base-handwritten"] / name).read_bytes())
    with pytest.raises(ModelError, match="do not belong together"):
        OnnxTrocr(tmp_path, 1)


def test_an_export_of_another_version_is_refused(exports: dict[str, Path], tmp_path: Path):
    copy(exports["small"], tmp_path)
    path = tmp_path / "trocr.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"format": 2', '"format": 3'), encoding="utf-8")
    with pytest.raises(ModelError, match="has format 3, and this version reads 1 and 2"):
        OnnxTrocr(tmp_path, 1)


def test_an_export_of_the_first_version_with_weights_in_its_graphs_is_read(
    folders: dict[str, Path], exports: dict[str, Path], tmp_path: Path
):
    copy(exports["small"], tmp_path)
    for name in GRAPH_NAMES:
        whole = onnx.load(str(tmp_path / name))  # with the tensors of the file beside it
        (tmp_path / f"{name}.data").unlink()
        (tmp_path / name).write_bytes(whole.SerializeToString())
    with pytest.raises(ModelError, match=r"lacks encoder\.onnx\.data"):
        OnnxTrocr(tmp_path, 1)
    path = tmp_path / FACTS_NAME
    path.write_text(path.read_text(encoding="utf-8").replace('"format": 2', '"format": 1'), encoding="utf-8")
    assert describe(str(tmp_path)).size == sum((tmp_path / name).stat().st_size for name in GRAPH_NAMES)
    model = load_trocr(folders["small"])
    assert compare(model, OnnxTrocr(tmp_path, 1)) == compare(model, OnnxTrocr(exports["small"], 1))


@pytest.mark.parametrize("what", ["missing", "doubled", "another type"])
def test_an_encoder_that_gives_something_else_is_refused(exports: dict[str, Path], tmp_path: Path, what: str):
    copy(exports["small"], tmp_path)
    model = onnx.load(str(tmp_path / ENCODER_NAME), load_external_data=False)
    graph, outputs = model.graph, {output.name: output for output in model.graph.output}
    (last,) = (node for node in graph.node if node.output[0] == "seen_keys_0")
    if what == "missing":
        graph.output.remove(outputs["seen_values_0"])
    elif what == "doubled":
        last.CopyFrom(onnx.helper.make_node("Concat", [last.input[0]] * 2, ["seen_keys_0"], axis=3))
        outputs["seen_keys_0"].type.tensor_type.shape.dim[3].dim_value *= 2
    else:
        last.CopyFrom(onnx.helper.make_node("Cast", list(last.input), ["seen_keys_0"], to=onnx.TensorProto.DOUBLE))
        outputs["seen_keys_0"].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    (tmp_path / ENCODER_NAME).write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="do not belong together"):
        OnnxTrocr(tmp_path, 1)


def test_a_graph_holds_no_weights(exports: dict[str, Path]):
    for name in GRAPH_NAMES:
        graph = onnx.load(str(exports["small"] / name), load_external_data=False).graph
        assert all(len(tensor.raw_data) < 64 for tensor in graph.initializer)
        assert sum(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer) >= 20


def test_another_precision_of_an_export_is_refused(exports: dict[str, Path]):
    with pytest.raises(UsageError, match="the numbers that it was exported with"):
        load(str(exports["small"]), generate=GenerateChanges(precision="bf16"))
    with pytest.raises(UsageError, match="has its own cache"):
        load(str(exports["small"]), generate=GenerateChanges(static_cache=True))


def test_an_interrupted_export_leaves_nothing(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("quillread.models.trocr.export.write_facts", stop)
    with pytest.raises(KeyboardInterrupt):
        export(describe(str(folders["small"])), tmp_path / "out", "float32")
    assert list(tmp_path.iterdir()) == []


def copy(source: Path, target: Path) -> None:
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ends": []}, "ends must name at least one token"),
        ({"ends": [2, 100_000]}, "ends: tokens are from 0 to 126, got 100000"),
        ({"ends": [-1]}, "ends: tokens are from 0 to"),
        ({"start": 127}, "start: tokens are from 0 to 126, got 127"),
        ({"resample": 99}, "resample must be from 0 to 5, got 99"),
        ({"max_tokens": 0}, "max_tokens must be from 1 to 100000, got 0"),
        ({"positions": 1}, "positions must be from 2 to 100000, got 1"),
        ({"beams": 101}, "beams must be from 1 to 100, got 101"),
        ({"layers": 0}, "layers must be from 1 to 1000, got 0"),
        ({"length_penalty": 1e9}, "length_penalty must be from -100 to 100"),
        ({"no_repeat_ngram": -1}, "no_repeat_ngram must be from 0 to 1024, got -1"),
        ({"no_repeat_ngram": 1}, "no_repeat_ngram must be 0 or at least 2, got 1"),
        ({"early_stopping": "sometimes"}, "early_stopping"),
    ],
    ids=str,
)
def test_facts_out_of_range_are_named(exports: dict[str, Path], tmp_path: Path, values: dict[str, Any], message: str):
    copy(exports["small"], tmp_path)
    facts = json.loads((tmp_path / FACTS_NAME).read_text(encoding="utf-8"))
    assert facts["vocabulary"] == 127
    (tmp_path / FACTS_NAME).write_text(json.dumps(facts | values), encoding="utf-8")
    with pytest.raises(ModelError, match=rf"trocr\.json: .*{message}"):
        read_facts(tmp_path)


def test_a_record_with_the_canvas_of_another_model_is_refused(exports: dict[str, Path], tmp_path: Path):
    copy(exports["small"], tmp_path)
    write_info(ModelInfo(family="trocr", name="other", canvas=CanvasConfig(64, 128, "pad")), tmp_path)
    message = (
        r"quillread\.json and trocr\.json do not belong together: a canvas of 64 x 128 pixels in the one, of 64 x 64"
    )
    with pytest.raises(ModelError, match=message):
        load(str(tmp_path), threads=1)
    write_info(ModelInfo(family="trocr", name="own", canvas=CanvasConfig(64, 64, "pad")), tmp_path)
    load(str(tmp_path), threads=1)


def test_a_rule_against_single_tokens_is_refused(folders: dict[str, Path]):
    model = load_trocr(folders["small"])
    model.network.generation_config.update(no_repeat_ngram_size=1)
    with pytest.raises(ModelError, match="no_repeat_ngram_size = 1"):
        find_facts(model, "float32")
    with pytest.raises(ConfigError, match=r"generate\.no_repeat_ngram_size must be 0 or from 2 to 1024, got 1"):
        GenerateConfig(no_repeat_ngram_size=1)
    assert GenerateConfig(no_repeat_ngram_size=0).no_repeat_ngram_size == 0
