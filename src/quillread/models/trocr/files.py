"""The files of a TrOCR folder: which there are, and what shapes they hold; knows no torch."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

from quillread.errors import ModelError, OutputError
from quillread.files import unfinished_folder

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
WEIGHTS_INDEX_NAME = "model.safetensors.index.json"
ADAPTERS_NAME = "adapter_model.safetensors"
ADAPTERS_CONFIG_NAME = "adapter_config.json"
"""What PEFT writes of low-rank adapters: no model, but what is added to one."""
BASE_NAME = "base.json"
"""Beside adapters: which model they belong to."""
PICKLES = ("pytorch_model.bin", "pytorch_model-*-of-*.bin")
"""Patterns of weights as pickles, which can run code when they are read."""
DAMAGED = "copy the file again, or take that of the model that this one is from"
_MODEL_TYPE = "vision-encoder-decoder"
_TOLD_BY = {
    ADAPTERS_CONFIG_NAME: (ADAPTERS_NAME, BASE_NAME),
    "trocr.json": ("encoder.onnx", "decoder.onnx"),
}
"""What says of which kind a folder is, and files that only such a folder has."""
_LONGEST_HEADER = 100_000_000
_OWN = (
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "pytorch_model*",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.onnx",
    "*.onnx.data",
    "trocr.json",
)
"""Patterns of the files that a saved model replaces; others in its folder are not its own."""


def is_trocr(folder: Path) -> bool:
    """Whether a folder says that it holds a vision encoder with a text decoder."""
    try:
        return read_config(folder).get("model_type") == _MODEL_TYPE
    except ModelError:
        return False


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds adapters, which are read beside the model that they were trained with."""
    return (folder / ADAPTERS_CONFIG_NAME).is_file()


def refuse_adapter(folder: Path) -> None:
    """Refuse adapters where a whole model is needed.

    Raises:
        ModelError: If the folder holds them.
    """
    if is_adapter(folder):
        raise ModelError(
            f"{folder}: holds an adapter, not a whole model", hint="name the model folder that the training wrote"
        )


def read_config(folder: Path) -> dict[str, Any]:
    """Read `config.json`.

    Raises:
        ModelError: If it is missing or damaged.
    """
    return read_json(folder / CONFIG_NAME)


def find_weights(folder: Path) -> tuple[Path, ...]:
    """Find the safetensors files of a model folder, or that of adapters.

    Raises:
        ModelError: If there are none, one is missing, or there are only pickles.
    """
    name = ADAPTERS_NAME if is_adapter(folder) else WEIGHTS_NAME
    whole = folder / name
    if whole.is_file():
        return (whole,)
    if name == ADAPTERS_NAME:
        raise ModelError(f"{folder}: lacks its adapters, {name}", hint="it was not saved or copied whole")
    if (folder / WEIGHTS_INDEX_NAME).is_file():
        names = read_json(folder / WEIGHTS_INDEX_NAME).get("weight_map", {}).values()
        parts = tuple(folder / Path(name).name for name in sorted(set(names)))
        lost = [part.name for part in parts if not part.is_file()]
        if parts and not lost:
            return parts
        raise ModelError(f"{folder}: lacks {', '.join(lost) or 'its weights'}", hint="the folder was not copied whole")
    if find_pickles(folder):
        raise ModelError(
            f"{folder}: has its weights as a pickle, which can run code when it is read",
            hint=f"turn them into safetensors: quill models convert {folder} DEST",
        )
    for kind, others in _TOLD_BY.items():
        if any((folder / other).is_file() for other in others):
            raise ModelError(f"{folder}: lacks {kind}", hint="it was not saved or copied whole")
    raise ModelError(f"{folder}: lacks its weights, {WEIGHTS_NAME}", hint="it was not saved or copied whole")


def find_pickles(folder: Path) -> tuple[Path, ...]:
    """Find the weights that are stored as pickles."""
    return tuple(sorted(path for pattern in PICKLES for path in folder.glob(pattern)))


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the names and shapes of the tensors in a safetensors file.

    Raises:
        ModelError: If the file is damaged, or shorter than its header says.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if 0 < length <= min(size, _LONGEST_HEADER) else {}
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
    except (OSError, ValueError, AttributeError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read as safetensors: {error}", hint=DAMAGED) from error
    if not shapes or size != 8 + length + end:
        raise ModelError(
            f"{path}: is damaged: {size} bytes instead of {8 + length + end}",
            hint="saving or copying it was interrupted: copy it again, or go back to an earlier checkpoint",
        )
    return shapes


def summarise(folder: Path) -> dict[str, Any]:
    """What can be said of a model folder without loading it: sizes, shape of the network, generation settings.

    Raises:
        ModelError: If it is incomplete or damaged.
    """
    weights = find_weights(folder)
    shapes = [shape for path in weights for shape in read_shapes(path).values()]
    settings = folder / "generation_config.json"
    return {
        "weights": {
            "files": [path.name for path in weights],
            "bytes": sum(path.stat().st_size for path in weights),
            "parameters": sum(prod(shape) for shape in shapes),
        },
        "config": read_json(folder / (ADAPTERS_CONFIG_NAME if is_adapter(folder) else CONFIG_NAME)),
        "generation_config": read_json(settings) if settings.is_file() else None,
    }


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Write a model folder so that it is there whole or not at all.

    Gives an empty folder beside it, which takes its place at the end; until then the old one stands. Files of the old
    one that no model folder has as its own are carried over.

    Raises:
        OutputError: If it cannot be written.
    """
    folder = folder.absolute()
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    try:
        with unfinished_folder(folder) as part:
            yield part
            if folder.is_dir():
                folder.rename(old)
            try:
                part.rename(folder)
            except OSError:
                if old.is_dir():
                    old.rename(folder)
                raise
        if old.is_dir():
            for path in old.iterdir():
                if not any(path.match(pattern) for pattern in _OWN) and not (folder / path.name).exists():
                    path.rename(folder / path.name)
            shutil.rmtree(old)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be written: {error.strerror or error}",
            hint="check the path, the free space and the permissions",
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of settings.

    Raises:
        ModelError: If it is missing or damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        hint = "it was not saved or copied whole"
        raise ModelError(f"{path.parent}: lacks {path.name}", hint=hint) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read: {error}", hint=DAMAGED) from error
    if not isinstance(values, dict):
        raise ModelError(f"{path}: holds a {type(values).__name__}, not settings", hint=DAMAGED)
    return values
