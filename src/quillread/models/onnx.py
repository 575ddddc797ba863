"""Runs models with onnxruntime: opening of any, and the compact recogniser."""

import re
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quillread.decode.ctc import LogProbs
from quillread.errors import ModelError
from quillread.worker import at_most_cores, usable_cores

if TYPE_CHECKING:
    import onnxruntime as ort


class OnnxBackend:
    """A compact network in onnxruntime, on the CPU: a `CtcBackend`.

    A line is a call of its own. In a call of several the recurrent layer of an eight-bit file would take the range of
    its numbers from all of them, and what is read in one would depend on the others. As many lines as there are threads
    are read at a time, each by one thread, which is faster than all threads on one line; only lines that come alone
    have all threads, from the second on, since another session takes longer to open than a line to read. Threads may
    share it; their calls run side by side.

    Args:
        path: ONNX file with the input `pixels` and the output `log_probs`.
        threads: CPU threads, at most one a core; 0 for all cores.

    Attributes:
        height: Pixel rows that it takes.
        classes: Classes that it gives, the blank included.

    Raises:
        ModelError: If the file is missing or damaged.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._path = path
        self._threads = at_most_cores(threads) or usable_cores()
        self._asked = threads
        self._is_new = True
        self._opening = threading.Lock()
        self._session = open_session(path, 1)
        try:
            self.height: int = self._session.get_inputs()[0].shape[2]
            self.classes: int = self._session.get_outputs()[0].shape[2]
        except IndexError as error:
            raise ModelError(f"{path}: is not a model that reads lines") from error

    def __call__(self, lines: Sequence[NDArray[np.float32]]) -> Iterator[LogProbs]:
        """Map lines, float32 (h, W) each, to log probabilities, float32 (W / column_width, classes) each, in order."""
        alone = self._threads == 1 or len(lines) < 2
        with stoppable_calls(self._path, 1 if alone else min(self._threads, len(lines))) as call:

            def look(line: NDArray[np.float32]) -> LogProbs:
                session = self._session_for_one() if alone else self._session
                return np.asarray(call(session, ["log_probs"], line[None, None])[0][0], np.float32)

            yield from call.pool.map(look, lines)

    def _session_for_one(self) -> Any:
        """The session for a line that comes alone."""
        with self._opening:
            is_first, self._is_new = self._is_new, False
            return self._session if is_first or self._threads == 1 else self._all_threads

    @cached_property
    def _all_threads(self) -> Any:
        return open_session(self._path, self._asked)


_BROKEN = "its training diverged, or the file is damaged: copy it again, or take an earlier model"


class StoppableCalls:
    """Calls of networks in threads, which can be ended from outside.

    Args:
        path: File of the network, for messages.
        threads: How many at a time.
    """

    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime as ort

        self.pool = ThreadPoolExecutor(threads)
        self._path = path
        self._options = ort.RunOptions()
        self._options.log_severity_level = 4  # what fails is raised

    def __call__(self, session: Any, names: Sequence[str], pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Run a network with the input `pixels`; for threads of the pool.

        Raises:
            ModelError: If it fails, or its output is not finite.
        """
        try:
            found: list[NDArray[np.float32]] = session.run(list(names), {"pixels": pixels}, self._options)
        except Exception as error:  # onnxruntime raises types of its own that share no public base
            raise ModelError(f"{self._path}: cannot be run: {_cause(error)}", hint="copy the file again") from error
        if any(np.isnan(each).any() for each in found):
            raise ModelError(f"{self._path}: its weights are not finite numbers", hint=_BROKEN)
        return found

    def stop(self) -> None:
        """End the calls that run, and drop those that wait."""
        self._options.terminate = True
        self.pool.shutdown(cancel_futures=True)


@contextmanager
def stoppable_calls(path: Path, threads: int = 1) -> Iterator[StoppableCalls]:
    """Call networks so that Ctrl-C ends them: the main thread waits where it can hear it, not inside a network.

    A damaged graph may never come to its end by itself.
    """
    calls = StoppableCalls(path, threads)
    try:
        yield calls
    finally:
        calls.stop()


def open_session(path: Path, threads: int = 0, *, keeps_memory: bool = True) -> Any:
    """Open an ONNX file on the CPU.

    Args:
        path: The file.
        threads: Threads of one call, at most one a core; 0 for all cores.
        keeps_memory: Keep what a call took for the next one; for large inputs that is a lot.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        ModelError: If the file is missing or damaged.
    """
    # Late, as below: a server, which leaves reading to other processes, has to start soon.
    import onnxruntime as ort

    for file in (path, beside(path)):
        _check_access(file)
    options = session_options(threads, keeps_memory=keeps_memory)
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises types of its own that share no public base
        hint = "copy the model again, with all of its files"
        raise ModelError(f"{path}: cannot be loaded as an ONNX model: {_cause(error)}", hint=hint) from error


def beside(graph: Path) -> Path:
    """The file of the weights of a graph that does not hold them itself."""
    return graph.with_name(f"{graph.name}.data")


def _check_access(path: Path) -> None:
    """Refuse a file that is there and cannot be opened, for which onnxruntime has a number alone."""
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        pass  # told when it is loaded
    except OSError as error:
        message = f"{path}: cannot be opened: {error.strerror}"
        raise ModelError(message, hint="check the permissions of the model's files") from error


_CODE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_PLACE = re.compile(r"\S+\.(?:cc|h):\d+ (?:[\w:<>&*~ ,]*\([^()]*\)\s+(?:const )?|\w+\s+)")
"""Where in its source onnxruntime met an error: file, line and function."""


def _cause(error: Exception) -> str:
    """The innermost of an error of onnxruntime, without its numbers and the places in its source."""
    text = _PLACE.sub("", _CODE.split(str(error))[-1])
    return re.sub("^Load model from .* failed:", "", text).partition("\n")[0].strip()


def session_options(threads: int = 0, *, keeps_memory: bool = True) -> "ort.SessionOptions":
    """The options of a session, as `benchmarks/onnx_settings.py` measures them."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = at_most_cores(threads)
    options.inter_op_num_threads = 1
    # Every new size would otherwise be planned and kept: memory grows with the pages read.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = keeps_memory
    options.log_severity_level = 4  # what fails is raised
    return options
