"""The compact family under training."""

import bisect
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from quillread import config as configs
from quillread.errors import ModelError
from quillread.images.cache import StepCache
from quillread.models.catalog import resolve
from quillread.models.checkpoint import ONNX_NAME, ModelInfo, read_info, write_info
from quillread.models.compact import CompactNetwork
from quillread.models.compact_config import COLUMN_WIDTH, CompactConfig
from quillread.models.compact_onnx import read_weights, write_onnx
from quillread.recognize.ctc import CtcEngine
from quillread.recognize.recognizer import LineRecognizer
from quillread.text.charset import Charset
from quillread.train.compact_form import CompactForm
from quillread.train.compact_model import CompactForTraining, TorchBackend
from quillread.train.config import ScheduleConfig, TrainConfig
from quillread.train.family import decay_groups

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
        engine = CtcEngine(TorchBackend(self.network.network, mixed), self.info, batch_size=16)
        return LineRecognizer(engine, self.info, self._cache)

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
        state, own = _known_state(config.start, config), network.state_dict()
        if config.allow_partial:
            state = _shared_layers(state, own)
        wrong = [n for n, v in own.items() if n in state and state[n].shape != v.shape]
        missing = [n for n in own if n not in state and not n.startswith("shortcut.") and "num_batches" not in n]
        if (wrong or missing) and not config.allow_partial:
            raise ModelError(
                f"{config.start}: is a network of another shape (first: {(wrong + missing)[0]})",
                hint="take over the layers that both have: --allow-partial",
            )
        network.load_state_dict({n: v for n, v in state.items() if n not in wrong}, strict=False)
    return network


def _teacher(config: TrainConfig) -> CompactNetwork | None:
    if not config.teacher:
        return None
    shape = read_info(resolve(config.teacher)).provenance.get("training", {}).get("network")
    if shape is None:
        raise ModelError(f"{config.teacher}: does not say what network it is", hint="take a model of `quill train`")
    network = CompactNetwork(configs.build(CompactConfig, shape), len(Charset(config.charset)))
    network.load_state_dict(_known_state(config.teacher, config), strict=False)
    return network


def _known_state(name: str, config: TrainConfig) -> dict[str, torch.Tensor]:
    """Weights of a model that sees and says the same as that of a run."""
    folder = resolve(name)
    known = read_info(folder)
    if known.family != "compact":
        raise ModelError(f"{name}: is no compact model", hint=f"add --set family={known.family}")
    if known.charset != config.charset or known.ink != config.ink:
        raise ModelError(f"{name}: has another charset or ink measure than this run asks for")
    return {name: torch.from_numpy(value.copy()) for name, value in read_weights(folder / ONNX_NAME).items()}


def _shared_layers(state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of another network for the layers of this: the first blocks of each stage, by their new numbers."""
    theirs, ours = (_stage_starts(names) for names in (state, own))
    result = {}
    for name in own:
        source = name
        if name.startswith("stages."):
            _, number, rest = name.split(".", 2)
            stage = bisect.bisect_right(ours, int(number)) - 1
            block = theirs[stage] + int(number) - ours[stage]
            if block >= (*theirs, math.inf)[stage + 1]:
                continue  # their stage has fewer blocks
            source = f"stages.{block}.{rest}"
        if source in state:
            result[name] = state[source]
    return result


def _stage_starts(names: Iterable[str]) -> list[int]:
    """Numbers of the blocks that begin a stage: the first, and those whose skip connection changes the shape."""
    return sorted({0} | {int(name.split(".")[1]) for name in names if name.endswith("skip.0.weight")})
