"""The compact line recogniser: residual convolutions, column pooling, a light sequence layer, CTC.

The layout follows Retsinas et al., "Best Practices for a Handwritten Text Recognition System" (2022, arXiv 2404.11339):
a column pooling that lets height vanish without a large dense layer, and a second CTC head on the convolutions
(the "shortcut"), used in training only, that gives the convolutions a direct gradient.
"""

from typing import cast

import torch
from torch import Tensor, nn

from quillread.models.compact.onnx_file import CompactConfig


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation and a skip connection."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int] = (1, 1)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.skip: nn.Module = nn.Identity()
        self._stride = stride
        if inputs != outputs or stride != (1, 1):
            self.skip = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, h, w) to (N, outputs, h / stride, w / stride)."""
        y = torch.relu(self.norm1(self.conv1(x)))
        # A 1x1 convolution of every other pixel. With a stride of its own it is the same, but oneDNN 3 (torch 2.13)
        # writes beyond its memory in the backward pass of some shapes, such as 8 channels with a stride of (2, 1).
        # Pooled, not sliced: the gradient of a slice has another layout in memory, which makes what follows slow.
        x = nn.functional.max_pool2d(x, 1, self._stride) if self._stride != (1, 1) else x
        return torch.relu(self.norm2(self.conv2(y)) + self.skip(x))


class GatedConvBlock(nn.Module):
    """A 1-D convolution over the columns whose output is gated (GLU), with a skip connection."""

    def __init__(self, width: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, 2 * width, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.BatchNorm1d(2 * width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, width, T) to the same shape."""
        return cast(Tensor, x + self.dropout(nn.functional.glu(self.norm(self.conv(x)), dim=1)))


class CompactNetwork(nn.Module):
    """Line images in, CTC logits out; one output column for every 4 pixels of width.

    Args:
        config: Shape of the network.
        classes: Size of the charset plus one; class 0 is the CTC blank.
    """

    def __init__(self, config: CompactConfig, classes: int) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.stem = nn.Sequential(nn.Conv2d(1, c[0], 3, (2, 2), 1, bias=False), nn.BatchNorm2d(c[0]), nn.ReLU())
        strides = ((1, 1), (2, 2), (2, 1), (2, 1))
        self.stages = nn.Sequential()
        inputs = c[0]
        for outputs, depth, stride in zip(c, config.blocks, strides, strict=True):
            for i in range(depth):
                self.stages.append(ResidualBlock(inputs, outputs, stride if i == 0 else (1, 1)))
                inputs = outputs
        width = config.sequence_width
        self.project = nn.Sequential(nn.Conv1d(2 * inputs, width, 1, bias=False), nn.BatchNorm1d(width), nn.ReLU())
        self.dropout = nn.Dropout(config.dropout)
        self.sequence = nn.Sequential(
            *(GatedConvBlock(width, config.sequence_kernel, config.dropout) for _ in range(config.sequence_blocks))
        )
        self.recurrent: nn.LSTM | None = None
        if config.recurrent_layers:
            self.recurrent = nn.LSTM(
                width, width, config.recurrent_layers, batch_first=True, bidirectional=True, dropout=0.0
            )
        self.head = nn.Linear(2 * width if config.recurrent_layers else width, classes)
        self.shortcut = nn.Conv1d(width, classes, 3, padding=1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Recognise a batch of line images.

        Args:
            pixels: float (N, 1, height, W): ink near 1, paper near 0; W a multiple of 4.

        Returns:
            Logits of the main head and of the shortcut head, each (N, W / 4, classes).
        """
        # Of one channel both layouts are the same memory, so it is here that the convolutions are told theirs.
        x = self.stem[0](pixels).contiguous(memory_format=torch.channels_last)
        x = self.stages(self.stem[1:](x))
        columns = torch.cat([x.amax(dim=2), x.mean(dim=2)], dim=1)
        x = self.dropout(self.project(columns))
        shortcut = self.shortcut(x).transpose(1, 2)
        x = self.dropout(self.sequence(x)).transpose(1, 2)
        if self.recurrent is not None:
            x = self.dropout(self.recurrent(x)[0])
        return self.head(x), shortcut


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
