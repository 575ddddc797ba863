"""The compact network as an ONNX file, written node by node, and its weights read back.

Written by hand instead of traced: the graph is small, its tensors keep the names they have in the network, and a run
can start from the shipped file. Batch normalisations stay apart for the same reason; onnxruntime folds them into the
convolutions when it loads the file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quillread.errors import ModelError
from quillread.extras import require
from quillread.files import write_atomic
from quillread.models.compact_config import CompactConfig

_OPSET = 17
Weights = Mapping[str, NDArray[np.float32]]


class _Graph:
    """Collects nodes; each method adds one layer and returns the name of its output."""

    def __init__(self, weights: Weights) -> None:
        self._onnx = require("onnx", "train")
        self._weights = weights
        self.nodes: list[Any] = []
        self.initializers: dict[str, NDArray[Any]] = {}

    def node(self, kind: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> list[str]:
        names = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(self._onnx.helper.make_node(kind, inputs, names, **attributes))
        return names

    def weight(self, name: str) -> str:
        self.initializers[name] = self._weights[name]
        return name

    def constant(self, name: str, values: list[int]) -> str:
        self.initializers[name] = np.array(values, np.int64)
        return name

    def conv(self, x: str, name: str, strides: tuple[int, ...], pads: tuple[int, ...]) -> str:
        kernel = list(self._weights[f"{name}.weight"].shape[2:])
        return self.node(
            "Conv",
            [x, self.weight(f"{name}.weight")],
            kernel_shape=kernel,
            strides=list(strides),
            pads=list(pads),
        )[0]

    def norm(self, x: str, name: str) -> str:
        parts = ("weight", "bias", "running_mean", "running_var")
        return self.node("BatchNormalization", [x, *(self.weight(f"{name}.{p}") for p in parts)], epsilon=1e-5)[0]

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])[0]

    def residual(self, x: str, name: str, stride: tuple[int, int]) -> str:
        y = self.conv(x, f"{name}.conv1", stride, (1, 1, 1, 1))
        y = self.conv(self.relu(self.norm(y, f"{name}.norm1")), f"{name}.conv2", (1, 1), (1, 1, 1, 1))
        if f"{name}.skip.0.weight" in self._weights:
            x = self.norm(self.conv(x, f"{name}.skip.0", stride, (0, 0, 0, 0)), f"{name}.skip.1")
        return self.relu(self.node("Add", [self.norm(y, f"{name}.norm2"), x])[0])

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


def write_onnx(weights: Weights, config: CompactConfig, path: Path) -> None:
    """Write the network as an ONNX file (float32).

    Input `pixels` float32 (N, 1, height, W); output `log_probs` float32 (N, W / 4, classes). The shortcut head, which
    only training uses, is left out.

    Args:
        weights: State of `CompactNetwork`, by name.
        config: Its shape.
        path: File to write.
    """
    graph = _Graph(weights)
    onnx = graph._onnx
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
    graph.nodes.append(onnx.helper.make_node("LogSoftmax", [x], ["log_probs"], axis=-1))
    _save(graph, config, len(weights["head.bias"]), path)


def _save(graph: _Graph, config: CompactConfig, classes: int, path: Path) -> None:
    onnx = graph._onnx
    tensor, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "quillread-compact",
            [tensor("pixels", kind, ["lines", 1, config.height, "width"])],
            [tensor("log_probs", kind, ["lines", "columns", classes])],
            [onnx.numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in graph.initializers.items()],
        ),
        opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        ir_version=8,  # the first that knows opset 17; a later one would shut out older runtimes
        producer_name="quillread",
    )
    onnx.checker.check_model(model, full_check=True)
    write_atomic(path, model.SerializeToString())


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read the weights of a file of `write_onnx`, by their names in `CompactNetwork`; the shortcut head is not there.

    Raises:
        ModelError: If the file is no ONNX file of ours.
    """
    onnx = require("onnx", "train")
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's own errors share no base class
        raise ModelError(f"{path}: cannot be read as ONNX: {error}") from error
    found = {t.name: np.asarray(onnx.numpy_helper.to_array(t)) for t in model.graph.initializer}
    if "head.weight" not in found:
        raise ModelError(f"{path}: is not a compact model of quillread")
    weights: dict[str, NDArray[np.float32]] = {}
    for name, value in found.items():
        if name == "head.weight":
            weights[name] = np.ascontiguousarray(value.T)
        elif name.startswith("recurrent."):
            _, layer, kind = name.split(".")
            for d, part in zip(("", "_reverse"), value, strict=True):
                if kind == "B":
                    ih, hh = np.split(part, 2)
                    weights[f"recurrent.bias_ih_l{layer}{d}"] = _to_torch_gates(ih)
                    weights[f"recurrent.bias_hh_l{layer}{d}"] = _to_torch_gates(hh)
                else:
                    torch_kind = {"W": "weight_ih", "R": "weight_hh"}[kind]
                    weights[f"recurrent.{torch_kind}_l{layer}{d}"] = _to_torch_gates(part)
        elif value.dtype == np.float32:
            weights[name] = value
    return weights


def _to_onnx_gates(w: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reorder LSTM gates from torch's (input, forget, cell, output) to ONNX's (input, output, forget, cell)."""
    i, f, c, o = np.split(w, 4)
    return np.concatenate([i, o, f, c])


def _to_torch_gates(w: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of `_to_onnx_gates`."""
    i, o, f, c = np.split(w, 4)
    return np.concatenate([i, f, c, o])
