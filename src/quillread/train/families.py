"""What a family of networks brings to a training, and the choice of the family."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from quillread.images.preprocess import StepCache
from quillread.models.model_folder import ModelInfo
from quillread.recognize.recognizer import LineRecognizer
from quillread.train.config import ScheduleConfig, TrainConfig
from quillread.train.dataset import LineForm

LOSS_WEIGHTS = "weights"
"""The tensor of a batch that says how much each line counts in the loss; the network does not get it."""


class TrainedNetwork(Protocol):
    """The network as the trainer sees it."""

    def __call__(self, **batch: Tensor) -> dict[str, Tensor]:
        """Take the tensors of a batch but its weights; give `losses` float32 (N,), one for each line."""


class Family(Protocol):
    """A kind of network under training."""

    network: nn.Module
    """A `TrainedNetwork`."""
    form: LineForm
    can_split: bool
    """Whether a batch can be computed in parts with the same result (which dropout alone changes)."""
    info: ModelInfo
    """What the model folder will say, before calibration and provenance."""

    def groups(self, schedule: ScheduleConfig) -> list[dict[str, Any]]:
        """Parameters for AdamW, in groups of one learning rate and one weight decay each."""

    def recognizer(self, mixed: torch.dtype | None, texts: Iterable[str] = ()) -> LineRecognizer:
        """The network as it is now, as a recogniser.

        Args:
            mixed: Number type of mixed precision; None for float32.
            texts: What is written in the lines that it is to read, where that is known: their length bounds the work.
        """

    def parameters(self) -> int:
        """How many values the model folder will keep."""

    def save_weights(self, folder: Path) -> None:
        """Write what a resumed run needs of the network."""

    def load_weights(self, folder: Path) -> None:
        """Take every trained tensor from a checkpoint.

        Raises:
            ModelError: If any is missing, unknown or of another shape.
        """

    def save(self, folder: Path, info: ModelInfo) -> None:
        """Write the model folder; the last thing that is done with the network."""


_FAMILIES = {
    "compact": "quillread.train.compact_family:CompactFamily",
    "trocr": "quillread.train.trocr.family:TrocrFamily",
}
"""Family -> class (config, cache), imported when it is needed."""


def open_family(config: TrainConfig, cache: StepCache | None) -> Family:
    """Make the network of a run, with the weights that it starts from.

    Raises:
        ModelError: If the model to start from is missing, damaged, or does not fit the settings.
    """
    module, _, name = _FAMILIES[config.family].partition(":")
    family: Family = getattr(import_module(module), name)(config, cache)
    return family


def decay_groups(
    network: nn.Module, schedule: ScheduleConfig, rates: dict[str, float] | None = None
) -> list[dict[str, Any]]:
    """Share out the trainable parameters: matrices and kernels decay, norms and biases do not.

    Args:
        network: Its parameters, by name.
        schedule: Peak learning rate and weight decay.
        rates: Name of a parameter -> share of the peak learning rate that it gets; 1 if it is not named.
    """
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decay = schedule.weight_decay if parameter.ndim > 1 else 0.0
            members.setdefault(((rates or {}).get(name, 1.0), decay), []).append(parameter)
    return [
        {"params": parameters, "lr": schedule.learning_rate * rate, "weight_decay": decay}
        for (rate, decay), parameters in members.items()
    ]
