"""From the name of a model to a recogniser."""

from quillread.models.catalog import describe
from quillread.models.checkpoint import ONNX_NAME
from quillread.models.onnx import OnnxBackend
from quillread.recognize.recognizer import LineRecognizer


def load(name: str = "builtin", *, threads: int = 0) -> LineRecognizer:
    """Load a model.

    Args:
        name: "builtin", or a model folder.
        threads: CPU threads; 0 for all cores.

    Raises:
        ModelError: If there is no such model, or it is damaged.
    """
    entry = describe(name)
    return LineRecognizer(OnnxBackend(entry.folder / ONNX_NAME, threads), entry.info)
