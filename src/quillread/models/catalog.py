"""Models by name: those that ship, folders, and those of the Hugging Face hub, downloaded once."""

import hashlib
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path

from quillread.config import suggest
from quillread.errors import ModelError
from quillread.extras import require
from quillread.models.model_folder import INFO_NAME, ONNX_NAME, ModelInfo, read_info
from quillread.models.trocr.files import (
    ADAPTERS_CONFIG_NAME,
    ADAPTERS_NAME,
    BASE_NAME,
    CONFIG_NAME,
    PICKLES,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    find_weights,
    is_adapter,
    is_trocr,
    read_config,
    read_shapes,
)
from quillread.models.trocr.onnx_folder import FACTS_NAME, NETWORK_NAMES, is_exported, read_facts

log = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_WEIGHTS = (
    WEIGHTS_NAME,
    "model-*-of-*.safetensors",
    WEIGHTS_INDEX_NAME,
    ONNX_NAME,
    *NETWORK_NAMES,
    ADAPTERS_NAME,
)
_WANTED = (
    *_WEIGHTS,
    INFO_NAME,
    FACTS_NAME,
    ADAPTERS_CONFIG_NAME,
    BASE_NAME,
    "README.md",
    CONFIG_NAME,
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
)


def is_hub_name(name: str) -> bool:
    """Whether a name is of the form `org/name@revision` and not a path into a folder that is there."""
    return _NAME.fullmatch(name) is not None and not Path(name.partition("/")[0]).exists()


def fetch_model(name: str) -> Path:
    """Download what a model needs, or find it in the cache of the hub.

    Pickled weights are fetched only where there are no others; the loader refuses them and says how to convert them.

    Args:
        name: `org/name@revision`; without a revision the newest is taken, with a warning that names it.

    Raises:
        ModelError: If there is no such model, or it can neither be reached nor is in the cache.
        MissingExtraError: If `huggingface_hub` is not installed.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ModelError(f"{name!r} is not a name of the form org/name@revision")
    repository, revision = match["repository"], match["revision"]
    folder = _download(repository, revision, _WANTED)
    if not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        folder = _download(repository, revision or folder.name, (*_WANTED, *PICKLES))
    if revision is None:
        log.warning("%s has no revision: took the newest, %s; write %s@%s", name, folder.name, name, folder.name)
    return folder


def _download(repository: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    hub = require("huggingface_hub", "train")
    errors = require("huggingface_hub.errors", "train")  # no attribute of the package until something imports it
    where = f"{repository}{f'@{revision}' if revision else ''}"
    try:
        return Path(hub.snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except errors.GatedRepoError as error:
        hint = "ask for access on its page, then log in: hf auth login"
        raise ModelError(f"{where}: its owner must grant access to it", hint=hint) from error
    except errors.RepositoryNotFoundError as error:
        hint = "check the name; a private model needs: hf auth login"
        raise ModelError(f"{where}: there is no such model on the Hugging Face hub", hint=hint) from error
    except errors.RevisionNotFoundError as error:
        raise ModelError(f"{where}: the model has no such revision", hint="see its page on the hub") from error
    except errors.LocalEntryNotFoundError as error:
        raise ModelError(
            f"{where}: the Hugging Face hub cannot be reached, and its cache does not hold the whole model",
            hint="connect once to download it; if you mean a folder, there is none of this name",
        ) from error
    except Exception as error:  # the hub client raises dozens of unrelated types; the cause is kept
        raise ModelError(f"{where}: cannot be downloaded from the Hugging Face hub: {error}") from error


@dataclass(frozen=True, slots=True)
class Shipped:
    """A model that comes with the package."""

    purpose: str
    languages: str
    centuries: str
    licence: str
    cer: str
    """Where validation lines of its collections lie, greedy, with spacing around punctuation ignored (model card)."""


SHIPPED = {
    "builtin": Shipped(
        "the default", "English, French", "17th to 21st", "non-commercial research, in part", "5 to 24 %"
    ),
    "open": Shipped("trained on data for any use", "English, French", "17th to 21st", "CC-BY-SA 4.0", "11 to 26 %"),
    "medieval": Shipped(
        "manuscripts, with their abbreviations", "Latin, French, Spanish, Italian", "9th to 16th", "CC-BY 4.0", "13 %"
    ),
}
"""Name -> what is known of it, of the models in `models/assets`."""

AUTO = "auto"
"""Chooses among models page by page, as it reads."""

CANDIDATES = ("builtin", "medieval")
"""Models that `auto` chooses among: what `open` reads, the built-in model reads better."""


@dataclass(frozen=True, slots=True)
class Published:
    """A checkpoint on the Hugging Face hub."""

    purpose: str
    parameters: int
    """In millions (README of microsoft/unilm, trocr)."""
    licence: str = "MIT"


PUBLISHED = {
    "microsoft/trocr-small-handwritten": Published("English handwriting", 62),
    "microsoft/trocr-base-handwritten": Published("English handwriting; to start a training from", 334),
    "microsoft/trocr-large-handwritten": Published("English handwriting, most accurate", 558),
    "microsoft/trocr-small-printed": Published("printed English", 62),
    "microsoft/trocr-base-printed": Published("printed English", 334),
    "microsoft/trocr-large-printed": Published("printed English", 558),
    "microsoft/trocr-small-stage1": Published("pretrained only: to start a training from, not to read with", 62),
    "microsoft/trocr-base-stage1": Published("pretrained only: to start a training from, not to read with", 334),
    "microsoft/trocr-large-stage1": Published("pretrained only: to start a training from, not to read with", 558),
}
"""Name -> what is known of the original TrOCR checkpoints (Li et al. 2021, arXiv 2109.10282)."""


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that can be loaded."""

    name: str
    folder: Path
    info: ModelInfo
    size: int
    """Bytes of the weights."""


