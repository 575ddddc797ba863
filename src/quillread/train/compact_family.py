"""The compact family under training: its network with the loss, the weights it starts from, its model folder."""

import bisect
import contextlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from quillread import config as configs
from quillread.decode.ctc import LogProbs
from quillread.errors import ModelError
from quillread.images.fit import InkConfig
from quillread.images.preprocess import StepCache
from quillread.models.catalog import resolve
from quillread.models.compact.network import CompactNetwork
from quillread.models.compact.onnx_file import COLUMN_WIDTH, CompactConfig, read_weights, write_onnx
from quillread.models.model_folder import ONNX_NAME, ModelInfo, read_info, share_weights, write_info
from quillread.recognize.ctc import CtcEngine
from quillread.recognize.recognizer import LineRecognizer
from quillread.text.charset import BLANK, Charset
from quillread.train.compact_form import CompactForm
from quillread.train.config import ScheduleConfig, TrainConfig
from quillread.train.families import decay_groups
from quillread.train.new_letters import grow_head

log = logging.getLogger(__name__)

WEIGHTS_NAME = "model.safetensors"

_BATCH = 16
"""Most lines in one call of the network, when it reads."""


class CompactForTraining(nn.Module):
    """The network with its CTC loss.

    Args:
        network: The network.
        shortcut: Weight of the shortcut head's loss beside that of the main head; 0 leaves that head out.
        teacher: A network of the same charset whose columns this one learns to give, too (Hinton et al. 2015,
            "Distilling the Knowledge in a Neural Network"): the divergence from them is added to the loss.
    """

    def __init__(self, network: CompactNetwork, shortcut: float, teacher: CompactNetwork | None = None) -> None:
        super().__init__()
        self.network = network
        self._teacher = [teacher.eval().requires_grad_(False)] if teacher else []  # a list: no part of what is saved
        self._shortcut = shortcut
        if not shortcut:
            network.shortcut.requires_grad_(False)

    def forward(self, pixels: Tensor, widths: Tensor, labels: Tensor, label_lengths: Tensor) -> dict[str, Tensor]:
        """Losses of a batch as `CompactForm.collate` makes it: for each line the CTC loss per character, in nats."""
        logits, shortcut = self.network(pixels)
        # Two columns beyond the image may carry the end of a character cut at the edge.
        columns = torch.clamp(widths.div(COLUMN_WIDTH, rounding_mode="floor") + 2, max=logits.shape[1])

        def losses(scores: Tensor) -> Tensor:
            log_probs = scores.float().log_softmax(-1).transpose(0, 1)
            per_line = nn.functional.ctc_loss(
                log_probs, labels, columns, label_lengths, blank=BLANK, reduction="none", zero_infinity=True
            )
            return per_line / label_lengths

        total = losses(logits)
        if self._shortcut:
            total = total + self._shortcut * losses(shortcut)
        if self._teacher:
            total = total + self._divergence(logits, pixels, columns) / label_lengths
        return {"losses": total}

    def _divergence(self, logits: Tensor, pixels: Tensor, columns: Tensor) -> Tensor:
        """Kullback-Leibler divergence of each line from what the teacher gives, summed over its columns."""
        with torch.no_grad():
            wanted = self._teacher[0].to(pixels.device)(pixels)[0].float().log_softmax(-1)
        given = logits.float().log_softmax(-1)
        by_column = nn.functional.kl_div(given, wanted, reduction="none", log_target=True).sum(-1)
        inside = torch.arange(by_column.shape[1], device=columns.device) < columns[:, None]
        return (by_column * inside).sum(1)


