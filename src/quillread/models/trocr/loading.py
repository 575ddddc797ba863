"""TrOCR models: loading and saving folders of the form that transformers gives them, pickles made safe.

Every class is named, none is guessed by transformers' Auto classes: those choose by what happens to be installed, and
a wrong tokenizer loads and yields `<unk>` without a word.
"""

import json
import logging
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import VisionEncoderDecoderModel
from transformers.models.trocr.modeling_trocr import TrOCRSinusoidalPositionalEmbedding

from quillread.errors import ModelError
from quillread.models.model_folder import share_weights
from quillread.models.trocr.files import (
    WEIGHTS_INDEX_NAME,
    find_pickles,
    is_trocr,
    read_config,
    read_json,
    refuse_adapter,
    replace_folder,
)
from quillread.models.trocr.trust import check_settings
from quillread.text.tokenizer import load_tokenizer

log = logging.getLogger(__name__)

_POOLER = "encoder.pooler."
"""The published files lack this layer of the encoder, which the decoder makes no use of."""
_LEFTOVERS = re.compile(r"\.(_float_tensor|masked_bias|position_ids)$")
"""Constants that earlier versions of transformers stored beside the weights."""
_LISTED = 20
_SPARE = 256
"""Rows of the vocabulary, at most, that no piece of the tokenizer has: TrOCR-small has 42 of them."""


@dataclass(slots=True)
class Trocr:
    """A vision encoder with a text decoder, and what goes with it."""

    network: Any
    """transformers' VisionEncoderDecoderModel, float32 when loaded."""
    tokenizer: Any
    image_processor: Any
    """Of transformers, PIL backend."""


def load_trocr(folder: Path, *, allow_partial: bool = False) -> Trocr:
    """Load a model folder of the form that transformers writes, for reading or training.

    The network is in evaluation mode. Its generation settings are those that plain transformers would use.

    Args:
        folder: With `config.json`, safetensors, tokenizer and image processor.
        allow_partial: Take tensors that are missing or of another shape as they are initialised, and skip those
            that are not known, with a warning; only of use before a training.

    Raises:
        ModelError: If anything is missing or damaged, or the parts do not belong together.
    """
    refuse_adapter(folder)
    if not is_trocr(folder):
        kind = read_config(folder).get("model_type")
        raise ModelError(f"{folder}: holds a model of type {kind!r}, not a vision encoder with a text decoder")
    check_settings(folder, allow_partial=allow_partial)  # finds and looks into the weights, too
    tokenizer = load_tokenizer(folder)
    image_processor = _load_image_processor(folder)
    network = _load_network(folder, allow_partial)
    _check_fit(folder, network, tokenizer, image_processor)
    settle_generation(folder, network, tokenizer)
    return Trocr(network, tokenizer, image_processor)


def save_trocr(model: Trocr, folder: Path) -> None:
    """Write a model folder that plain transformers loads, whole or not at all.

    A model that stood there before is replaced once the new one is whole; files that belong to no model are kept.

    Raises:
        OutputError: If it cannot be written.
    """
    # The published folders say no, with which plain transformers reads three times slower.
    for settings in (model.network.generation_config, model.network.config, model.network.config.decoder):
        settings.use_cache = True
    with replace_folder(folder) as part, _quiet():
        try:
            model.network.save_pretrained(part)
        except SafetensorError as error:  # a full disk, for one, is reported as this
            raise OSError(str(error)) from error
        share_weights(part)
        model.tokenizer.save_pretrained(part)
        model.image_processor.save_pretrained(part)


