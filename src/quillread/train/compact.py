"""The compact family under training."""

import bisect
import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from quillread import config as configs
from quillread.errors import ModelError
from quillread.images.preprocess import StepCache
from quillread.models.catalog import resolve
from quillread.models.compact.network import CompactNetwork
from quillread.models.compact.onnx_file import COLUMN_WIDTH, CompactConfig, read_weights, write_onnx
from quillread.models.model_folder import ONNX_NAME, ModelInfo, read_info, write_info
from quillread.recognize.ctc import CtcEngine
from quillread.recognize.recognizer import LineRecognizer
from quillread.text.charset import Charset
from quillread.train.compact_form import CompactForm
from quillread.train.compact_model import CompactForTraining, TorchBackend
from quillread.train.config import ScheduleConfig, TrainConfig
from quillread.train.family import decay_groups

log = logging.getLogger(__name__)

WEIGHTS_NAME = "model.safetensors"


class CompactFamily:
    """A compact network under training; see `Family`."""

    can_split = False  # batch normalisation looks at all lines at once

    def __init__(self, config: TrainConfig, cache: StepCache | None = None) -> None:
        self.form = CompactForm(config, cache)
        self._cache = cache
        self.network = CompactForTraining(_network(config), config.shortcut, _teacher(config))
        self.info = ModelInfo(
            family="compact",
            name=config.name,
            preprocess=config.preprocess,
            charset=config.charset,
            ink=config.ink,
            column_width=COLUMN_WIDTH,
        )

    def groups(self, schedule: ScheduleConfig) -> list[dict[str, Any]]:
        """All parameters at one learning rate."""
        return decay_groups(self.network, schedule)

    def recognizer(self, mixed: torch.dtype | None, texts: Iterable[str] = ()) -> LineRecognizer:
        """The network as it is now, as a recogniser; `texts` change nothing."""
        engine = CtcEngine(TorchBackend(self.network.network, mixed), self.info)
        return LineRecognizer(engine, self.info, self._cache)

    def parameters(self) -> int:
        """How many values the model folder will keep: those of the shortcut head are not among them."""
        named = self.network.network.named_parameters()
        return sum(value.numel() for name, value in named if not name.startswith("shortcut."))

    def save_weights(self, folder: Path) -> None:
        """Write all tensors, those of the shortcut head included."""
        save_file(self.network.state_dict(), folder / WEIGHTS_NAME)

    def load_weights(self, folder: Path) -> None:
        """Take every tensor from a checkpoint."""
        try:
            self.network.load_state_dict(load_file(folder / WEIGHTS_NAME))
        except Exception as error:  # safetensors and torch raise types without a common base
            raise ModelError(f"{folder}: its weights cannot be loaded: {error}") from error

    def save(self, folder: Path, info: ModelInfo) -> None:
        """Write the model folder."""
        save_model(self.network.network, info, folder)


def save_model(network: CompactNetwork, info: ModelInfo, folder: Path) -> None:
    """Write a network as a model folder."""
    weights = {name: value.detach().float().cpu().numpy() for name, value in network.state_dict().items()}
    write_onnx(weights, network.config, folder / ONNX_NAME)
    write_info(info, folder)


def _network(config: TrainConfig) -> CompactNetwork:
    network = CompactNetwork(config.network, len(Charset(config.charset)))
    if config.start:
        _, state = _known(config.start, config)
        if config.allow_partial:
            state = _shared_layers(state, network.state_dict())
            drawn = sum(name not in state for name in _needed(network))
            log.info("%s: %d tensors are taken over, %d drawn at random", config.start, len(state), drawn)
        _fill(network, state, config.start, partial=config.allow_partial)
    return network


def _teacher(config: TrainConfig) -> CompactNetwork | None:
    if not config.teacher:
        return None
    info, state = _known(config.teacher, config)
    shape = info.provenance.get("training", {}).get("network")
    if shape is None:
        raise ModelError(f"{config.teacher}: does not say what network it is", hint="take a model of `quill train`")
    if info.preprocess != config.preprocess:
        raise ModelError(f"{config.teacher}: cleans lines in another way than this run (preprocess)")
    network = CompactNetwork(configs.build(CompactConfig, shape), len(Charset(config.charset)))
    _fill(network, state, config.teacher, partial=False)
    return network


