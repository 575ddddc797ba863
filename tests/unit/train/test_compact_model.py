import numpy as np
import pytest
import torch

from quillread.models.compact import CompactNetwork
from quillread.models.compact_config import CompactConfig
from quillread.train.compact_form import CompactForm
from quillread.train.compact_model import CompactForTraining, TorchBackend
from quillread.train.config import TrainConfig

TINY = CompactConfig(channels=(4, 4, 8, 8), blocks=(1, 1, 1, 1), sequence_width=8, sequence_blocks=1, sequence_kernel=3)


def network() -> CompactNetwork:
    torch.manual_seed(0)
    return CompactNetwork(TINY, classes=4)


def batch(*labels: list[int]) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    made = CompactForm(TrainConfig()).collate([(rng.random((48, 64), np.float32), label) for label in labels])
    return {name: value for name, value in made.items() if name != "weights"}


def test_a_few_steps_lower_the_loss():
    model = CompactForTraining(network())
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    losses = []
    for _ in range(15):
        loss = model(**batch([1, 2], [3, 1, 2]))["losses"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_text_that_does_not_fit_costs_nothing_instead_of_infinity():
    loss = CompactForTraining(network())(**batch([1, 2] * 40))["losses"]
    assert loss.tolist() == [0.0]


def test_the_loss_of_a_line_does_not_depend_on_the_lines_beside_it():
    model = CompactForTraining(network()).eval()
    both = batch([1, 2], [3, 1, 2, 1])
    first = {name: value[:1] for name, value in both.items()}
    assert model(**both)["losses"][0].item() == pytest.approx(model(**first)["losses"][0].item(), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_reading_leaves_the_mode_of_the_network_as_it_was(training: bool):
    net = network().train(training)
    TorchBackend(net)(np.zeros((1, 1, 48, 16), np.float32))
    assert net.training is training


def test_reading_uses_the_evaluation_mode():
    net = network().train()
    pixels = np.random.default_rng(0).random((2, 1, 48, 16), np.float32)
    first, second = (TorchBackend(net)(pixels) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.dtype == np.float32
    assert np.exp(first).sum(axis=2) == pytest.approx(1.0, abs=1e-5)


def test_mixed_precision_gives_almost_the_same():
    net = network()
    pixels = np.random.default_rng(0).random((1, 1, 48, 32), np.float32)
    difference = np.abs(TorchBackend(net)(pixels) - TorchBackend(net, torch.bfloat16)(pixels))
    assert 0 < difference.max() < 0.1
