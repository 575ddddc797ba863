"""What reads line images for the engine: TrOCR in torch, or exported and without torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quillread.images.fit import CanvasConfig
from quillread.types import UInt8Image


@dataclass(frozen=True, slots=True)
class Written:
    """One text that a decoder wrote, token by token."""

    tokens: list[int]
    """Without the one that starts a text and the one that ends it."""
    ended: bool
    """Whether the decoder ended the text by itself."""
    log_probs: list[float]
    """Of each token, as the network says, whatever a search has forbidden, favoured or forced."""
    end_log_probs: list[float]
    """Log probability that the text ends before each token, and after the last one."""
    attention: NDArray[np.float32]
    """(heads of all layers, tokens, columns of the canvas); a single column if nothing is known of where it looked."""


@dataclass(frozen=True, slots=True)
class LinePicture:
    """A line image that is to be read."""

    image: UInt8Image
    """uint8 RGB (H, W, 3), as it was cut."""
    padded: UInt8Image
    """uint8 RGB (H, W, 3), with the shape of the canvas or a wider one."""


class TrocrBackend(Protocol):
    """A network with its tokenizer."""

    canvas: CanvasConfig
    """Size of the images that the encoder takes."""

    def write(self, lines: Iterable[LinePicture], readings: int) -> list[list[Written]]:
        """Read lines.

        Args:
            lines: Those of like length beside each other; taken as they are needed.
            readings: How many texts of each line, at least; more are searched for if the settings say so.

        Returns:
            The texts of each line, the favourite of the search first.
        """

    def spell(self, texts: Sequence[Sequence[int]]) -> list[str]:
        """Turn tokens into characters, without those that are none."""