def resolve(name: str) -> Path:
    """Find the folder of a model; one of the hub is downloaded unless it is in its cache.

    Args:
        name: A shipped model's name, a folder, or `org/name@revision`.

    Raises:
        ModelError: If there is no such model.
        MissingExtraError: If it is on the hub, whose client is not installed.
    """
    if name in SHIPPED:
        return Path(str(files("quillread.models") / "assets" / name))
    if name == AUTO:
        raise ModelError(
            f"{AUTO} chooses a model for each page that is read, and is not a model itself",
            hint=f"name one: {', '.join(SHIPPED)}",
        )
    if not name.strip():
        raise ModelError("the name of the model is empty", hint="see: quill models list")
    folder = Path(name)
    if is_model(folder):
        return folder
    if folder.is_dir():
        inside = folder / "model"
        hint = f"name the folder in it: {inside}" if is_model(inside) else "see: quill models list"
        if is_adapter(folder):
            hint = f"make a folder of its adapters that can be read: quill models adapter {folder} DEST"
        raise ModelError(f"{name}: is not a model folder: {_tell_missing(folder)}", hint=hint)
    if is_hub_name(name):
        return fetch_model(name)
    raise ModelError(f"unknown model {name!r}{suggest(name, [*SHIPPED, AUTO])}", hint="see: quill models list")


def _tell_missing(folder: Path) -> str:
    """What a folder would have to have to be a model folder, of ours or of transformers."""
    ours = f"it has no {INFO_NAME}"
    if not (folder / CONFIG_NAME).is_file():
        return f"{ours}, nor the {CONFIG_NAME} of a TrOCR model"
    kind = read_config(folder).get("model_type")  # raises what is wrong with a damaged one
    return f"{ours}, and its {CONFIG_NAME} is of a model of type {kind!r}, not that of a TrOCR model"


def pin(name: str) -> str:
    """Name a model of the hub with the revision that `resolve` finds now; other names stay as they are."""
    if name in SHIPPED or Path(name).is_dir() or not is_hub_name(name):
        return name
    return f"{name.partition('@')[0]}@{resolve(name).name}"


def is_model_file(name: str) -> bool:
    """Whether a model may need a file of this name; pickles are none."""
    return any(fnmatchcase(name, pattern) for pattern in _WANTED)


def is_model(folder: Path) -> bool:
    """Whether a folder says that it holds a model, of ours or of transformers."""
    return (folder / INFO_NAME).is_file() or is_trocr(folder)


def describe(name: str) -> ModelEntry:
    """Read what is known of a model, without loading it.

    A folder without `quillread.json` is read as plain transformers reads it, with nothing of ours switched on.

    Raises:
        ModelError: If there is no such model, or it is damaged.
        MissingExtraError: If it is on the hub, whose client is not installed.
    """
    folder = resolve(name)
    if (folder / INFO_NAME).is_file():
        info = read_info(folder)
    else:
        info = ModelInfo(family="trocr", name=name if is_hub_name(name) else folder.absolute().name)
    if info.family == "trocr":
        if is_exported(folder):
            read_facts(folder)
            networks = [folder / part for part in NETWORK_NAMES]
            return ModelEntry(name, folder, info, sum(path.stat().st_size for path in networks if path.is_file()))
        weights = find_weights(folder)
        for path in weights:
            read_shapes(path)
        return ModelEntry(name, folder, info, sum(path.stat().st_size for path in weights))
    onnx = folder / ONNX_NAME
    if not onnx.is_file():
        raise ModelError(f"{folder}: lacks its weights, {ONNX_NAME}", hint="the folder was not copied whole")
    return ModelEntry(name, folder, info, onnx.stat().st_size)


def digest(paths: Iterable[Path]) -> str:
    """SHA-256 of files, their names in order included; folders and hidden files are skipped.

    Raises:
        ModelError: If one cannot be read.
    """
    total = hashlib.sha256()
    for path in sorted(paths):
        if path.is_file() and not path.name.startswith("."):
            total.update(f"{path.name}\n{file_digest(path)}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, whatever its name.

    Raises:
        ModelError: If it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}", hint="check its permissions") from error
