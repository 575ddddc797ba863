"""`quill train`, with the average of the weights over the last steps in place of the last ones.

    python benchmarks/recipe/averaged.py --decay 0.99 train --config open ... --output DIR

After each step the averages move towards the weights by a share of 1 - DECAY (exponential moving average; Polyak and
Juditsky 1992). They are taken at the end of the training; validations before are of the weights themselves. A run that
is resumed begins its averages anew.
"""

import argparse
import sys
from typing import Any

import torch
from transformers import TrainerCallback

from quillread.cli.main import main as quill
from quillread.train import finetune
from quillread.train.trainer import LineTrainer


class Average(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Keeps the averages of a network's numbers, those of its norms included."""

    def __init__(self, decay: float) -> None:
        self._decay = decay
        self.weights: dict[str, torch.Tensor] = {}

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Move them towards the weights; at first by more, as an average of few steps."""
        share = max(1.0 - self._decay, 1.0 / (state.global_step + 1))
        for name, value in model.state_dict().items():
            if name not in self.weights or not value.is_floating_point():
                self.weights[name] = value.clone()
            else:
                self.weights[name].lerp_(value, share)


class AveragingTrainer(LineTrainer):
    """Ends with the averages of its weights."""

    decay = 0.99

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train, then take the averages."""
        average = Average(self.decay)
        self.add_callback(average)
        result = super().train(*args, **kwargs)
        self.family.network.load_state_dict(average.weights)
        return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decay", type=float, default=AveragingTrainer.decay)
    own, words = parser.parse_known_args()
    AveragingTrainer.decay = own.decay
    finetune.LineTrainer = AveragingTrainer
    sys.exit(quill(words))
