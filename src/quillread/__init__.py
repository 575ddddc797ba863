"""Quillread: handwritten text recognition on your own machine.

>>> import quillread
>>> reading = quillread.read("letter.jpg")
>>> print(reading.text)
>>> reading.write("pdf", "letter.pdf")

`Reader` keeps the models for many readings, and may be shared by threads; `ReadOptions` say what to read with.
"""

import importlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from quillread.version import __version__

if TYPE_CHECKING:
    from quillread.errors import Fault, QuillreadError
    from quillread.evaluate.report import measure
    from quillread.options import ReadOptions
    from quillread.reader import Reader, read, read_page
    from quillread.recognize.load import load
    from quillread.train.config import TrainConfig
    from quillread.train.finetune import finetune
    from quillread.types import Page, Reading, Transcript

# What is read here is nobody else's business. These packages report their use unless told not to, and look at the
# variables when they are imported. Set, not defaulted: an empty value would leave the reports on.
os.environ.update(
    {
        "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime: a device id and a queue of events for its maker
        "HF_HUB_DISABLE_TELEMETRY": "1",  # huggingface_hub and transformers: who calls, and with which versions
        "DO_NOT_TRACK": "1",  # the same, and whoever else heeds it
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets: which data set was loaded
        "DISABLE_SAFETENSORS_CONVERSION": "1",  # transformers: asks a service to convert the model
        "RAY_USAGE_STATS_ENABLED": "0",  # ray: the shape of the cluster
    }
)

_PUBLIC = {
    "Fault": "quillread.errors",
    "Page": "quillread.types",
    "QuillreadError": "quillread.errors",
    "ReadOptions": "quillread.options",
    "Reader": "quillread.reader",
    "Reading": "quillread.types",
    "TrainConfig": "quillread.train.config",
    "Transcript": "quillread.types",
    "finetune": "quillread.train.finetune",
    "load": "quillread.recognize.load",
    # Not `evaluate`: that is a package of ours, which would take the function's place once it is imported.
    "measure": "quillread.evaluate.report",
    "read": "quillread.reader",
    "read_page": "quillread.reader",
}

_EXTRAS = {"finetune": "train"}
"""What names need that not everybody installs."""

__all__ = [
    "Fault",
    "Page",
    "QuillreadError",
    "ReadOptions",
    "Reader",
    "Reading",
    "TrainConfig",
    "Transcript",
    "__version__",
    "finetune",
    "load",
    "measure",
    "read",
    "read_page",
]


def __getattr__(name: str) -> Any:
    # Late, so that `import quillread` stays quick and reading never imports torch.
    if name not in _PUBLIC:
        raise AttributeError(f"module 'quillread' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    except ModuleNotFoundError as error:
        if name not in _EXTRAS:
            raise
        return _refusal(name, error)


def _refusal(name: str, error: ModuleNotFoundError) -> Callable[..., NoReturn]:
    """Stand in for a function whose packages are not installed: who calls it is told, who only lists names is not."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        from quillread.errors import MissingExtraError
        from quillread.extras import installing

        raise MissingExtraError(
            f"quillread.{name} needs the Python package {error.name!r}, which is not installed",
            hint=installing(_EXTRAS[name]),
        ) from error

    return refuse


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
