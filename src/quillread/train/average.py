"""The average of the weights over the last steps of a run, which reads better than the weights of one step."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from quillread.errors import ModelError
from quillread.models.model_folder import share_weights

AVERAGE_NAME = "average.safetensors"
"""In a checkpoint, beside the weights of its step."""


class WeightAverage(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Exponential moving average of what is trained and of the statistics of norms (Polyak and Juditsky 1992).

    Args:
        network: Whose numbers are averaged.
        decay: What is left of the average after a step, of which it takes the rest; fewer steps than fit into it are
            averaged evenly.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network = network
        self._decay = decay
        self._averages: dict[str, Tensor] = {}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Take in the weights of a step."""
        share = max(1.0 - self._decay, 1.0 / state.global_step)
        for name, value in self._tensors():
            if name in self._averages and value.is_floating_point():
                self._averages[name].lerp_(value.detach(), share)
            else:
                self._averages[name] = value.detach().clone(memory_format=torch.contiguous_format)

    def take(self) -> None:
        """Give the network the average in place of its weights; without a step they stay."""
        with torch.no_grad():
            for name, value in self._tensors():
                if name in self._averages:
                    value.copy_(self._averages[name])

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Let the network have the average for a while."""
        own = [(value, value.detach().clone()) for _, value in self._tensors()]
        self.take()
        try:
            yield
        finally:
            with torch.no_grad():
                for value, before in own:
                    value.copy_(before)

    def save(self, checkpoint: Path) -> None:
        """Write it into a checkpoint."""
        save_file(self._averages, checkpoint / AVERAGE_NAME)
        share_weights(checkpoint)

    def load(self, checkpoint: Path) -> None:
        """Take it from a checkpoint.

        Raises:
            ModelError: If it is missing, damaged, or of another network.
        """
        try:
            found = load_file(checkpoint / AVERAGE_NAME)
        except Exception as error:  # safetensors raises types without a common base
            raise ModelError(f"{checkpoint / AVERAGE_NAME}: cannot be loaded: {error}") from error
        tensors = dict(self._tensors())
        if {name: value.shape for name, value in found.items()} != {name: t.shape for name, t in tensors.items()}:
            raise ModelError(f"{checkpoint / AVERAGE_NAME}: is of another network")
        self._averages = {name: value.to(tensors[name].device) for name, value in found.items()}

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        kept = self._network.state_dict().keys()  # other buffers are constants
        yield from ((name, value) for name, value in self._network.named_parameters() if value.requires_grad)
        yield from ((name, value) for name, value in self._network.named_buffers() if name in kept)
