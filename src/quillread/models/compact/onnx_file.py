"""The ONNX file of a compact network, written node by node and read again, and the shape of the network.

Written by hand instead of traced: the graph is small, its tensors keep the names they have in the network, and a run
can start from the file. Batch normalisations stay apart for the same reason, unless the file is to be quantised, which
needs them as part of the convolutions (`quantise.py`); onnxruntime folds them when it loads a file.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quillread.errors import ConfigError, ModelError
from quillread.extras import require
from quillread.models.onnx_graph import NORM_PARTS, Graph, Weights, fold_norm

COLUMN_WIDTH = 4
"""Pixels of the line image that one output column stands for."""


_WIDEST, _DEEPEST = 16_384, 256
"""Bounds beyond which no machine holds a network."""


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
        if max(*self.channels, self.sequence_width) > _WIDEST or max(*self.blocks, self.sequence_blocks) > _DEEPEST:
            raise ConfigError(f"network: no width may be above {_WIDEST}, no number of blocks above {_DEEPEST}")
        if not 0 <= self.recurrent_layers <= 16 or self.sequence_blocks < 0 or not 0 <= self.dropout < 1:
            raise ConfigError(
                "network: sequence_blocks from 0 up, recurrent_layers from 0 to 16, dropout from 0 to below 1"
            )
        if self.sequence_kernel < 1 or self.sequence_kernel % 2 == 0:
            raise ConfigError(f"network.sequence_kernel must be odd, got {self.sequence_kernel}")


class _CompactGraph(Graph):
    """Adds the layers that only the compact network has."""

    def gated(self, x: str, name: str, kernel: int) -> str:
        y = self.norm(self.conv(x, f"{name}.conv", (1,), (kernel // 2, kernel // 2)), f"{name}.norm")
        value, gate = self.node("Split", [y], 2, axis=1)
        return self.node("Add", [x, self.node("Mul", [value, self.node("Sigmoid", [gate])[0]])[0]])[0]

    def lstm(self, x: str, layer: int, width: int) -> str:
        """One bidirectional layer on (T, N, C); gives (T, N, 2 * width)."""
        names = []
        for suffix, kind in (("W", "weight_ih"), ("R", "weight_hh")):
            both = [_to_onnx_gates(self._weights[f"recurrent.{kind}_l{layer}{d}"]) for d in ("", "_reverse")]
            names.append(f"recurrent.{layer}.{suffix}")
            self.initializers[names[-1]] = np.stack(both)
        bias = [
            np.concatenate(
                [_to_onnx_gates(self._weights[f"recurrent.{k}_l{layer}{d}"]) for k in ("bias_ih", "bias_hh")]
            )
            for d in ("", "_reverse")
        ]
        names.append(f"recurrent.{layer}.B")
        self.initializers[names[-1]] = np.stack(bias)
        y = self.node("LSTM", [x, *names], hidden_size=width, direction="bidirectional")[0]  # (T, 2, N, width)
        y = self.node("Transpose", [y], perm=[0, 2, 1, 3])[0]
        return self.node("Reshape", [y, self.constant("merge_directions", [0, 0, -1])])[0]


def write_onnx(weights: Weights, config: CompactConfig, path: Path, *, folded: bool = False) -> None:
    """Write the network as an ONNX file (float32).

    Input `pixels` float32 (N, 1, height, W); output `log_probs` float32 (N, W / 4, classes). The shortcut head, which
    only training uses, is skipped.

    Args:
        weights: State of `CompactNetwork`, by name.
        config: Its shape.
        path: File to write.
        folded: Make batch normalisations part of the convolutions before them; `read_weights` does not know such files.
    """
    graph = _CompactGraph(weights, folded=folded)
    x = graph.relu(graph.norm(graph.conv("pixels", "stem.0", (2, 2), (1, 1, 1, 1)), "stem.1"))
    number = 0
    for depth, stride in zip(config.blocks, ((1, 1), (2, 2), (2, 1), (2, 1)), strict=True):
        for i in range(depth):
            x = graph.residual(x, f"stages.{number}", stride if i == 0 else (1, 1))
            number += 1
    # Opset 17 takes the axes of a maximum and a mean as attributes.
    pooled = [graph.node(kind, [x], axes=[2], keepdims=0)[0] for kind in ("ReduceMax", "ReduceMean")]
    x = graph.node("Concat", pooled, axis=1)[0]
    x = graph.relu(graph.norm(graph.conv(x, "project.0", (1,), (0, 0)), "project.1"))
    for i in range(config.sequence_blocks):
        x = graph.gated(x, f"sequence.{i}", config.sequence_kernel)
    x = graph.node("Transpose", [x], perm=[2, 0, 1])[0]
    for layer in range(config.recurrent_layers):
        x = graph.lstm(x, layer, config.sequence_width)
    graph.initializers["head.weight"] = np.ascontiguousarray(weights["head.weight"].T)
    x = graph.node("MatMul", [x, "head.weight"])[0]
    x = graph.node("Add", [x, graph.weight("head.bias")])[0]
    x = graph.node("Transpose", [x], perm=[1, 0, 2])[0]
    graph.nodes.append(graph.onnx.helper.make_node("LogSoftmax", [x], ["log_probs"], axis=-1))
    classes = len(weights["head.bias"])
    graph.save(
        "quillread-compact",
        {"pixels": ["lines", 1, config.height, "width"]},
        {"log_probs": ["lines", "columns", classes]},
        path,
    )


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read the weights of a file of `write_onnx` or `quantise`, by their names in `CompactNetwork`.

    The shortcut head is not there. Of eight-bit weights each is within half a step of what it was.

    Raises:
        ModelError: If the file is not an ONNX file of ours.
    """
    onnx = require("onnx", "train")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's own errors share no base class
        raise ModelError(f"{path}: cannot be read as ONNX: {error}") from error
    found = {t.name: np.asarray(onnx.numpy_helper.to_array(t)) for t in model.graph.initializer}
    found |= _dequantised(found)
    if "head.weight" not in found:
        raise ModelError(f"{path}: is not a compact model of quillread")
    weights: dict[str, NDArray[np.float32]] = {}
    for name, value in found.items():
        if name == "head.weight":
            weights[name] = np.ascontiguousarray(value.T)
        elif name.startswith("recurrent."):
            weights |= _torch_lstm(name, value)
        elif name.endswith(_KEPT):
            weights[name] = value
    return weights


