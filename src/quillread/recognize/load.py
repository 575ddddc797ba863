"""From the name of a model to a recogniser."""

import logging
from dataclasses import replace

from quillread.errors import ModelError, UsageError
from quillread.extras import require
from quillread.models.catalog import ModelEntry, describe
from quillread.models.checkpoint import INFO_NAME, ONNX_NAME
from quillread.models.onnx import OnnxBackend
from quillread.models.trocr_config import GenerateConfig
from quillread.recognize.ctc import CtcEngine
from quillread.recognize.recognizer import LineEngine, LineRecognizer
from quillread.text.charset import Charset

log = logging.getLogger(__name__)

_CPU_BATCH, _GPU_BATCH = 8, 64
"""Lines that TrOCR reads at once: on a CPU more gain nothing, on a GPU they fill it."""


def load(name: str = "builtin", *, threads: int = 0, generate: GenerateConfig | None = None) -> LineRecognizer:
    """Load a model.

    Args:
        name: "builtin", a model folder, or a model of the hub.
        threads: CPU threads; 0 for all cores.
        generate: How TrOCR generates text, in place of what is stored with the model.

    Raises:
        ModelError: If there is no such model, or it is damaged.
        MissingExtraError: If it is a TrOCR model and torch or transformers is not installed.
        UsageError: If `generate` is given for a compact model.
    """
    entry = describe(name)
    if entry.info.family == "compact":
        if generate is not None:
            raise UsageError(
                f"{name}: is a compact model: it generates no text token by token, so it has no such settings"
            )
        return LineRecognizer(_load_compact(entry, threads), entry.info)
    if generate is not None:
        entry = replace(entry, info=replace(entry.info, generate=generate))
    return LineRecognizer(_load_trocr(entry, threads), entry.info)


def _load_compact(entry: ModelEntry, threads: int) -> LineEngine:
    backend = OnnxBackend(entry.folder / ONNX_NAME, threads)
    told = (entry.info.ink.height, len(Charset(entry.info.charset)))
    if told != (backend.height, backend.classes):
        raise ModelError(
            f"{entry.folder}: {INFO_NAME} and {ONNX_NAME} do not belong together: lines {told[0]} pixels high and "
            f"{told[1]} classes in the one, {backend.height} and {backend.classes} in the other",
            hint="copy both from the same model",
        )
    return CtcEngine(backend, entry.info)


def _load_trocr(entry: ModelEntry, threads: int) -> LineEngine:
    torch = require("torch", "train")
    require("transformers", "train")
    from quillread.models.trocr import load_trocr
    from quillread.models.trocr_canvas import set_canvas
    from quillread.recognize.trocr import TrocrEngine, ends_early

    model = load_trocr(entry.folder)
    if entry.info.canvas is not None:
        set_canvas(model, entry.info.canvas.height, entry.info.canvas.width)
    limit = ends_early(model.network, entry.info.generate)
    if limit is not None:
        hint = "longer ones are cut, unless --max-tokens says otherwise"
        log.warning("%s: its generation settings end a line after %d tokens: %s", entry.name, limit, hint)
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        model.network.to("cuda")
    return TrocrEngine(model, entry.info, _GPU_BATCH if on_gpu else _CPU_BATCH, threads=threads)
