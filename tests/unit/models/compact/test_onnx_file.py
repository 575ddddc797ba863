from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from networks import each_config, make_network, weights_of

from quillread.errors import ModelError
from quillread.models.compact.onnx_file import CompactConfig, read_weights, write_onnx
from quillread.models.onnx import OnnxBackend


@each_config
def test_the_onnx_file_computes_what_the_network_computes(config: CompactConfig, tmp_path: Path):
    network = make_network(config)
    write_onnx(weights_of(network), config, tmp_path / "model.onnx")
    backend = OnnxBackend(tmp_path / "model.onnx", threads=1)
    rng = np.random.default_rng(0)
    for lines, width in ((1, 4), (1, 64), (3, 100), (2, 256)):
        pixels = rng.random((lines, 1, config.height, width), np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(pixels))[0].log_softmax(-1).numpy()
        assert np.abs(np.stack(list(backend(pixels[:, 0]))) - expected).max() < 1e-4


@each_config
def test_the_weights_are_read_back_as_they_were(config: CompactConfig, tmp_path: Path):
    weights = weights_of(make_network(config))
    write_onnx(weights, config, tmp_path / "model.onnx")
    read = read_weights(tmp_path / "model.onnx")
    left_out = {n for n in weights if n.startswith("shortcut.") or n.endswith("num_batches_tracked")}
    assert set(read) == set(weights) - left_out
    assert [name for name in read if not np.array_equal(read[name], weights[name])] == []


@each_config
def test_the_file_is_valid_and_names_its_axes(config: CompactConfig, tmp_path: Path):
    write_onnx(weights_of(make_network(config)), config, tmp_path / "model.onnx")
    model = onnx.load(str(tmp_path / "model.onnx"))
    onnx.checker.check_model(model, full_check=True)
    axes = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["lines", 1, config.height, "width"]


def test_a_file_that_is_no_onnx_has_no_weights(tmp_path: Path):
    (tmp_path / "model.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read as ONNX"):
        read_weights(tmp_path / "model.onnx")


def test_a_missing_file_has_no_weights(tmp_path: Path):
    with pytest.raises(ModelError, match="cannot be read as ONNX"):
        read_weights(tmp_path / "none.onnx")


def test_an_onnx_file_of_another_network_is_refused(tmp_path: Path):
    graph = onnx.helper.make_graph([], "other", [], [])
    onnx.save(onnx.helper.make_model(graph), str(tmp_path / "model.onnx"))
    with pytest.raises(ModelError, match="is not a compact model"):
        read_weights(tmp_path / "model.onnx")