_KEPT = tuple(f".{part}" for part in NORM_PARTS)
"""How the names of the other tensors of the network end."""


def _torch_lstm(name: str, value: NDArray[np.float32]) -> Weights:
    """Weights of both directions of a layer, in torch's order, if `name` is a tensor of weights."""
    _, layer, kind = name.split(".")
    weights: dict[str, NDArray[np.float32]] = {}
    for d, part in zip(("", "_reverse"), value, strict=True):
        if kind == "B":
            ih, hh = np.split(part, 2)
            weights[f"recurrent.bias_ih_l{layer}{d}"] = _to_torch_gates(ih)
            weights[f"recurrent.bias_hh_l{layer}{d}"] = _to_torch_gates(hh)
        elif kind in ("W", "R"):
            torch_kind = {"W": "weight_ih", "R": "weight_hh"}[kind]
            weights[f"recurrent.{torch_kind}_l{layer}{d}"] = _to_torch_gates(part)
    return weights


def _dequantised(found: Weights) -> Weights:
    """The weights of a file of `quantise.quantise`, as those of `write_onnx`; nothing for other files."""
    weights: dict[str, NDArray[np.float32]] = {}
    for key, value in found.items():
        name = key.removesuffix("_quantized")
        if name == key or not name.endswith((".weight", ".W", ".R")):
            continue
        scale = found[f"{name}_scale"].reshape(-1, *[1] * (value.ndim - 1))
        weights[name] = value.astype(np.float32) * scale
        if name.startswith("recurrent."):  # the quantised operator takes them the other way round
            weights[name] = weights[name].transpose(0, 2, 1)
        else:
            factor, _ = fold_norm(found, _norm_of(name))
            # A channel that its norm has switched off has no kernel any more.
            factor = np.where(np.abs(factor) > 1e-8, factor, np.inf).astype(np.float32)
            weights[name] /= factor.reshape(-1, *[1] * (value.ndim - 1))
    return weights


def _norm_of(kernel: str) -> str:
    """Name of the batch normalisation behind a convolution."""
    stem = kernel.removesuffix(".weight")
    return f"{stem[:-1]}1" if stem.endswith(".0") else stem.replace("conv", "norm")


def _to_onnx_gates(w: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reorder LSTM gates from torch's (input, forget, cell, output) to ONNX's (input, output, forget, cell)."""
    i, f, c, o = np.split(w, 4)
    return np.concatenate([i, o, f, c])


def _to_torch_gates(w: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of `_to_onnx_gates`."""
    i, o, f, c = np.split(w, 4)
    return np.concatenate([i, f, c, o])