class TorchBackend:
    """A network in torch: a `CtcBackend`.

    Args:
        network: In whatever mode; it is run in evaluation mode and put back.
        mixed: Number type of mixed precision, or None for float32.
    """

    def __init__(self, network: CompactNetwork, mixed: torch.dtype | None = None) -> None:
        self._network = network
        self._mixed = mixed

    def __call__(self, lines: Sequence[NDArray[np.float32]]) -> list[LogProbs]:
        """Map lines, float32 (h, W) each, to log probabilities, float32 (W / 4, classes) each, in order."""
        by_width: dict[int, list[int]] = {}
        for i, line in enumerate(lines):
            by_width.setdefault(line.shape[1], []).append(i)
        seen: dict[int, LogProbs] = {}
        for members in by_width.values():
            for start in range(0, len(members), _BATCH):
                part = members[start : start + _BATCH]
                seen |= zip(part, self._run(np.stack([lines[i][None] for i in part])), strict=True)
        return [seen[i] for i in range(len(lines))]

    def _run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map float32 (N, 1, h, W) to log probabilities float32 (N, W / 4, classes)."""
        device = next(self._network.parameters()).device
        was_training = self._network.training
        self._network.eval()
        context = torch.autocast(device.type, self._mixed) if self._mixed else contextlib.nullcontext()
        try:
            with torch.inference_mode(), context:
                logits, _ = self._network(torch.from_numpy(pixels).to(device))
                return np.asarray(logits.float().log_softmax(-1).cpu().numpy(), np.float32)
        finally:
            self._network.train(was_training)


class CompactFamily:
    """A compact network under training; see `Family`."""

    can_split = False  # batch normalisation looks at all lines at once

    def __init__(self, config: TrainConfig, cache: StepCache | None = None) -> None:
        self.form = CompactForm(config, cache)
        self._cache = cache
        self.network = CompactForTraining(_network(config), config.compact.shortcut, _teacher(config))
        self.info = ModelInfo(
            family="compact",
            name=config.name,
            preprocess=config.preprocess,
            charset=config.compact.charset,
            ink=config.compact.ink,
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
        share_weights(folder)

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
    network = CompactNetwork(config.compact.network, len(Charset(config.compact.charset)))
    if config.start:
        _, state = _known(config.start, config)
        if config.allow_partial:
            state = _shared_layers(state, network.state_dict())
            missing = sum(name not in state for name in _needed(network))
            log.info("%s: %d tensors are taken over, %d start at random", config.start, len(state), missing)
        _fill(network, state, config.start, partial=config.allow_partial)
    return network


def _teacher(config: TrainConfig) -> CompactNetwork | None:
    if not config.teacher:
        return None
    info, state = _known(config.teacher, config)
    shape = info.provenance.get("training", {}).get("network")
    if shape is None:
        raise ModelError(f"{config.teacher}: does not say what network it is", hint="name a model of `quill train`")
    if info.preprocess != config.preprocess:
        raise ModelError(f"{config.teacher}: cleans lines in another way than this run (preprocess)")
    network = CompactNetwork(configs.build(CompactConfig, shape), len(Charset(info.charset)))
    _fill(network, state, config.teacher, partial=False)
    return network


def _known(name: str, config: TrainConfig) -> tuple[ModelInfo, dict[str, Tensor]]:
    """A model that takes and says the same as that of a run, and its weights."""
    folder = resolve(name)
    info = read_info(folder)
    if info.family != "compact":
        hint = f"set family={info.family}" if name == config.start else "a teacher must be a compact model"
        raise ModelError(f"{name}: is not a compact model", hint=hint)
    charset = config.compact.charset
    if not charset.startswith(info.charset) or (name == config.teacher and charset != info.charset):
        raise ModelError(f"{name}: has another charset than this run", hint="set charset to that of the model")
    if info.ink != config.compact.ink:
        raise ModelError(
            f"{name}: measures ink in another way than this run: {info.ink}, not {config.compact.ink}",
            hint=f"set {_changes(config.compact.ink, info.ink)}",
        )
    state = {key: torch.from_numpy(value.copy()) for key, value in read_weights(folder / ONNX_NAME).items()}
    return info, grow_head(state, info.charset, charset, config.seed)


def _changes(ours: InkConfig, theirs: InkConfig) -> str:
    """The settings that measure ink as another model does."""
    before, wanted = configs.dump(ours), configs.dump(theirs)
    changed = [f"ink.{name}={value}" for name, value in wanted.items() if before[name] != value]
    return " ".join([*changed, *([f"network.height={theirs.height}"] if ours.height != theirs.height else [])])


def _fill(network: CompactNetwork, state: Mapping[str, Tensor], name: str, *, partial: bool) -> None:
    own = network.state_dict()
    wrong = [n for n, v in own.items() if n in state and state[n].shape != v.shape]
    missing = [n for n in _needed(network) if n not in state]
    if (wrong or missing) and not partial:
        hint = "set allow_partial=true to start from the layers that both have"
        raise ModelError(f"{name}: is a network of another shape (first: {(wrong + missing)[0]})", hint=hint)
    network.load_state_dict(state, strict=False)


def _needed(network: CompactNetwork) -> list[str]:
    """Names of the tensors that a model folder keeps."""
    return [n for n in network.state_dict() if not n.startswith("shortcut.") and "num_batches" not in n]


def _shared_layers(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of another network for the layers of this: the first blocks of each stage, by their new numbers.

    Of convolutions with more channels come the first ones. Other layers come whole or not at all, each with the norm
    behind it.
    """
    theirs, ours = (_stage_starts(names) for names in (state, own))
    found: dict[str, Tensor] = {}
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


def _first_channels(value: Tensor, shape: torch.Size) -> Tensor:
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
