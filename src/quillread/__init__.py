"""Quillread: handwritten text recognition on your own machine.

>>> import quillread
>>> reading = quillread.read("letter.jpg")
>>> print(reading.text)
"""

import importlib
from typing import TYPE_CHECKING, Any

from quillread.version import __version__

if TYPE_CHECKING:
    from quillread.api import measure, read, read_page
    from quillread.recognize.load import load
    from quillread.train.config import TrainConfig
    from quillread.train.finetune import finetune

__all__ = ["TrainConfig", "__version__", "finetune", "load", "measure", "read", "read_page"]

_PUBLIC = {
    "TrainConfig": "quillread.train.config",
    "finetune": "quillread.train.finetune",
    "load": "quillread.recognize.load",
    # Not `evaluate`: that is a package of ours, which would take the function's place once it is imported.
    "measure": "quillread.api",
    "read": "quillread.api",
    "read_page": "quillread.api",
}


def __getattr__(name: str) -> Any:
    # Late, so that `import quillread` stays quick and reading never imports torch.
    if name not in _PUBLIC:
        raise AttributeError(f"module 'quillread' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
