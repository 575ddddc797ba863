"""The compact network as the trainer sees it: inputs in, loss out; and as the recogniser sees it."""

import contextlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quillread.decode.ctc import LogProbs
from quillread.models.compact import CompactNetwork
from quillread.models.compact_config import COLUMN_WIDTH
from quillread.text.charset import BLANK

SHORTCUT_WEIGHT = 0.1
"""Share of the shortcut head's loss (Retsinas et al. 2022)."""


class CompactForTraining(nn.Module):
    """The network with its CTC loss."""

    def __init__(self, network: CompactNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor, widths: Tensor, labels: Tensor, label_lengths: Tensor) -> dict[str, Tensor]:
        """Losses of a batch as `CompactForm.collate` makes it: for each line the CTC loss per character, in nats."""
        logits, shortcut = self.network(pixels)
        # Two columns beyond the image may carry the end of a character cut at the edge.
        columns = torch.clamp(widths.div(COLUMN_WIDTH, rounding_mode="floor") + 2, max=logits.shape[1])

        def losses(scores: Tensor) -> Tensor:
            log_probs = scores.float().log_softmax(-1).transpose(0, 1)
            per_line = nn.functional.ctc_loss(
                log_probs, labels, columns, label_lengths, blank=BLANK, reduction="none", zero_infinity=True
            )
            return per_line / label_lengths

        return {"losses": losses(logits) + SHORTCUT_WEIGHT * losses(shortcut)}


class TorchBackend:
    """Runs a network for `LineRecognizer`.

    Args:
        network: In whatever mode; it is run in evaluation mode and put back.
        mixed: Number type of mixed precision, or None for float32.
    """

    def __init__(self, network: CompactNetwork, mixed: torch.dtype | None = None) -> None:
        self._network = network
        self._mixed = mixed

    def __call__(self, pixels: NDArray[np.float32]) -> LogProbs:
        """Map float32 (N, 1, h, W) to log probabilities float32 (N, W / 4, classes)."""
        device = next(self._network.parameters()).device
        was_training = self._network.training
        self._network.eval()
        context = torch.autocast(device.type, self._mixed) if self._mixed else contextlib.nullcontext()
        try:
            with torch.inference_mode(), context:
                logits, _ = self._network(torch.from_numpy(pixels).to(device))
                return np.asarray(logits.float().log_softmax(-1).cpu().numpy(), np.float32)
        finally:
            self._network.train(was_training)
