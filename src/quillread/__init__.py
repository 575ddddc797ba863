"""Quillread: handwritten text recognition on your own machine.

>>> import quillread
>>> reading = quillread.read("letter.jpg")
>>> print(reading.text)
>>> reading.write("pdf", "letter.pdf")

`Reader` keeps the models for many readings, and may be shared by threads; `ReadOptions` say what to read with.
"""

import os

# Private and offline: libraries that report on their users are told not to, before any of them is imported.
for _name in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY"):
    os.environ.setdefault(_name, "1")

import importlib  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

from quillread.version import __version__  # noqa: E402

if TYPE_CHECKING:
    from quillread.errors import Fault, QuillreadError
    from quillread.evaluate.report import measure
    from quillread.options import ReadOptions
    from quillread.reader import Reader, read, read_page
    from quillread.recognize.load import load
    from quillread.train.config import TrainConfig
    from quillread.train.finetune import finetune
    from quillread.types import Page, Reading, Transcript

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
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
