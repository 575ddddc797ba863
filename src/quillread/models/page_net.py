"""The network that finds lines on pages: a U-Net of residual blocks.

After O. Ronneberger, P. Fischer and T. Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015
(arXiv 1505.04597); that marking baselines and the ends of lines suffices is from T. Grüning, G. Leifert, T. Strauß and
R. Labahn, "A Two-Stage Method for Text Line Detection in Historical Documents", 2018 (arXiv 1802.03345).
"""

from torch import Tensor, nn

from quillread.models.compact.network import ResidualBlock
from quillread.models.page import MAPS, TURNS, PageNetConfig


class PageNetwork(nn.Module):
    """Pages in, maps of lines out; and how the page is turned.

    Args:
        config: Shape of the network.
    """

    def __init__(self, config: PageNetConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.stem = nn.Sequential(nn.Conv2d(1, c[0], 3, 2, 1, bias=False), nn.BatchNorm2d(c[0]), nn.ReLU())
        self.down = nn.ModuleList()
        inputs = c[0]
        for stage, (outputs, depth) in enumerate(zip(c, config.blocks, strict=True)):
            blocks = nn.Sequential()
            for i in range(depth):
                blocks.append(ResidualBlock(inputs, outputs, (2, 2) if stage and i == 0 else (1, 1)))
                inputs = outputs
            self.down.append(blocks)
        self.turn = nn.Linear(c[-1], len(TURNS))
        pairs = list(zip(c[-2::-1], c[:0:-1], strict=True))
        self.lateral = nn.ModuleList(nn.Conv2d(below, above, 1, bias=False) for above, below in pairs)
        self.up = nn.ModuleList(ResidualBlock(above, above) for above, _ in pairs)
        self.head = nn.Conv2d(c[0], len(MAPS), 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mark the lines of pages.

        Args:
            pixels: float (N, 1, H, W), paper near 0, ink near 1; H and W divisible by `config.multiple`.

        Returns:
            Logits of the maps (N, 4, H / 2, W / 2), in the order of `MAPS`, and of the turn (N, 4), as in `TURNS`.
        """
        x, skips = self.stem(pixels), []
        for blocks in self.down:
            x = blocks(x)
            skips.append(x)
        turn = self.turn(x.mean(dim=(2, 3)))
        for skip, lateral, up in zip(skips[-2::-1], self.lateral, self.up, strict=True):
            x = up(nn.functional.interpolate(lateral(x), scale_factor=2.0, mode="nearest") + skip)
        return self.head(x), turn
