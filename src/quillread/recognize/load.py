"""From the name of a model to a recogniser."""

from quillread.errors import ModelError
from quillread.models.catalog import describe
from quillread.models.checkpoint import INFO_NAME, ONNX_NAME
from quillread.models.onnx import OnnxBackend
from quillread.recognize.recognizer import LineRecognizer
from quillread.text.charset import Charset


def load(name: str = "builtin", *, threads: int = 0) -> LineRecognizer:
    """Load a model.

    Args:
        name: "builtin", or a model folder.
        threads: CPU threads; 0 for all cores.

    Raises:
        ModelError: If there is no such model, or it is damaged.
    """
    entry = describe(name)
    backend = OnnxBackend(entry.folder / ONNX_NAME, threads)
    told = (entry.info.ink.height, len(Charset(entry.info.charset)))
    if told != (backend.height, backend.classes):
        raise ModelError(
            f"{entry.folder}: {INFO_NAME} and {ONNX_NAME} do not belong together: lines {told[0]} pixels high and "
            f"{told[1]} classes in the one, {backend.height} and {backend.classes} in the other",
            hint="copy both from the same model",
        )
    return LineRecognizer(backend, entry.info)
