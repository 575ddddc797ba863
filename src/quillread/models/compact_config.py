"""Shape of the compact network; apart from the network, so that it can be read without torch."""

from dataclasses import dataclass

from quillread.errors import ConfigError

COLUMN_WIDTH = 4
"""Pixels of the line image that one output column stands for."""


@dataclass(frozen=True, slots=True)
class CompactConfig:
    """Shape of the compact network."""

    height: int = 48
    """Height of the line image in pixels, 48 to 80, divisible by 16."""
    channels: tuple[int, ...] = (32, 64, 128, 192)
    """Output channels of the stages. The first two halve height and width, the others the height alone."""
    blocks: tuple[int, ...] = (1, 2, 2, 2)
    """Residual blocks in each stage."""
    sequence_width: int = 256
    """Channels of the sequence layers."""
    sequence_blocks: int = 4
    """Gated 1-D convolution blocks between the columns and the recurrent layer."""
    sequence_kernel: int = 7
    """Kernel of the 1-D convolutions, in columns of 4 pixels; odd."""
    recurrent_layers: int = 1
    """Bidirectional LSTM layers on top; 0 for none."""
    dropout: float = 0.1
    """Dropout on the columns and in the sequence layers."""

    def __post_init__(self) -> None:
        if self.height % 16 or not 48 <= self.height <= 80:
            raise ConfigError(f"network.height must be 48, 64 or 80, got {self.height}")
        if len(self.channels) != 4 or len(self.blocks) != 4:
            raise ConfigError("network.channels and network.blocks need four values each")
        if min(*self.channels, *self.blocks, self.sequence_width) < 1:
            raise ConfigError("network.channels, network.blocks and network.sequence_width must be at least 1")
        if min(self.sequence_blocks, self.recurrent_layers) < 0 or not 0 <= self.dropout < 1:
            raise ConfigError("network: sequence_blocks and recurrent_layers from 0 up, dropout from 0 to below 1")
        if self.sequence_kernel < 1 or self.sequence_kernel % 2 == 0:
            raise ConfigError(f"network.sequence_kernel must be odd, got {self.sequence_kernel}")
