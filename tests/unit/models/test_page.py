from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from quillread.errors import ConfigError, ModelError
from quillread.models.page import PageBackend, PageNetConfig, write_page_onnx
from quillread.models.page_net import PageNetwork

TINY = PageNetConfig((4, 6, 8), (1, 2, 1))


@pytest.fixture(scope="module")
def network() -> PageNetwork:
    torch.manual_seed(3)
    network = PageNetwork(TINY)
    # Statistics of batch normalisation as after some training: a fresh network's would hide a swapped one.
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    return network.eval()


def write(network: PageNetwork, path: Path) -> Path:
    write_page_onnx({name: v.float().numpy() for name, v in network.state_dict().items()}, network.config, path)
    return path


@pytest.mark.parametrize("shape", [(8, 8), (64, 40), (120, 200)])
def test_the_onnx_file_computes_what_the_network_computes(network: PageNetwork, tmp_path: Path, shape: tuple[int, int]):
    backend = PageBackend(write(network, tmp_path / "lines.onnx"), threads=1)
    pixels = np.random.default_rng(0).random(shape, np.float32)
    with torch.inference_mode():
        maps, turn = network(torch.from_numpy(pixels)[None, None])
    found_maps, found_turn = backend(pixels)
    assert found_maps.shape == (4, shape[0] // 2, shape[1] // 2)
    assert np.abs(found_maps - maps[0].sigmoid().numpy()).max() < 1e-4
    assert np.abs(found_turn - turn[0].softmax(-1).numpy()).max() < 1e-4


def test_the_default_network_keeps_to_its_size():
    count = sum(p.numel() for p in PageNetwork(PageNetConfig()).parameters())
    assert count <= 3_000_000
    assert 4 * count < 5_000_000


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ModelError, match=r"none\.onnx: no such file"):
        PageBackend(tmp_path / "none.onnx")


def test_a_damaged_file_is_refused(tmp_path: Path):
    (tmp_path / "lines.onnx").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be loaded as an ONNX model"):
        PageBackend(tmp_path / "lines.onnx")


def test_another_network_is_refused(tmp_path: Path):
    tensor = onnx.helper.make_tensor_value_info
    nodes = [onnx.helper.make_node("Identity", ["a"], ["b"])]
    graph = onnx.helper.make_graph(nodes, "g", [tensor("a", 1, [1])], [tensor("b", 1, [1])])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), str(tmp_path / "other.onnx"))
    with pytest.raises(ModelError, match="is not a line finder"):
        PageBackend(tmp_path / "other.onnx")


@pytest.mark.parametrize("channels, blocks", [((8, 8), (1,)), ((8,), (1,)), ((8, 0), (1, 1))])
def test_impossible_shapes_are_refused(channels: tuple[int, ...], blocks: tuple[int, ...]):
    with pytest.raises(ConfigError):
        PageNetConfig(channels, blocks)
