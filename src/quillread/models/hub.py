"""Models of the Hugging Face hub: downloaded once, then read from its cache, without the network too."""

import logging
import re
from pathlib import Path

from quillread.errors import ModelError
from quillread.extras import require
from quillread.models.checkpoint import INFO_NAME, ONNX_NAME
from quillread.models.trocr_files import PICKLES, WEIGHTS_INDEX_NAME, WEIGHTS_NAME

log = logging.getLogger(__name__)

_NAME = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_WEIGHTS = (WEIGHTS_NAME, "model-*-of-*.safetensors", WEIGHTS_INDEX_NAME, ONNX_NAME)
_WANTED = (
    *_WEIGHTS,
    INFO_NAME,
    "README.md",
    "config.json",
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
        raise ModelError(f"{name!r} is no name of the form org/name@revision")
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
            f"{where}: the Hugging Face hub cannot be reached, and the model is not whole in its cache",
            hint="connect once to download it; if a folder is meant, there is none of this name",
        ) from error
    except Exception as error:  # the hub client raises dozens of unrelated types; the cause is kept
        raise ModelError(f"{where}: cannot be downloaded from the Hugging Face hub: {error}") from error
