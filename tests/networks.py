"""Small compact networks for tests."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from quillread.models.compact.network import CompactNetwork
from quillread.models.compact.onnx_file import CompactConfig

CLASSES = 7
CONFIGS = {
    "all layers": CompactConfig(48, (4, 8, 8, 12), (1, 2, 1, 1), 16, 2, 5, 2),
    "no recurrent layer": CompactConfig(64, (4, 4, 4, 4), (1, 1, 1, 1), 8, 1, 3, 0),
    "no sequence layer": CompactConfig(48, (4, 4, 4, 4), (1, 1, 1, 1), 8, 0, 3, 1),
    "neither": CompactConfig(48, (4, 4, 4, 4), (1, 1, 1, 1), 8, 0, 3, 0),
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def make_network(config: CompactConfig) -> CompactNetwork:
    torch.manual_seed(3)
    network = CompactNetwork(config, CLASSES)
    # Statistics of batch normalisation as after some training: a fresh network's would hide a swapped one.
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return network.eval()


def weights_of(network: CompactNetwork) -> dict[str, NDArray[np.float32]]:
    return {name: value.float().numpy() for name, value in network.state_dict().items()}
