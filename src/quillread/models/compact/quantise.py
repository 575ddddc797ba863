"""Eight-bit weights for a compact model: a quarter of the size, and faster on a CPU.

Convolutions compute with eight-bit numbers whose ranges are taken from real lines, the recurrent layers with ranges
taken anew at each call. Weights use seven of their eight bits: on processors without VNNI instructions two products of
full eight bits do not fit into the sum that they have for them.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quillread.data.source import Source, readable
from quillread.extras import require
from quillread.files import write_atomic
from quillread.images.fit import ink_pixels
from quillread.images.preprocess import preprocess
from quillread.models.compact.onnx_file import CompactConfig, write_onnx
from quillread.models.model_folder import ModelInfo
from quillread.models.onnx_graph import NORM_PARTS, Weights

_STATIC = ["Conv", "Add", "Relu"]
"""The head stays as it is: its logits are confidences, and what a language model adds to."""


def quantise(weights: Weights, config: CompactConfig, pixels: Sequence[NDArray[np.float32]], path: Path) -> None:
    """Write a compact network with eight-bit weights as an ONNX file.

    The parameters of the batch normalisations, which are part of the convolutions there, are kept beside them, so that
    `read_weights` can give the network back for training, as exactly as eight bits tell.

    Args:
        weights: State of `CompactNetwork`, by name.
        config: Its shape.
        pixels: Lines to take the ranges from, float32 (1, 1, height, W) each; some hundred of all kinds.
        path: File to write.

    Raises:
        MissingExtraError: If the package onnx is not installed.
    """
    onnx = require("onnx", "train")
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )

    with tempfile.TemporaryDirectory() as folder:
        plain, static, full = (str(Path(folder) / f"{name}.onnx") for name in ("plain", "static", "full"))
        write_onnx(weights, config, Path(plain), folded=True)
        quantize_static(
            plain,
            static,
            _Reader(pixels),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=_STATIC,
            nodes_to_exclude=[_last_sum(onnx.load(plain))],
            calibrate_method=CalibrationMethod.MinMax,
        )
        quantize_dynamic(
            static,
            full,
            op_types_to_quantize=["LSTM"],
            weight_type=QuantType.QInt8,
            per_channel=False,
            reduce_range=True,
        )
        model = onnx.load(full)
    for name, value in weights.items():
        if name.rpartition(".")[2] in NORM_PARTS and _is_norm(name, weights):
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
    write_atomic(path, model.SerializeToString())


def sample_pixels(sources: Sequence[Source], lines: int, info: ModelInfo) -> list[NDArray[np.float32]]:
    """Take lines evenly from all sources, as a model sees them: what `quantise` takes its ranges from."""
    pixels = []
    for source in sources:
        count = min(len(source), -(-lines // len(sources)))
        for _, sample in readable(source, np.linspace(0, len(source) - 1, count).round().astype(int).tolist()):
            image, _ = preprocess(sample.image, info.preprocess)
            ink = ink_pixels(image, info.ink)
            width = -(-ink.shape[1] // info.column_width) * info.column_width
            pixels.append(np.pad(ink, ((0, 0), (0, width - ink.shape[1])))[None, None])
    return pixels


def _last_sum(model: Any) -> str:
    """Name of the node that adds the bias of the head."""
    return [str(node.name) for node in model.graph.node if node.op_type == "Add"][-1]


def _is_norm(name: str, weights: Weights) -> bool:
    return f"{name.rpartition('.')[0]}.running_var" in weights


class _Reader:
    """Hands onnxruntime the lines one by one."""

    def __init__(self, pixels: Sequence[NDArray[np.float32]]) -> None:
        self._rest: Iterator[NDArray[np.float32]] = iter(pixels)

    def get_next(self) -> dict[str, Any] | None:
        """The next line; None at the end."""
        line = next(self._rest, None)
        return None if line is None else {"pixels": line}
