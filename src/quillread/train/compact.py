"""The compact family under training."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from quillread.errors import ModelError
from quillread.images.cache import StepCache
from quillread.models.catalog import resolve
from quillread.models.checkpoint import ONNX_NAME, ModelInfo, read_info, write_info
from quillread.models.compact import CompactNetwork
from quillread.models.compact_config import COLUMN_WIDTH
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
        self.network = CompactForTraining(_network(config))
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
        folder = resolve(config.start)
        known = read_info(folder)
        if known.family != "compact":
            raise ModelError(f"{config.start}: is no compact model", hint=f"add --set family={known.family}")
        if known.charset != config.charset or known.ink != config.ink:
            raise ModelError(f"{config.start}: has another charset or ink measure than this run asks for")
        state = {name: torch.from_numpy(value.copy()) for name, value in read_weights(folder / ONNX_NAME).items()}
        own = network.state_dict()
        wrong = [n for n, v in own.items() if n in state and state[n].shape != v.shape]
        missing = [n for n in own if n not in state and not n.startswith("shortcut.") and "num_batches" not in n]
        if wrong or missing:
            raise ModelError(f"{config.start}: is a network of another shape (first: {(wrong + missing)[0]})")
        network.load_state_dict(state, strict=False)
    return network