def _load_image_processor(folder: Path) -> Any:
    # transformers, too, looks into the first and then into the second.
    whole, part = folder / "processor_config.json", folder / "preprocessor_config.json"
    values = read_json(whole).get("image_processor") if whole.is_file() else None
    if values is None and part.is_file():
        values = read_json(part)
    if not values:
        raise ModelError(
            f"{folder}: has no image processor, preprocessor_config.json",
            hint="copy it and the tokenizer's files from the model that this one was trained from",
        )
    named = values.get("image_processor_type") or values.get("feature_extractor_type")
    if not isinstance(named, str):
        raise ModelError(
            f"{folder}: its image processor does not say of which type it is",
            hint='add "image_processor_type" to preprocessor_config.json, such as "ViTImageProcessor"',
        )
    stem = re.sub(r"(FeatureExtractor|ImageProcessor(Fast|Pil)?)$", "", named)
    kind = getattr(transformers, f"{stem}ImageProcessorPil", None) if stem.isidentifier() and stem != named else None
    if kind is None:
        raise ModelError(f"{folder}: its image processor {named!r} is not known")
    try:
        with _quiet():
            return kind.from_pretrained(folder)
    except Exception as error:  # transformers raises a dozen unrelated types; the cause is kept
        raise ModelError(f"{folder}: its image processor cannot be read: {error}") from error


def _load_network(folder: Path, allow_partial: bool) -> Any:
    try:
        with _quiet():
            network, report = VisionEncoderDecoderModel.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # transformers raises a dozen unrelated types; the cause is kept
        raise ModelError(f"{folder}: cannot be loaded: {error}") from error
    if any(name.startswith(_POOLER) for name in report["missing_keys"]):
        network.encoder.pooler = None
    faults = _list_faults(report)
    if faults and not allow_partial:
        raise ModelError(
            f"{folder}: the tensors in its file are not those of its {network.config.model_type} network: {faults}",
            hint="config.json is of another model, or the weights are not whole; allow_partial=true trains from them",
        )
    if faults:
        log.warning("%s: loaded in part: %s", folder, faults)
    _rebuild_sinusoids(network)
    _refuse_empty(folder, network)
    _refuse_not_finite(folder, network)
    if getattr(network.encoder, "pooler", None) is not None:
        # It has no part in the result: a gradient would never come, which several processes wait for.
        network.encoder.pooler.requires_grad_(False)
    return network


def _list_faults(report: dict[str, Any]) -> str:
    missing = [name for name in report["missing_keys"] if not name.startswith(_POOLER)]
    unknown = [name for name in report["unexpected_keys"] if not _LEFTOVERS.search(name)]
    shapes = [
        f"{name} {tuple(found)} instead of {tuple(expected)}" for name, found, expected in report["mismatched_keys"]
    ]
    return "; ".join(
        f"{len(names)} {what}: {', '.join(sorted(names)[:_LISTED])}{', ...' if len(names) > _LISTED else ''}"
        for what, names in (("missing", missing), ("not known", unknown), ("of another shape", shapes))
        if names
    )


def _rebuild_sinusoids(network: nn.Module) -> None:
    """Compute the decoder's fixed positions, which transformers 5.23 leaves without values.

    They become a buffer, so that they follow the network to another device.
    """
    for module in network.modules():
        if isinstance(module, TrOCRSinusoidalPositionalEmbedding):
            rows = module.weights.shape[0]
            del module.weights
            values = module.get_embedding(rows, module.embedding_dim, module.padding_idx)
            module.register_buffer("weights", values, persistent=False)


def _refuse_empty(folder: Path, network: nn.Module) -> None:
    """Make sure that no tensor was left without values."""
    empty = {name for name, tensor in (*network.named_parameters(), *network.named_buffers()) if tensor.is_meta}
    for prefix, module in network.named_modules():
        found = (name for name, value in vars(module).items() if isinstance(value, torch.Tensor) and value.is_meta)
        empty |= {f"{prefix}.{name}" for name in found}
    if empty:
        raise ModelError(f"{folder}: transformers left tensors without values: {', '.join(sorted(empty))}")


def _refuse_not_finite(folder: Path, network: nn.Module) -> None:
    broken = [name for name, tensor in network.named_parameters() if not bool(torch.isfinite(tensor).all())]
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise ModelError(
            f"{folder}: weights are not finite numbers: {', '.join(broken[:3])}{more}",
            hint="its training diverged, or the file is damaged: go back to an earlier checkpoint",
        )