def _known(name: str, config: TrainConfig) -> tuple[ModelInfo, dict[str, torch.Tensor]]:
    """A model that takes and says the same as that of a run, and its weights."""
    folder = resolve(name)
    info = read_info(folder)
    if info.family != "compact":
        hint = f"add --set family={info.family}" if name == config.start else "a teacher must be a compact model"
        raise ModelError(f"{name}: is no compact model", hint=hint)
    if info.charset != config.charset:
        raise ModelError(f"{name}: has another charset than this run asks for", hint="take the model's charset setting")
    if info.ink != config.ink:
        raise ModelError(
            f"{name}: measures ink in another way than this run asks for: {info.ink}, not {config.ink}",
            hint=f"add --set ink.height={info.ink.height} --set network.height={info.ink.height}",
        )
    return info, {key: torch.from_numpy(value.copy()) for key, value in read_weights(folder / ONNX_NAME).items()}


def _fill(network: CompactNetwork, state: Mapping[str, torch.Tensor], name: str, *, partial: bool) -> None:
    own = network.state_dict()
    wrong = [n for n, v in own.items() if n in state and state[n].shape != v.shape]
    missing = [n for n in _needed(network) if n not in state]
    if (wrong or missing) and not partial:
        hint = "to start from the layers that both have: --allow-partial"
        raise ModelError(f"{name}: is a network of another shape (first: {(wrong + missing)[0]})", hint=hint)
    network.load_state_dict(state, strict=False)


def _needed(network: CompactNetwork) -> list[str]:
    """Names of the tensors that a model folder keeps."""
    return [n for n in network.state_dict() if not n.startswith("shortcut.") and "num_batches" not in n]


def _shared_layers(state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of another network for the layers of this: the first blocks of each stage, by their new numbers.

    Of convolutions with more channels come the first ones. Other layers come whole or not at all, each with the norm
    behind it.
    """
    theirs, ours = (_stage_starts(names) for names in (state, own))
    found: dict[str, torch.Tensor] = {}
    for name, value in own.items():
        source = name
        if name.startswith("stages."):
            _, number, rest = name.split(".", 2)
            stage = bisect.bisect_right(ours, int(number)) - 1
            block = theirs[stage] + int(number) - ours[stage]
            if block >= (*theirs, math.inf)[stage + 1]:
                continue  # their stage has fewer blocks
            source = f"stages.{block}.{rest}"
        if source in state:
            found[name] = _first_channels(state[source], value.shape) if _is_image_layer(name) else state[source]
    misfits = {_layer(name) for name, value in found.items() if value.shape != own[name].shape}
    return {name: value for name, value in found.items() if _layer(name) not in misfits}


def _is_image_layer(name: str) -> bool:
    return name.startswith(("stem.", "stages.", "project."))


def _first_channels(value: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """The part of a convolution or of a norm for its first outputs and inputs; as it is if it has too few."""
    if not shape or value.shape[0] < shape[0]:
        return value
    value = value[: shape[0]]
    if len(shape) == 3:  # the projection, whose inputs are the maxima of all channels, then their means
        return torch.cat([half[:, : shape[1] // 2] for half in value.chunk(2, dim=1)], dim=1)
    return value[:, : shape[1]] if len(shape) == 4 else value


def _layer(name: str) -> str:
    """What comes whole: a block, the recurrent layers, the projection, a head."""
    parts = name.split(".")
    return ".".join(parts[:2] if parts[0] in ("stages", "sequence") else parts[:1])


def _stage_starts(names: Iterable[str]) -> list[int]:
    """Numbers of the blocks that begin a stage: the first, and those whose skip connection changes the shape."""
    return sorted({0} | {int(name.split(".")[1]) for name in names if name.endswith("skip.0.weight")})
