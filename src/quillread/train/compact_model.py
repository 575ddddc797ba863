"""The compact network as the trainer sees it: inputs in, loss out; and as the recogniser sees it."""

import contextlib
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quillread.decode.ctc import LogProbs
from quillread.models.compact.network import CompactNetwork
from quillread.models.compact.onnx_file import COLUMN_WIDTH
from quillread.text.charset import BLANK

_BATCH = 16
"""Most lines in one call of the network, when it reads."""


class CompactForTraining(nn.Module):
    """The network with its CTC loss.

    Args:
        network: The network.
        shortcut: Weight of the shortcut head's loss beside that of the main head; 0 leaves that head out.
        teacher: A network of the same charset whose columns this one learns to give, too (Hinton et al. 2015,
            "Distilling the Knowledge in a Neural Network"): the divergence from them is added to the loss.
    """

    def __init__(self, network: CompactNetwork, shortcut: float, teacher: CompactNetwork | None = None) -> None:
        super().__init__()
        self.network = network
        self._teacher = [teacher.eval().requires_grad_(False)] if teacher else []  # a list: no part of what is saved
        self._shortcut = shortcut
        if not shortcut:
            network.shortcut.requires_grad_(False)

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

        total = losses(logits)
        if self._shortcut:
            total = total + self._shortcut * losses(shortcut)
        if self._teacher:
            total = total + self._divergence(logits, pixels, columns) / label_lengths
        return {"losses": total}

    def _divergence(self, logits: Tensor, pixels: Tensor, columns: Tensor) -> Tensor:
        """Kullback-Leibler divergence of each line from what the teacher gives, summed over its columns."""
        with torch.no_grad():
            wanted = self._teacher[0].to(pixels.device)(pixels)[0].float().log_softmax(-1)
        given = logits.float().log_softmax(-1)
        by_column = nn.functional.kl_div(given, wanted, reduction="none", log_target=True).sum(-1)
        inside = torch.arange(by_column.shape[1], device=columns.device) < columns[:, None]
        return (by_column * inside).sum(1)


class TorchBackend:
    """A network in torch: a `CtcBackend`.

    Args:
        network: In whatever mode; it is run in evaluation mode and put back.
        mixed: Number type of mixed precision, or None for float32.
    """

    def __init__(self, network: CompactNetwork, mixed: torch.dtype | None = None) -> None:
        self._network = network
        self._mixed = mixed

    def __call__(self, lines: Sequence[NDArray[np.float32]]) -> list[LogProbs]:
        """Map lines, float32 (h, W) each, to log probabilities, float32 (W / 4, classes) each, in order."""
        by_width: dict[int, list[int]] = {}
        for i, line in enumerate(lines):
            by_width.setdefault(line.shape[1], []).append(i)
        seen: dict[int, LogProbs] = {}
        for members in by_width.values():
            for start in range(0, len(members), _BATCH):
                part = members[start : start + _BATCH]
                seen |= zip(part, self._run(np.stack([lines[i][None] for i in part])), strict=True)
        return [seen[i] for i in range(len(lines))]

    def _run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
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
