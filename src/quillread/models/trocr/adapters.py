"""Adapters added to the model that they belong to: the one way in which a TrOCR folder of either kind is opened.

The sum is computed here and not by PEFT: it is one product of two matrices for each layer, and a folder from elsewhere
must not choose among the dozens of kinds of adapters that PEFT knows, some of which change the model as they are made.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import GenerationConfig

from quillread.errors import ModelError
from quillread.models.model_folder import INFO_NAME, read_info
from quillread.models.trocr.adapter_folder import find_base
from quillread.models.trocr.files import (
    ADAPTERS_CONFIG_NAME,
    find_weights,
    is_adapter,
    read_json,
    read_shapes,
)
from quillread.models.trocr.loading import Trocr, load_trocr, settle_generation
from quillread.models.trocr.pixels import set_canvas
from quillread.models.trocr.trust import check_file

GENERATION_NAME = "generation_config.json"
_TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_OWN = {"r", "lora_alpha", "use_rslora", "target_modules", "peft_type", "init_lora_weights"}
"""Settings of PEFT that are looked at here."""
_OF_TRAINING = {
    "lora_dropout", "base_model_name_or_path", "revision", "task_type", "inference_mode", "auto_mapping",
    "peft_version", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "megatron_core",
    "qalora_group_size", "ensure_weight_tying", "runtime_config",
}  # fmt: skip
"""Those that change nothing in adapters of the plain kind once they are trained."""
_OFF: tuple[Any, ...] = (None, False, {}, [], "none")
"""What all others must say."""
_PLAIN_STARTS = (None, True, False, "gaussian")
"""Ways to begin the training of adapters that leave the model as it was."""


def open_trocr(folder: Path, *, allow_partial: bool = False) -> Trocr:
    """Load a TrOCR model: a whole one, or adapters added to the model that they belong to.

    Args:
        folder: As `load_trocr` takes it, or with adapters and `base.json`.
        allow_partial: See `load_trocr`; adapters are always taken whole.

    Raises:
        ModelError: If anything is missing or damaged, or the parts do not belong together.
        MissingExtraError: If adapters belong to a model of the hub, whose client is not installed.
    """
    if not is_adapter(folder):
        return load_trocr(folder, allow_partial=allow_partial)
    model = load_trocr(find_base(folder))
    canvas = read_info(folder).canvas if (folder / INFO_NAME).is_file() else None
    if canvas is not None:
        set_canvas(model, canvas.height, canvas.width)
    add_to(model.network, folder)
    if (folder / GENERATION_NAME).is_file():
        check_file(folder / GENERATION_NAME)
        try:
            model.network.generation_config = GenerationConfig.from_pretrained(folder)
        except Exception as error:  # transformers raises unrelated types; the cause is kept
            raise ModelError(f"{folder}: {GENERATION_NAME} cannot be read: {error}") from error
        settle_generation(folder, model.network, model.tokenizer)
    return model


@torch.no_grad()
def add_to(network: nn.Module, folder: Path) -> None:
    """Add the adapters of a folder to the weights beside which they were trained, in place.

    Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".

    Raises:
        ModelError: If the adapters are of another kind or damaged, or belong to a network of another shape, or to a
            layer that shares its weights.
    """
    settings = read_json(folder / ADAPTERS_CONFIG_NAME)
    scale = _scale(settings, folder)
    layers = _find_targets(network, settings["target_modules"])
    if shared := shared_layers(network, settings["target_modules"]):
        raise ModelError(
            f"{folder}: has an adapter of {shared[0]}, whose weights are those of another layer, too: added to them, "
            "it would change both",
            hint="train adapters of other layers",
        )
    pairs = _read_pairs(folder)
    if different := sorted(layers.keys() ^ pairs.keys()):
        raise ModelError(
            f"{folder}: its adapters are not those of its model's layers ({len(different)} differ, the first is "
            f"{different[0]})",
            hint="the folder was not saved whole, or its base is another model",
        )
    for name, layer in layers.items():
        down, up = pairs[name].get("A"), pairs[name].get("B")
        if down is None or up is None or up.ndim != 2 or down.ndim != 2 or up.shape[1] != down.shape[0]:
            raise ModelError(f"{folder}: the adapter of {name} is not a pair of matrices", hint="copy the folder again")
        if (up.shape[0], down.shape[1]) != tuple(layer.weight.shape):
            raise ModelError(
                f"{folder}: the adapter of {name} is for {up.shape[0]} x {down.shape[1]} weights, not for "
                f"{layer.weight.shape[0]} x {layer.weight.shape[1]}",
                hint="its base is another model",
            )
        sum_ = (up.float() @ down.float()) * scale
        if not bool(torch.isfinite(sum_).all()):
            raise ModelError(
                f"{folder}: the adapter of {name} holds numbers that are not finite", hint="its training diverged"
            )
        layer.weight += sum_


def _scale(settings: dict[str, Any], folder: Path) -> float:
    """What the products of the matrices are multiplied by; refuses all but plain low-rank adapters."""
    path = folder / ADAPTERS_CONFIG_NAME
    hint = "merge them with PEFT into a whole model, and read that"
    if settings.get("peft_type") != "LORA":
        raise ModelError(f"{path}: adapters of the kind {settings.get('peft_type')!r} are not known", hint=hint)
    for name, value in settings.items():
        off = value in _PLAIN_STARTS if name == "init_lora_weights" else name in _OWN | _OF_TRAINING or value in _OFF
        if not off:
            raise ModelError(f"{path}: adapters with {name} = {value!r} are not known", hint=hint)
    rank, alpha, targets = settings.get("r"), settings.get("lora_alpha"), settings.get("target_modules")
    if type(rank) is not int or rank < 1 or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise ModelError(f"{path}: r and lora_alpha must be numbers, got {rank!r} and {alpha!r}")
    if not isinstance(targets, list) or not targets or not all(isinstance(name, str) for name in targets):
        raise ModelError(f"{path}: target_modules must be names of layers, got {targets!r}", hint=hint)
    return float(alpha / math.sqrt(rank) if settings.get("use_rslora") else alpha / rank)


def shared_layers(network: nn.Module, targets: Sequence[str]) -> list[str]:
    """Those of the targets whose weights another layer has, too, such as the tokens' scores and their embeddings.

    Beside such a layer an adapter changes it alone; added to the weights, it changes both.
    """
    owners = Counter(id(value) for _, value in network.named_parameters(remove_duplicate=False))
    return [
        name for name, module in _named_so(network, targets).items() if owners[id(getattr(module, "weight", None))] > 1
    ]


def _find_targets(network: nn.Module, targets: Sequence[str]) -> dict[str, nn.Linear]:
    return {name: module for name, module in _named_so(network, targets).items() if isinstance(module, nn.Linear)}


def _named_so(network: nn.Module, targets: Sequence[str]) -> dict[str, nn.Module]:
    """The modules that end with one of the names, as PEFT finds them."""
    ends = tuple(f".{target}" for target in targets)
    return {name: module for name, module in network.named_modules() if f".{name}".endswith(ends)}


def _read_pairs(folder: Path) -> dict[str, dict[str, Tensor]]:
    """Both matrices of each layer, by its name: A (rank, in) and B (out, rank)."""
    (path,) = find_weights(folder)
    read_shapes(path)
    try:
        tensors = load_file(path)
    except Exception as error:  # safetensors raises types without a common base
        raise ModelError(f"{path}: cannot be read: {error}", hint="copy the folder again") from error
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        match = _TENSOR.fullmatch(name)
        if match is None:
            raise ModelError(
                f"{path}: {name} is not a plain low-rank adapter", hint="merge it with PEFT, and read that"
            )
        pairs.setdefault(match[1], {})[match[2]] = value
    return pairs