def _check_fit(folder: Path, network: Any, tokenizer: Any, image_processor: Any) -> None:
    vocabulary = network.config.decoder.vocab_size
    if len(tokenizer) > vocabulary:
        raise ModelError(
            f"{folder}: its tokenizer has {len(tokenizer)} pieces, its decoder knows {vocabulary}",
            hint="copy the tokenizer's files from the model that this one was trained from",
        )
    if vocabulary - len(tokenizer) > _SPARE:
        raise ModelError(
            f"{folder}: its tokenizer has {len(tokenizer)} pieces, its decoder knows {vocabulary}: not of one model",
            hint="copy the tokenizer's files from the model that this one was trained from",
        )
    encoder = network.config.encoder
    if encoder.model_type not in ("vit", "deit"):
        return
    size = image_processor.crop_size if getattr(image_processor, "do_center_crop", False) else image_processor.size
    expected = encoder.image_size
    expected = (expected, expected) if isinstance(expected, int) else tuple(expected)
    made = f"{size.height} x {size.width} pixels"
    if size.height is None or not getattr(image_processor, "do_resize", True):
        made = "any shape"
    elif (size.height, size.width) == expected:
        made = ""
    if made:
        raise ModelError(
            f"{folder}: its image processor makes images of {made}, its encoder takes {expected[0]} x {expected[1]}",
            hint="copy preprocessor_config.json from the model that this one was trained from",
        )


def settle_generation(folder: Path, network: Any, tokenizer: Any) -> None:
    """Let the training start lines with the token that reading starts them with.

    Args:
        folder: Where the generation settings are from.
        network: Changed in place.
        tokenizer: Of the model.

    Raises:
        ModelError: If they do not say how a line starts or ends, or say it in tokens that the tokenizer does not have
            for that.
    """
    settings = network.generation_config
    start = settings.decoder_start_token_id
    start = settings.bos_token_id if start is None else start
    pad = settings.pad_token_id
    if start is None or (pad is None and settings.eos_token_id is None):
        raise ModelError(
            f"{folder}: does not say which token starts a line, or which ends it",
            hint="add decoder_start_token_id, eos_token_id and pad_token_id to generation_config.json",
        )
    network.config.decoder_start_token_id = start
    eos = settings.eos_token_id
    ends = eos if isinstance(eos, list) else [eos]
    network.config.pad_token_id = ends[0] if pad is None else pad
    if tokenizer.eos_token_id not in ends or start not in tokenizer.all_special_ids:
        raise ModelError(
            f"{folder}: its generation settings start a line with token {start} and end it with {eos}; its tokenizer "
            f"ends it with {tokenizer.eos_token_id}, and its special tokens are {sorted(tokenizer.all_special_ids)}",
            hint="copy the tokenizer's files and generation_config.json from the model that this one was trained from",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from reporting on stderr what is checked here, and from drawing progress bars."""
    logger = transformers.utils.logging
    verbosity, bars = logger.get_verbosity(), logger.is_progress_bar_enabled()
    logger.set_verbosity(logging.CRITICAL)
    logger.disable_progress_bar()
    try:
        yield
    finally:
        logger.set_verbosity(verbosity)
        if bars:
            logger.enable_progress_bar()


_TRUST = "copy it again; if that does not help, take the weights from somebody you trust, as safetensors"
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
        raise ModelError(f"{target}: exists already", hint="name a new folder")
    with replace_folder(target) as part:
        shutil.copytree(source, part, ignore=_LEFT_OUT, dirs_exist_ok=True)
        places: dict[str, str] = {}
        for path in pickles:
            tensors = _read_pickle(path)
            name = path.with_suffix(".safetensors").name.replace("pytorch_model", "model")
            save_file(tensors, part / name, {"format": "pt"})
            places |= dict.fromkeys(tensors, name)
        if len(pickles) > 1:
            index = {"metadata": {}, "weight_map": places}
            (part / WEIGHTS_INDEX_NAME).write_text(json.dumps(index, indent=2), encoding="utf-8")
        share_weights(part)


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Read tensors by name; each with memory of its own, as safetensors asks for."""
    try:
        with warnings.catch_warnings():  # of forms of pickle that it may not know: it says so when it does not
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read as plain weights: {error.strerror or error}", hint=_TRUST) from error
    except Exception as error:  # damaged bytes lead the unpickler to any type of error
        # Not in torch's words, which advise to let the file run its code.
        message = f"{path}: cannot be read as plain weights: it is damaged, or holds more than tensors"
        raise ModelError(message, hint=_TRUST) from error
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
