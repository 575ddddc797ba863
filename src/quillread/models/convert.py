"""Weights stored as pickles made into safetensors, without running any code that a pickle may carry."""

import json
import shutil
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from quillread.errors import ModelError
from quillread.models.trocr_files import WEIGHTS_INDEX_NAME, find_pickles, replace_folder

_LEFT_OUT = shutil.ignore_patterns(
    "*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.pkl", "*.ckpt", "*.h5", "*.msgpack", "*.ot", ".*"
)
"""Weights in other forms, and what trainings leave behind as pickles."""


def convert(source: Path, target: Path) -> None:
    """Copy a model folder, its pickled weights as safetensors; the names of the tensors stay.

    Args:
        source: Folder with `pytorch_model.bin`, or its parts.
        target: Folder that is not there yet, or empty.

    Raises:
        ModelError: If there are no pickled weights, they hold anything but tensors, or `target` is in use.
        OutputError: If it cannot be written.
    """
    pickles = find_pickles(source)
    if not pickles:
        raise ModelError(f"{source}: has no pickled weights, pytorch_model.bin", hint="there is nothing to convert")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ModelError(f"{target}: is there already", hint="name a folder that is not")
    with replace_folder(target) as part:
        shutil.copytree(source, part, ignore=_LEFT_OUT, dirs_exist_ok=True)
        places: dict[str, str] = {}
        for path in pickles:
            tensors = _read(path)
            name = path.with_suffix(".safetensors").name.replace("pytorch_model", "model")
            save_file(tensors, part / name, {"format": "pt"})
            places |= dict.fromkeys(tensors, name)
        if len(pickles) > 1:
            index = {"metadata": {}, "weight_map": places}
            (part / WEIGHTS_INDEX_NAME).write_text(json.dumps(index, indent=2), encoding="utf-8")


def _read(path: Path) -> dict[str, Tensor]:
    """Read tensors by name; each with memory of its own, as safetensors asks for."""
    try:
        with warnings.catch_warnings():  # of forms of pickle that it may not know: it says so when it does not
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead the unpickler to any type of error; the cause is kept
        raise ModelError(f"{path}: cannot be read as plain weights: {error}") from error
    if not isinstance(content, dict) or not content:
        raise ModelError(f"{path}: holds a {type(content).__name__}, not tensors by name")
    others = [str(name) for name, value in content.items() if not (isinstance(name, str) and isinstance(value, Tensor))]
    if others:
        raise ModelError(f"{path}: holds more than tensors: {', '.join(others[:8])}")
    seen: set[int] = set()
    tensors = {}
    for name, value in content.items():
        shared = value.untyped_storage().data_ptr() in seen
        seen.add(value.untyped_storage().data_ptr())
        tensors[name] = value.clone() if shared else value.contiguous()
    return tensors
