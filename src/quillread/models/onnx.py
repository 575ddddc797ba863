"""Runs models with onnxruntime: opening of any, and the compact recogniser."""

from pathlib import Path
from typing import Any

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
        self._session = open_session(path, threads)
        try:
            self.height: int = self._session.get_inputs()[0].shape[2]
            self.classes: int = self._session.get_outputs()[0].shape[2]
        except IndexError as error:
            raise ModelError(f"{path}: is no model that reads lines") from error

    def __call__(self, pixels: NDArray[np.float32]) -> LogProbs:
        """Map float32 (N, 1, h, W) to log probabilities float32 (N, W / column_width, classes)."""
        return np.asarray(self._session.run(["log_probs"], {"pixels": pixels})[0], np.float32)


def open_session(path: Path, threads: int = 0, *, keeps_memory: bool = True) -> Any:
    """Open an ONNX file on the CPU.

    Args:
        path: The file.
        threads: Threads of one call; 0 for all cores.
        keeps_memory: Keep what a call took for the next one; for large inputs that is a lot.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        ModelError: If the file is missing or damaged.
    """
    options = session_options(threads, keeps_memory=keeps_memory)
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own that share no public base
        raise ModelError(f"{path}: cannot be loaded as an ONNX model: {error}") from error


def session_options(threads: int = 0, *, keeps_memory: bool = True) -> ort.SessionOptions:
    """The options of a session, as `benchmarks/onnx_settings.py` measures them."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Every new size would otherwise be planned and kept: memory grows with the pages read.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = keeps_memory
    options.log_severity_level = 3
    return options
