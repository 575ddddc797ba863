"""What the settings under `tuning` do to a TrOCR network: freezing, rates, adapters, a second head for its encoder."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer

from quillread.errors import ConfigError, ModelError
from quillread.extras import require
from quillread.models.model_folder import share_weights
from quillread.models.trocr.adapters import shared_layers
from quillread.models.trocr.files import ADAPTERS_NAME
from quillread.models.trocr.pixels import SPECIAL_PLACES, as_pair
from quillread.train.family_settings import LoraConfig

COLUMNS_NAME = "columns.safetensors"
"""Its weights in a checkpoint; a model folder has none."""


def freeze(network: nn.Module, prefixes: Sequence[str]) -> None:
    """Keep the parameters whose names start with one of the prefixes as they are.

    Raises:
        ConfigError: If a prefix fits no parameter, or nothing is left to train.
    """
    names = [name for name, _ in network.named_parameters()]
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in names):
            raise ConfigError(
                f"tuning.freeze: no parameter starts with {prefix!r}",
                hint=f"names look like {names[0]} and {names[-1]}",
            )
    for name, parameter in network.named_parameters():
        if name.startswith(tuple(prefixes)):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError("tuning.freeze: leaves nothing to train")


def layer_rates(network: nn.Module, decay: float) -> dict[str, float]:
    """Share of the learning rate for each parameter: `decay` to the number of layers above its own.

    The layers of the decoder stand above those of the encoder; embeddings belong to the lowest layer of their half,
    everything else outside the layers to the highest (Howard & Ruder 2018, "discriminative fine-tuning").
    """
    places = {name: _place(name) for name, _ in network.named_parameters()}
    depths = [
        1 + max((layer or 0 for half, layer in places.values() if half == number), default=0) for number in (0, 1)
    ]
    rates = {}
    for name, (half, layer) in places.items():
        above = 0 if layer is None else depths[half] - 1 - layer
        rates[name] = decay ** (above + (depths[1] if half == 0 else 0))
    return rates


def _place(name: str) -> tuple[int, int | None]:
    """Half of the network (0 encoder, 1 decoder) and layer within it; None for what stands above the layers."""
    half = int(re.search(r"^(network\.)?decoder\.", name) is not None)
    layer = re.search(r"\.layers?\.(\d+)\.", name)
    if layer:
        return half, int(layer[1])
    return half, 0 if "embed" in name else None


def spare_activations(network: Any) -> None:
    """Compute the activations again in the backward pass in place of keeping them (gradient checkpointing)."""
    # The name since transformers 5.2x; the one before it is deprecated there.
    enable = getattr(network, "activation_checkpointing_enable", None) or network.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def cast_norms_once(network: Any) -> None:
    """Cast what the encoder's norms give to the number type of mixed precision once.

    Autocast leaves it in float32, and every layer that takes it casts it for itself: three in each layer, and two in
    each layer of the decoder for the end of the encoder. The values are the same, with less to read and write.
    """
    for name, module in network.encoder.named_modules():
        if isinstance(module, nn.LayerNorm) and name.rpartition(".")[2].startswith("layernorm"):
            module.register_forward_hook(_cast)


def _cast(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    device = output.device.type
    return output.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else output


def compile_layers(network: nn.Module) -> None:
    """Let torch translate each layer of encoder and decoder the first time that it is trained.

    Layers of one kind share what was translated, so that it takes little longer than for one of each. Names of tensors
    do not change.

    Raises:
        ConfigError: If torch cannot translate on this machine.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(8, device="cuda" if torch.cuda.is_available() else "cpu"))
    except Exception as error:  # the compilers that torch calls raise what they like
        raise ConfigError(
            f"tuning.compile: torch cannot compile on this machine: {str(error).strip().splitlines()[0]}",
            hint="install a C compiler, or drop tuning.compile",
        ) from error
    for module in network.modules():
        if isinstance(module, GradientCheckpointingLayer):
            module.compile()


