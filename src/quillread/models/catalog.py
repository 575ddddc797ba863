"""Models by name: those that ship with the package, and folders."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from quillread.config import suggest
from quillread.errors import ModelError
from quillread.models.checkpoint import INFO_NAME, ONNX_NAME, ModelInfo, read_info

SHIPPED = {"builtin": "the default: English and French handwriting, runs offline on a CPU"}
"""Name -> what it is for, of the models in `models/assets`."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be loaded."""

    name: str
    folder: Path
    info: ModelInfo
    size: int
    """Bytes of the weights."""


def resolve(name: str) -> Path:
    """Find the folder of a model.

    Args:
        name: A shipped model's name, or a folder.

    Raises:
        ModelError: If there is no such model.
    """
    if name in SHIPPED:
        return Path(str(files("quillread.models") / "assets" / name))
    folder = Path(name)
    if (folder / INFO_NAME).is_file():
        return folder
    if folder.is_dir():
        inside = folder / "model"
        hint = f"name the folder in it: {inside}" if (inside / INFO_NAME).is_file() else "see: quill models list"
        raise ModelError(f"{name}: is no model folder: it has no {INFO_NAME}", hint=hint)
    raise ModelError(f"unknown model {name!r}{suggest(name, list(SHIPPED))}", hint="see: quill models list")


def describe(name: str) -> ModelEntry:
    """Read what is known of a model, without loading it.

    Raises:
        ModelError: If there is no such model, or it is damaged.
    """
    folder = resolve(name)
    info = read_info(folder)
    weights = folder / ONNX_NAME
    if not weights.is_file():
        raise ModelError(f"{folder}: lacks its weights, {ONNX_NAME}", hint="the folder was not copied whole")
    return ModelEntry(name, folder, info, weights.stat().st_size)
