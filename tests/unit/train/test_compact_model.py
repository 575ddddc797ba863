import numpy as np
import pytest
import torch

from quillread.models.compact.network import CompactNetwork
from quillread.models.compact.onnx_file import CompactConfig
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
    model = CompactForTraining(network(), 0.1)
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
    loss = CompactForTraining(network(), 0.1)(**batch([1, 2] * 40))["losses"]
    assert loss.tolist() == [0.0]


def test_the_loss_of_a_line_does_not_depend_on_the_lines_beside_it():
    model = CompactForTraining(network(), 0.1).eval()
    both = batch([1, 2], [3, 1, 2, 1])
    first = {name: value[:1] for name, value in both.items()}
    assert model(**both)["losses"][0].item() == pytest.approx(model(**first)["losses"][0].item(), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_reading_leaves_the_mode_of_the_network_as_it_was(training: bool):
    net = network().train(training)
    TorchBackend(net)([np.zeros((48, 16), np.float32)])
    assert net.training is training


def test_reading_uses_the_evaluation_mode():
    net = network().train()
    lines = list(np.random.default_rng(0).random((2, 48, 16), np.float32))
    first, second = (TorchBackend(net)(lines) for _ in range(2))
    assert np.array_equal(first, second)
    assert first[0].dtype == np.float32
    assert np.exp(first).sum(axis=2) == pytest.approx(1.0, abs=1e-5)


def test_lines_of_like_width_share_a_call_and_keep_their_order():
    net = network().eval()
    rng = np.random.default_rng(0)
    lines = [rng.random((48, width), np.float32) for width in (16, 32, *[16] * 20, 64)]
    calls = []
    net.register_forward_pre_hook(lambda _, arguments: calls.append(tuple(arguments[0].shape)))
    together = TorchBackend(net)(lines)
    assert calls == [(16, 1, 48, 16), (5, 1, 48, 16), (1, 1, 48, 32), (1, 1, 48, 64)]
    for line, read in zip(lines, together, strict=True):
        assert read == pytest.approx(TorchBackend(net)([line])[0], abs=1e-5)


def test_mixed_precision_gives_almost_the_same():
    net = network()
    lines = [np.random.default_rng(0).random((48, 32), np.float32)]
    difference = np.abs(TorchBackend(net)(lines)[0] - TorchBackend(net, torch.bfloat16)(lines)[0])
    assert 0 < difference.max() < 0.1


def test_without_weight_the_shortcut_head_takes_no_part():
    model = CompactForTraining(network(), 0.0)
    model(**batch([1, 2]))["losses"].sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == [
        "network.shortcut.weight",
        "network.shortcut.bias",
    ]


def test_a_teacher_that_says_the_same_costs_nothing():
    alone = CompactForTraining(network(), 0.0).eval()(**batch([1, 2], [3]))["losses"]
    taught = CompactForTraining(network(), 0.0, teacher=network()).eval()(**batch([1, 2], [3]))["losses"]
    assert taught.tolist() == pytest.approx(alone.tolist(), rel=1e-5)


def test_a_network_comes_to_say_what_its_teacher_says():
    torch.manual_seed(1)
    teacher = CompactNetwork(TINY, classes=4)
    teacher.head.bias.data += torch.tensor([0.0, 3.0, 0.0, 0.0])  # so that there is something to learn from the start
    model = CompactForTraining(network(), 0.0, teacher)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    given = batch([1, 1, 1, 1])
    divergence = []
    for _ in range(30):
        divergence.append(model._divergence(model.network(given["pixels"])[0], given["pixels"], torch.tensor([16])))
        optimizer.zero_grad()
        model(**given)["losses"].sum().backward()
        optimizer.step()
    assert divergence[-1] < 0.5 * divergence[0]


def test_a_teacher_is_neither_trained_nor_saved_nor_set_to_training():
    teacher = network()
    model = CompactForTraining(network(), 0.1, teacher).train()
    assert not any("teacher" in name for name in model.state_dict())
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert len(list(model.parameters())) == len(list(network().parameters()))


def test_columns_beyond_a_line_teach_nothing():
    torch.manual_seed(1)
    model = CompactForTraining(network(), 0.0, CompactNetwork(TINY, classes=4)).eval()
    logits, pixels = torch.zeros(1, 16, 4), torch.rand(1, 1, 48, 64)
    short = model._divergence(logits, pixels, torch.tensor([3]))
    logits[:, 3:] = torch.randn(1, 13, 4)
    assert model._divergence(logits, pixels, torch.tensor([3])).item() == pytest.approx(short.item())
    assert model._divergence(logits, pixels, torch.tensor([9])).item() > short.item()