def add_adapters(network: nn.Module, config: LoraConfig) -> nn.Module:
    """Freeze a network and put low-rank adapters beside some of its layers, in place.

    Raises:
        ConfigError: If no layer has one of the names, or one that has shares its weights with another.
    """
    peft = require("peft", "train")
    targets = list(config.targets)
    if shared := shared_layers(network, targets):
        raise ConfigError(
            f"tuning.lora.targets: the weights of {shared[0]} are those of another layer, too: merged into them, an "
            "adapter would make another model than the one that was measured",
            hint="drop this layer from the targets",
        )
    settings = peft.LoraConfig(
        r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=targets
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT 0.21 asks transformers 5.23 by a name of old
            adapted: nn.Module = peft.get_peft_model(network, settings)
    except ValueError as error:
        raise ConfigError(f"tuning.lora.targets: no layer is named {' or '.join(targets)}") from error
    return adapted


def save_adapters(network: Any, folder: Path) -> None:
    """Write the adapters as PEFT does."""
    network.save_pretrained(str(folder))
    share_weights(folder)


def load_adapters(network: Any, folder: Path) -> None:
    """Take every adapter from a checkpoint.

    Raises:
        ModelError: If one is missing, unknown or of another shape.
    """
    peft = require("peft", "train")
    try:
        state = load_file(folder / ADAPTERS_NAME)
    except Exception as error:  # safetensors raises types without a common base
        raise ModelError(f"{folder}: its adapters cannot be loaded: {error}") from error
    own = peft.get_peft_model_state_dict(network)
    different = sorted(own.keys() ^ state.keys()) or [n for n in own if own[n].shape != state[n].shape]
    if different:
        raise ModelError(f"{folder}: its adapters belong to another network (first: {different[0]})")
    peft.set_peft_model_state_dict(network, state)
    now = peft.get_peft_model_state_dict(network)
    if not all(torch.equal(now[n].cpu(), state[n]) for n in state):
        raise ModelError(f"{folder}: its adapters were not taken over whole")


def merge_adapters(network: Any) -> None:
    """Add the adapters to the weights beside them and take them out, in place."""
    network.merge_and_unload()


class ColumnHead(nn.Module):
    """Scores the tokens in each column of patches; the loss is that of CTC (Graves et al. 2006).

    The decoder of a network from scratch gets along without the image for a long time, and the encoder learns nothing
    meanwhile. A loss of its own teaches it the letters, in their order, from the start (Watanabe et al. 2017, "Hybrid
    CTC/Attention Architecture").

    Args:
        network: A VisionEncoderDecoderModel with a ViT or DeiT encoder.
        tokenizer: Its padding is the blank, its end token is not a letter.
        seed: Of the weights.

    Raises:
        ConfigError: If the encoder is of another kind: nobody knows where its columns are.
    """

    def __init__(self, network: Any, tokenizer: Any, seed: int) -> None:
        super().__init__()
        config = network.config.encoder
        if config.model_type not in SPECIAL_PLACES:
            known = ", ".join(SPECIAL_PLACES)
            raise ConfigError(f"tuning.columns: a {config.model_type!r} encoder has none", hint=f"known: {known}")
        size, patch = as_pair(config.image_size), as_pair(config.patch_size)
        self._special = SPECIAL_PLACES[config.model_type]
        self._grid = size[0] // patch[0], size[1] // patch[1]
        self._blank: int = tokenizer.pad_token_id
        self._end: int = tokenizer.eos_token_id
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.scores = nn.Linear(config.hidden_size, len(tokenizer))

    def forward(self, encoded: Tensor, labels: Tensor) -> Tensor:
        """The loss of each line, in nats for each token of its text; 0 where there are more tokens than columns.

        Args:
            encoded: float (N, P, D), the encoder's output.
            labels: int64 (N, L), padded with negative numbers.

        Returns:
            float32 (N,).
        """
        grid = encoded[:, self._special :].reshape(len(encoded), *self._grid, -1)
        scores = self.scores(grid.mean(1)).float().log_softmax(-1)
        is_letter = (labels >= 0) & (labels != self._end)
        lengths = is_letter.sum(1)
        columns = torch.full_like(lengths, self._grid[1])
        targets = torch.where(is_letter, labels, self._blank)
        losses = nn.functional.ctc_loss(
            scores.transpose(0, 1), targets, columns, lengths, self._blank, reduction="none", zero_infinity=True
        )
        return losses / lengths.clamp(min=1)


def load_columns(head: ColumnHead, folder: Path) -> None:
    """Take the weights of the head from a checkpoint.

    Raises:
        ModelError: If they are missing, damaged or of another network.
    """
    try:
        head.load_state_dict(load_file(folder / COLUMNS_NAME))
    except Exception as error:  # safetensors and torch raise types without a common base
        raise ModelError(f"{folder}: its column head cannot be loaded: {error}") from error
