from pathlib import Path

import numpy as np
import pytest
import torch
from networks import each_config, make_network, weights_of
from numpy.typing import NDArray

from quillread.models.compact.onnx_file import CompactConfig, read_weights, write_onnx
from quillread.models.compact.quantise import quantise
from quillread.models.onnx import OnnxBackend


def lines(config: CompactConfig, count: int, seed: int) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return [rng.random((1, 1, config.height, 64 * (1 + i % 3)), np.float32) for i in range(count)]


@pytest.fixture
def written(tmp_path: Path):
    def write(config: CompactConfig) -> tuple[Path, dict[str, NDArray[np.float32]], torch.nn.Module]:
        network = make_network(config)
        weights = weights_of(network)
        quantise(weights, config, lines(config, 6, 0), tmp_path / "model.onnx")
        return tmp_path / "model.onnx", weights, network

    return write


@each_config
def test_eight_bits_compute_nearly_what_the_network_computes(config: CompactConfig, written):
    path, _, network = written(config)
    backend = OnnxBackend(path, threads=1)
    for pixels in lines(config, 4, 1):
        with torch.inference_mode():
            expected = network(torch.from_numpy(pixels))[0].softmax(-1).numpy()
        assert np.abs(np.exp(next(backend([pixels[0, 0]]))) - expected[0]).max() < 0.03


@each_config
def test_the_weights_are_read_back_as_exactly_as_seven_bits_tell(config: CompactConfig, written):
    path, weights, network = written(config)
    read = read_weights(path)
    left_out = {n for n in weights if n.startswith("shortcut.") or n.endswith("num_batches_tracked")}
    assert set(read) == set(weights) - left_out
    for name, value in read.items():
        assert value.shape == weights[name].shape
        assert np.abs(value - weights[name]).max() <= np.abs(weights[name]).max() / 120, name
    network.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in read.items()}, strict=False)


def test_a_network_read_back_computes_what_the_file_computes(written):
    config = CompactConfig(48, (4, 8, 8, 12), (1, 2, 1, 1), 16, 2, 5, 2)
    path, _, network = written(config)
    network.load_state_dict({n: torch.from_numpy(v.copy()) for n, v in read_weights(path).items()}, strict=False)
    (pixels,) = lines(config, 1, 2)
    with torch.inference_mode():
        probabilities = network(torch.from_numpy(pixels))[0].softmax(-1).numpy()
    assert np.abs(np.exp(next(OnnxBackend(path, threads=1)([pixels[0, 0]]))) - probabilities[0]).max() < 0.03


def test_the_norms_become_part_of_the_convolutions(tmp_path: Path):
    config = CompactConfig(48, (4, 8, 8, 12), (1, 2, 1, 1), 16, 2, 5, 2)
    network = make_network(config)
    write_onnx(weights_of(network), config, tmp_path / "folded.onnx", folded=True)
    (pixels,) = lines(config, 1, 3)
    with torch.inference_mode():
        expected = network(torch.from_numpy(pixels))[0].log_softmax(-1).numpy()
    assert np.abs(next(OnnxBackend(tmp_path / "folded.onnx", threads=1)([pixels[0, 0]])) - expected[0]).max() < 1e-4


def test_the_file_is_smaller(tmp_path: Path):
    config = CompactConfig(48, (16, 32, 48, 64), (1, 1, 1, 1), 64, 1, 5, 1)
    weights = weights_of(make_network(config))
    write_onnx(weights, config, tmp_path / "float.onnx")
    quantise(weights, config, lines(config, 2, 0), tmp_path / "eight.onnx")
    assert (tmp_path / "eight.onnx").stat().st_size < 0.45 * (tmp_path / "float.onnx").stat().st_size
