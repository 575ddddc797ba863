"""A second head over TrOCR's encoder, for training only: it reads the columns of the image by CTC."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from quillread.errors import ConfigError, ModelError
from quillread.models.trocr.pixels import SPECIAL_PLACES, as_pair

COLUMNS_NAME = "columns.safetensors"
"""Its weights in a checkpoint; a model folder has none."""


class ColumnHead(nn.Module):
    """Scores the tokens in each column of patches; the loss is that of CTC (Graves et al. 2006).

    The decoder of a network from scratch gets along without the image for a long time, and the encoder learns nothing
    meanwhile. A loss of its own teaches it the letters, in their order, from the start (Watanabe et al. 2017, "Hybrid
    CTC/Attention Architecture").

    Args:
        network: A VisionEncoderDecoderModel with a ViT or DeiT encoder.
        tokenizer: Its padding is the blank, its end token is no letter.
        seed: Of the weights.

    Raises:
        ConfigError: If the encoder is of another kind: nobody knows where its columns are.
    """

    def __init__(self, network: Any, tokenizer: Any, seed: int) -> None:
        super().__init__()
        config = network.config.encoder
        if config.model_type not in SPECIAL_PLACES:
            known = ", ".join(SPECIAL_PLACES)
            raise ConfigError(f"tuning.columns: a {config.model_type!r} encoder has none", hint=f"known: {known}")
        size, patch = as_pair(config.image_size), as_pair(config.patch_size)
        self._special = SPECIAL_PLACES[config.model_type]
        self._grid = size[0] // patch[0], size[1] // patch[1]
        self._blank: int = tokenizer.pad_token_id
        self._end: int = tokenizer.eos_token_id
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.scores = nn.Linear(config.hidden_size, len(tokenizer))

    def forward(self, encoded: Tensor, labels: Tensor) -> Tensor:
        """The loss of each line, in nats for each token of its text; 0 where there are more tokens than columns.

        Args:
            encoded: float (N, P, D), the encoder's output.
            labels: int64 (N, L), padded with negative numbers.

        Returns:
            float32 (N,).
        """
        grid = encoded[:, self._special :].reshape(len(encoded), *self._grid, -1)
        scores = self.scores(grid.mean(1)).float().log_softmax(-1)
        is_letter = (labels >= 0) & (labels != self._end)
        lengths = is_letter.sum(1)
        columns = torch.full_like(lengths, self._grid[1])
        targets = torch.where(is_letter, labels, self._blank)
        losses = nn.functional.ctc_loss(
            scores.transpose(0, 1), targets, columns, lengths, self._blank, reduction="none", zero_infinity=True
        )
        return losses / lengths.clamp(min=1)


def load_columns(head: ColumnHead, folder: Path) -> None:
    """Take the weights of the head from a checkpoint.

    Raises:
        ModelError: If they are missing, damaged or of another network.
    """
    try:
        head.load_state_dict(load_file(folder / COLUMNS_NAME))
    except Exception as error:  # safetensors and torch raise types without a common base
        raise ModelError(f"{folder}: its column head cannot be loaded: {error}") from error
