"""Shape of the network that finds lines on pages; apart from it, so that it can be read without torch."""

from dataclasses import dataclass

from quillread.errors import ConfigError

MAPS = ("baseline", "body", "end", "print")
"""What it marks: baselines, the bodies of letters above them, upright bars where lines start and end, and the bodies of
printed letters."""

STRIDE = 2
"""Pixels of the page that one pixel of a map stands for, in x and y."""

TURNS = (0, 90, 180, 270)
"""Degrees counter-clockwise by which a page may have been turned."""


@dataclass(frozen=True, slots=True)
class PageNetConfig:
    """Shape of the network, a U-Net: each stage has half the resolution of the one before."""

    channels: tuple[int, ...] = (16, 32, 56, 88, 128)
    """Channels of the stages; the first has a half of the page's resolution."""
    blocks: tuple[int, ...] = (1, 1, 2, 2, 2)
    """Residual blocks in each stage on the way down; there is one on the way up."""

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.blocks) or len(self.channels) < 2:
            raise ConfigError("network.channels and network.blocks need as many values each, at least two")
        if min(*self.channels, *self.blocks) < 1:
            raise ConfigError("network.channels and network.blocks must be at least 1")

    @property
    def multiple(self) -> int:
        """What height and width of its input must be divisible by."""
        return int(2 ** len(self.channels))
