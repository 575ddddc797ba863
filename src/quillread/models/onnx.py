"""Runs a compact model with onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from quillread.decode.ctc import LogProbs
from quillread.errors import ModelError


class OnnxBackend:
    """A compact network in onnxruntime, on the CPU.

    Args:
        path: ONNX file with the input `pixels` and the output `log_probs`.
        threads: Threads of one call; 0 for all cores.

    Attributes:
        height: Pixel rows that it takes.
        classes: Classes that it gives, the blank included.

    Raises:
        ModelError: If the file is missing or damaged.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Every new width would otherwise be planned and kept: memory grows with the pages read.
        options.enable_mem_pattern = False
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            self.height: int = self._session.get_inputs()[0].shape[2]
            self.classes: int = self._session.get_outputs()[0].shape[2]
        except Exception as error:  # onnxruntime raises types of its own that share no public base
            raise ModelError(f"{path}: cannot be loaded as an ONNX model: {error}") from error

    def __call__(self, pixels: NDArray[np.float32]) -> LogProbs:
        """Map float32 (N, 1, h, W) to log probabilities float32 (N, W / column_width, classes)."""
        return np.asarray(self._session.run(["log_probs"], {"pixels": pixels})[0], np.float32)
