"""ONNX graphs, written node by node: small graphs whose tensors keep the names that they have in the network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quillread.extras import require
from quillread.files import AtomicFile, naming, write_atomic

_OPSET = 17
_STEP = 64
"""Bytes of which a tensor in another file begins at a multiple; smaller ones, numbers and shapes, stay in the graph."""
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
NORM_EPSILON = 1e-5
Weights = Mapping[str, NDArray[np.float32]]


class Graph:
    """Collects nodes; each method adds one layer and returns the name of its output.

    Args:
        weights: Tensors of the network by name.
        folded: Make each batch normalisation a part of the convolution before it.
    """

    def __init__(self, weights: Weights, *, folded: bool = False) -> None:
        self._folded = folded
        self.onnx = require("onnx", "train")
        self._weights = weights
        self.nodes: list[Any] = []
        self.initializers: dict[str, NDArray[Any]] = {}

    def node(self, kind: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node of any kind; the names of its outputs."""
        names = [f"{kind}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, names, names[0], **attributes))
        return names

    def weight(self, name: str) -> str:
        """Take a tensor of the network over, under its own name."""
        self.initializers[name] = self._weights[name]
        return name

    def constant(self, name: str, values: list[int]) -> str:
        """Add a list of integers."""
        self.initializers[name] = np.array(values, np.int64)
        return name

    def conv(self, x: str, name: str, strides: tuple[int, ...], pads: tuple[int, ...]) -> str:
        """Convolve without bias."""
        kernel = list(self._weights[f"{name}.weight"].shape[2:])
        return self.node(
            "Conv",
            [x, self.weight(f"{name}.weight")],
            kernel_shape=kernel,
            strides=list(strides),
            pads=list(pads),
        )[0]

    def norm(self, x: str, name: str) -> str:
        """Normalise the output of a convolution by the running statistics."""
        if not self._folded:
            parts = [self.weight(f"{name}.{part}") for part in NORM_PARTS]
            return self.node("BatchNormalization", [x, *parts], epsilon=NORM_EPSILON)[0]
        scale, shift = fold_norm(self._weights, name)
        (conv,) = (node for node in self.nodes if x in node.output)
        kernel = self.initializers[conv.input[1]]
        self.initializers[conv.input[1]] = kernel * scale.reshape(-1, *[1] * (kernel.ndim - 1))
        self.initializers[f"{name}.shift"] = shift
        conv.input.append(f"{name}.shift")
        return x

    def relu(self, x: str) -> str:
        """Set negative values to 0."""
        return self.node("Relu", [x])[0]

    def residual(self, x: str, name: str, stride: tuple[int, int]) -> str:
        """Two convolutions beside a shortcut."""
        y = self.conv(x, f"{name}.conv1", stride, (1, 1, 1, 1))
        y = self.conv(self.relu(self.norm(y, f"{name}.norm1")), f"{name}.conv2", (1, 1), (1, 1, 1, 1))
        if f"{name}.skip.0.weight" in self._weights:
            x = self.norm(self.conv(x, f"{name}.skip.0", stride, (0, 0, 0, 0)), f"{name}.skip.1")
        return self.relu(self.node("Add", [self.norm(y, f"{name}.norm2"), x])[0])

    def save(
        self,
        name: str,
        inputs: dict[str, list[Any]],
        outputs: dict[str, list[Any]],
        path: Path,
        kinds: Mapping[str, str] | None = None,
        *,
        beside: Path | None = None,
    ) -> None:
        """Check the graph and write it.

        Args:
            name: Of the graph.
            inputs: Their shapes, with a name for each free dimension.
            outputs: Theirs.
            path: File to write.
            kinds: Number types of those that are not float32, as ONNX names them.
            beside: File in the same folder for the weights. The system maps it into memory, and only what is looked at
                takes room; in one file all is read, and copied.
        """
        onnx = self.onnx

        def tensor(key: str, shape: list[Any]) -> Any:
            kind = getattr(onnx.TensorProto, (kinds or {}).get(key, "FLOAT"))
            return onnx.helper.make_tensor_value_info(key, kind, shape)

        model = onnx.helper.make_model(
            onnx.helper.make_graph(
                self.nodes,
                name,
                [tensor(key, shape) for key, shape in inputs.items()],
                [tensor(key, shape) for key, shape in outputs.items()],
                self._tensors() if beside is None else self._tensors_beside(beside),
            ),
            opset_imports=[onnx.helper.make_opsetid(domain, version) for domain, version in self._domains()],
            ir_version=8,  # the first that knows opset 17; a later one would shut out older runtimes
            producer_name="quillread",
        )
        if beside is None:
            onnx.checker.check_model(model, full_check=True)
        write_atomic(path, model.SerializeToString())
        if beside is not None:
            onnx.checker.check_model(str(path), full_check=True)  # which looks for the other file beside this one

    def _tensors(self) -> list[Any]:
        return [self.onnx.numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in self.initializers.items()]

    def _tensors_beside(self, path: Path) -> list[Any]:
        """Write the weights to a file; tensors that say where each is."""
        onnx, tensors = self.onnx, []
        part = AtomicFile(path)
        try:
            with naming(path):
                for name, values in self.initializers.items():
                    if values.nbytes < _STEP:
                        tensors.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
                        continue
                    start = part.file.seek(-(-part.file.tell() // _STEP) * _STEP)
                    part.file.write(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)
                    tensor = onnx.TensorProto(name=name, dims=values.shape)
                    tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
                    tensor.data_location = onnx.TensorProto.EXTERNAL
                    for key, value in (("location", path.name), ("offset", start), ("length", values.nbytes)):
                        tensor.external_data.add(key=key, value=str(value))
                    tensors.append(tensor)
            part.commit()
        finally:
            part.discard()
        return tensors

    def _domains(self) -> list[tuple[str, int]]:
        """Sets of operators that are used, with their versions."""
        others = sorted({node.domain for node in self.nodes} - {""})
        return [("", _OPSET), *((domain, 1) for domain in others)]


def fold_norm(weights: Weights, name: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Factor and addend that a batch normalisation comes to, float32 (channels,) each."""
    gain, bias, mean, variance = (weights[f"{name}.{part}"].astype(np.float64) for part in NORM_PARTS)
    scale = gain / np.sqrt(variance + NORM_EPSILON)
    return scale.astype(np.float32), (bias - mean * scale).astype(np.float32)
