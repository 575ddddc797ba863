"""What the settings of a TrOCR folder may say: looked at before transformers acts on them; knows no torch.

A config of transformers can name code to load, and sizes that fill the memory before anything is compared with the
weights.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from quillread.errors import ModelError
from quillread.models.trocr.files import CONFIG_NAME, find_weights, read_config, read_json, read_shapes, refuse_adapter

_LOADERS = ("auto_map", "quantization_config", "kernel_config", "custom_generate", "custom_pipelines", "compile_config",
            "backbone", "use_pretrained_backbone", "use_kernels")  # fmt: skip
"""Settings by which transformers finds code or models elsewhere."""
_KERNELS = ("_attn_implementation", "attn_implementation", "_attn_implementation_internal", "experts_implementation",
            "_experts_implementation")  # fmt: skip
"""Settings that name an implementation, which may be one of the hub."""
_OWN_KERNELS = (None, "eager", "sdpa")
_WIDTHS = ("hidden_size", "intermediate_size", "d_model", "decoder_ffn_dim", "vocab_size",
           "cross_attention_hidden_size")  # fmt: skip
"""Sizes that are a dimension of some tensor."""
_COUNTS = {
    "num_hidden_layers": 1000,
    "decoder_layers": 1000,
    "num_attention_heads": 1000,
    "decoder_attention_heads": 1000,
    "num_channels": 16,
    "image_size": 4096,
    "patch_size": 4096,
    "max_position_embeddings": 100_000,
    "height": 4096,
    "width": 4096,
    "shortest_edge": 4096,
    "longest_edge": 4096,
    "num_beams": 100,
    "num_beam_groups": 100,
    "num_return_sequences": 100,
    "max_length": 10**6,
    "max_new_tokens": 10**6,
}
"""Settings -> the most that they may say; the least is 1."""
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id",
           "forced_eos_token_id")  # fmt: skip
_OTHERS = ("generation_config.json", "preprocessor_config.json", "processor_config.json")


def check_settings(folder: Path, *, allow_partial: bool = False) -> None:
    """Refuse settings that no TrOCR model needs, and weights that are missing or damaged.

    Args:
        folder: Of the model.
        allow_partial: Let widths differ from those of the weights.

    Raises:
        ModelError: Naming the file, and the setting if it is one.
    """
    refuse_adapter(folder)
    for name in [CONFIG_NAME, *(name for name in _OTHERS if (folder / name).is_file())]:
        check_file(folder / name)
    sizes = {size for path in find_weights(folder) for shape in read_shapes(path).values() for size in shape}
    if not allow_partial:
        _check_widths(folder / CONFIG_NAME, read_config(folder), sizes)


def check_file(path: Path) -> None:
    """Refuse a file of settings that says what no TrOCR model needs.

    Raises:
        ModelError: Naming the file and the setting.
    """
    for key, value in _walk(read_json(path)):
        if fault := _fault(key, value):
            raise ModelError(f"{path}: {key}: {fault}", hint="take the file of the model that this one is from")


def _walk(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All settings, those of groups within included."""
    for key, value in values.items():
        yield key, value
        groups: Iterable[Any] = value if isinstance(value, list) else [value]
        for group in groups:
            if isinstance(group, dict):
                yield from _walk(group)


def _fault(key: str, value: Any) -> str | None:
    """What is wrong with a setting, in a few words; None if nothing is."""
    numbers = value if isinstance(value, list) else [value]
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        return f"{value} is not a finite number"
    if key in _LOADERS and value:
        return "names code or a model that would have to be loaded"
    if key in _KERNELS and value not in _OWN_KERNELS:
        return f"{value!r} is not one of those that come with transformers, eager and sdpa"
    if key in _COUNTS and value is not None:
        fits = all(type(number) is int and 1 <= number <= _COUNTS[key] for number in numbers)
        return None if fits or isinstance(value, dict) else f"must be a number from 1 to {_COUNTS[key]}, got {value!r}"
    if key in _TOKENS and value is not None:
        fits = all(type(number) is int and number >= 0 for number in numbers)
        return None if fits else f"must be the number of a token, got {value!r}"
    return None


def _check_widths(path: Path, config: Mapping[str, Any], sizes: set[int]) -> None:
    for part in ("encoder", "decoder"):
        group = config.get(part)
        if not isinstance(group, dict):
            continue
        for key in _WIDTHS:
            value = group.get(key)
            if value is not None and (type(value) is not int or value not in sizes):
                raise ModelError(
                    f"{path}: {part}.{key}: {value!r} is the size of none of its tensors",
                    hint="config.json is of another model; copy it from the one that this was trained from",
                )
