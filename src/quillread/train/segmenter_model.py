"""The line-finding network in training: its loss, its averaged weights, and how the line finder calls it."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quillread.models.page_net import PageNetwork

_TURN_WEIGHT = 0.1
_DICE_WEIGHT = 0.5


def page_loss(logits: Tensor, turns: Tensor, maps: Tensor, known: Tensor, turn: Tensor) -> Tensor:
    """Cross-entropy and Dice of the known parts of the maps, and cross-entropy of the turn.

    Args:
        logits: Of the maps, float (N, 4, h, w).
        turns: Logits of the turn, float (N, 4).
        maps: What they should be, 0 or 1, (N, 4, h, w).
        known: 1 where `maps` is known, (N, h, w).
        turn: int64 (N,).
    """
    truth, weight = maps.float(), known.float()[:, None]
    total = weight.sum().clamp(min=1) * maps.shape[1]
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    found = logits.sigmoid() * weight
    overlap = (found * truth).sum(dim=(0, 2, 3))
    both = found.sum(dim=(0, 2, 3)) + (truth * weight).sum(dim=(0, 2, 3))
    # With 1 added above and below, a map with nothing on it that finds nothing costs nothing.
    dice = 1 - (2 * overlap + 1) / (both + 1)
    loss = (entropy * weight).sum() / total + _DICE_WEIGHT * dice.mean()
    return loss + _TURN_WEIGHT * nn.functional.cross_entropy(turns, turn)


class AveragedWeights:
    """The exponential moving average of a network's weights, which marks better than the weights of any one step.

    Args:
        network: Whose weights are followed.
        decay: Share that the average keeps at each step.
    """

    def __init__(self, network: PageNetwork, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def follow(self, network: PageNetwork, step: int) -> None:
        """Take a step's weights in; the first steps count for less long."""
        decay = min(self._decay, (1 + step) / (10 + step))
        own, new = self.network.state_dict(), network.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        torch._foreach_lerp_([own[name] for name in floats], [new[name] for name in floats], 1 - decay)


class TorchPageBackend:
    """The network in training, as the line finder calls it."""

    def __init__(self, network: PageNetwork) -> None:
        self._network = network

    def __call__(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `PageBackend`."""
        was_training = self._network.training
        self._network.eval()
        device = next(self._network.parameters()).device
        try:
            with torch.inference_mode():
                maps, turn = self._network(torch.from_numpy(pixels).to(device)[None, None])
                return maps[0].sigmoid().float().cpu().numpy(), turn[0].softmax(-1).float().cpu().numpy()
        finally:
            self._network.train(was_training)
