"""The network that finds lines on pages: what it sees, its shape, its ONNX file, how it is run."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError, ModelError
from quillread.extras import require
from quillread.images.tones import darkest_channel, grey_percentiles
from quillread.models.onnx import open_session, stoppable_calls
from quillread.models.onnx_graph import Graph, Weights
from quillread.types import UInt8Image

LONG_SIDE = 1024
"""Pixels of the longer side of what the network sees; smaller pages are not enlarged."""


@dataclass(frozen=True, slots=True)
class PageView:
    """A reduced page."""

    grey: NDArray[np.uint8]
    """uint8 (h, w): the darkest channel."""
    scale: tuple[float, float]
    """Pixels of the page for one of the view, in x and y."""


def view_page(image: UInt8Image, long_side: int = LONG_SIDE) -> PageView:
    """Reduce a page, uint8 RGB (H, W, 3), not empty."""
    height, width = image.shape[:2]
    factor = min(1.0, long_side / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    reduced = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return PageView(darkest_channel(np.asarray(reduced, np.uint8)), (width / size[0], height / size[1]))


def page_pixels(grey: NDArray[np.uint8], multiple: int) -> NDArray[np.float32]:
    """Make the input of the network: darkness as a share of the paper's brightness, padded with paper.

    Args:
        grey: uint8 (h, w).
        multiple: What the sides are padded to a multiple of, at the right and the bottom.

    Returns:
        float32 (H, W), paper near 0 and ink up to 1.
    """
    paper = max(32.0, *grey_percentiles(grey, (80,)))
    darkness = np.maximum(1 - grey.astype(np.float32) / paper, -0.25)
    bottom, right = (-side % multiple for side in grey.shape)
    return np.pad(darkness, ((0, bottom), (0, right))).astype(np.float32)


MAPS = ("baseline", "body", "end", "print")
"""What it marks: baselines, the bodies of letters above them, upright bars where lines start and end, and the bodies of
printed letters."""

SHIPPED_NETWORK = Path(str(files("quillread.models") / "assets" / "segmenter" / "lines.onnx"))
"""The network of the line finder that ships."""

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


def write_page_onnx(weights: Weights, config: PageNetConfig, path: Path) -> None:
    """Write the network as an ONNX file (float32).

    Input `pixels` float32 (1, 1, H, W); outputs `maps` float32 (1, 4, H / 2, W / 2) and `turn` float32 (1, 4), both
    probabilities.

    Args:
        weights: State of `PageNetwork`, by name.
        config: Its shape.
        path: File to write.
    """
    graph = Graph(weights)
    make_node = graph.onnx.helper.make_node
    x = graph.relu(graph.norm(graph.conv("pixels", "stem.0", (2, 2), (1, 1, 1, 1)), "stem.1"))
    skips = []
    for stage, depth in enumerate(config.blocks):
        for i in range(depth):
            x = graph.residual(x, f"down.{stage}.{i}", (2, 2) if stage and i == 0 else (1, 1))
        skips.append(x)
    mean = graph.node("Flatten", graph.node("GlobalAveragePool", [x]))[0]
    turn = graph.node("Gemm", [mean, graph.weight("turn.weight"), graph.weight("turn.bias")], transB=1)[0]
    graph.nodes.append(make_node("Softmax", [turn], ["turn"], axis=1))
    graph.initializers["twice"] = np.array([1, 1, 2, 2], np.float32)
    for number, skip in enumerate(skips[-2::-1]):
        x = graph.conv(x, f"lateral.{number}", (1, 1), (0, 0, 0, 0))
        x = graph.node(
            "Resize",
            [x, "", "twice"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )[0]
        x = graph.residual(graph.node("Add", [x, skip])[0], f"up.{number}", (1, 1))
    x = graph.node("Conv", [x, graph.weight("head.weight"), graph.weight("head.bias")], kernel_shape=[1, 1])[0]
    graph.nodes.append(make_node("Sigmoid", [x], ["maps"]))
    graph.save(
        "quillread-page",
        {"pixels": [1, 1, "height", "width"]},
        {"maps": [1, len(MAPS), "rows", "columns"], "turn": [1, len(TURNS)]},
        path,
    )


def read_page_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read the weights of a line finder back from its ONNX file, under their names in `PageNetwork`.

    Raises:
        ModelError: If it is missing, damaged or no line finder.
    """
    onnx = require("onnx", "train")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # onnx and protobuf raise types of their own that share no public base
        raise ModelError(f"{path}: cannot be read as ONNX: {error}") from error
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    if "turn.weight" not in weights:
        raise ModelError(f"{path}: is not a line finder", hint="name an .onnx file of quill train-segmenter")
    return {name: value for name, value in weights.items() if "." in name}


class PageBackend:
    """The network in onnxruntime, on the CPU.

    Args:
        path: ONNX file of `write_page_onnx`.
        threads: Threads of one call; 0 for all cores.

    Raises:
        ModelError: If the file is missing or damaged.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        if not path.is_file():
            raise ModelError(f"{path}: no such file", hint="name an .onnx file of quill train-segmenter")
        self._path = path
        self._session = open_session(path, threads, keeps_memory=False)
        if {output.name for output in self._session.get_outputs()} != {"maps", "turn"}:
            raise ModelError(f"{path}: is not a line finder", hint="name an .onnx file of quill train-segmenter")

    def __call__(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Map float32 (H, W), sides divisible by 32, to maps float32 (4, H / 2, W / 2) and turn float32 (4,)."""
        with stoppable_calls(self._path) as call:
            maps, turn = call.pool.submit(call, self._session, ("maps", "turn"), pixels[None, None]).result()
        return np.asarray(maps[0], np.float32), np.asarray(turn[0], np.float32)
