import pytest
import torch

from quillread.errors import ConfigError
from quillread.models.compact.network import CompactNetwork, count_parameters
from quillread.models.compact.onnx_file import CompactConfig

TINY = CompactConfig(channels=(4, 4, 8, 8), blocks=(1, 1, 1, 1), sequence_width=8, sequence_blocks=1, sequence_kernel=3)


@pytest.mark.parametrize("height", [48, 64, 80])
def test_a_column_stands_for_four_pixels(height: int):
    network = CompactNetwork(CompactConfig(height, TINY.channels, TINY.blocks, 8, 1, 3), classes=5)
    logits, shortcut = network(torch.zeros(2, 1, height, 36))
    assert logits.shape == shortcut.shape == (2, 9, 5)


def test_every_parameter_gets_a_gradient():
    network = CompactNetwork(TINY, classes=5)
    logits, shortcut = network(torch.rand(2, 1, 48, 32))
    (logits.square().mean() + shortcut.square().mean()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_parameters_are_counted():
    assert count_parameters(torch.nn.Linear(3, 2)) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"height": 50}, r"network\.height"),
        ({"height": 96}, r"network\.height"),
        ({"channels": (8, 8)}, "four values"),
        ({"blocks": (1, 1, 1)}, "four values"),
        ({"sequence_kernel": 4}, "must be odd"),
        ({"channels": (0, 8, 8, 8)}, "at least 1"),
        ({"dropout": 2.0}, "dropout"),
        ({"recurrent_layers": -1}, "recurrent_layers"),
    ],
)
def test_a_shape_that_cannot_be_built_is_refused(changes: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        CompactConfig(**changes)  # type: ignore[arg-type]


def test_convolutions_work_in_the_layout_that_processors_are_fast_in():
    network = CompactNetwork(TINY, classes=5)
    layouts = []
    for block in network.stages:
        block.register_forward_hook(lambda _, args, y: layouts.append((args[0], y)))
    network(torch.rand(2, 1, 48, 32))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for pair in layouts for x in pair)
    assert not any(x.is_contiguous() for x, _ in layouts)
