import torch

from quillread.models.page import PageNetConfig
from quillread.models.page_net import PageNetwork
from quillread.train.finder.learner import AveragedWeights, page_loss


def test_what_is_not_known_costs_nothing():
    logits, maps = torch.randn(1, 4, 8, 8), torch.zeros(1, 4, 8, 8)
    turns, turn = torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64)
    known = torch.zeros(1, 8, 8)
    known[:, :, :4] = 1
    changed = logits.clone()
    changed[..., 4:] += 7
    losses = [page_loss(each, turns, maps, known, turn) for each in (logits, changed)]
    assert losses[0] == losses[1]
    assert page_loss(changed, turns, maps, torch.ones(1, 8, 8), turn) > losses[1]


def test_the_average_lies_between_the_weights_of_the_steps():
    torch.manual_seed(0)
    network = PageNetwork(PageNetConfig((6, 8, 12), (1, 1, 1)))
    average = AveragedWeights(network, 0.5)
    before = network.head.weight.detach().clone()
    with torch.no_grad():
        network.head.weight += 1
    average.follow(network, step=1000)
    assert torch.allclose(average.network.head.weight, before + 0.5)
