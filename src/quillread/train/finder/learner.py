"""The line-finding network while it learns: settings, loss, averaged weights, and how the line finder calls it."""

import copy
import io
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from quillread.data.spec import DataSpec
from quillread.errors import ConfigError, DataError, TrainingError
from quillread.files import write_atomic
from quillread.models.page import PageNetConfig, read_page_weights
from quillread.models.page_net import PageNetwork
from quillread.train.arguments import choose_precision
from quillread.train.finder.page_looks import PageDataConfig

log = logging.getLogger(__name__)

CHECKPOINT_NAME = "checkpoint.pt"
METRICS_NAME = "metrics.jsonl"
_TURN_WEIGHT = 0.1
_DICE_WEIGHT = 0.5


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """One training of a line finder."""

    pages: tuple[Path, ...] = ()
    """Folders of page images with a PAGE or ALTO file each."""
    lines: tuple[DataSpec, ...] = ()
    """Sources of lines, as those of `quill train`, that synthetic pages are written with."""
    validation: tuple[Path, ...] = ()
    """Folders of pages, one for each collection, that are measured now and then; nothing is chosen by them."""
    synthetic: int = 800
    """How many synthetic pages are made."""
    start: Path | None = None
    """ONNX file of a line finder of the same shape whose weights the training starts from; lower the rate with it."""
    network: PageNetConfig = field(default_factory=PageNetConfig)
    look: PageDataConfig = field(default_factory=PageDataConfig)
    batch_size: int = 16
    """Squares cut out of pages in one step."""
    steps: int = 4000
    """Steps in which the rate falls to zero."""
    minutes: float | None = None
    """The run ends, and the rate falls to zero, this long after the start, if `steps` are not done before."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 0.01
    warmup: float = 0.05
    """Share of the run in which the rate rises."""
    average: float = 0.998
    """Share of the averaged weights that a step keeps; they are what is written."""
    every: int = 250
    """Steps from one validation and checkpoint to the next."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """As in the training of lines: auto, bf16 or fp32."""
    workers: int | None = None
    """Processes that make pages; if not set, one on a CPU, up to 12 on a GPU."""
    seed: int = 1

    def __post_init__(self) -> None:
        if not (self.pages or (self.lines and self.synthetic)):
            raise ConfigError("no pages and no lines to train on", hint="name pages, lines, or both")
        for name in ("batch_size", "steps", "every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.minutes is not None and self.minutes <= 0:
            raise ConfigError(f"minutes must be above 0, got {self.minutes}")
        if not (0 < self.warmup < 1 and 0 <= self.average < 1):
            raise ConfigError(f"warmup {self.warmup} and average {self.average} must be shares below 1")
        if self.network.multiple > self.look.side or self.look.side % self.network.multiple:
            raise ConfigError(f"look.side {self.look.side} must be a multiple of {self.network.multiple}")


def page_loss(logits: Tensor, turns: Tensor, maps: Tensor, known: Tensor, turn: Tensor) -> Tensor:
    """Cross-entropy and Dice of the known parts of the maps, and cross-entropy of the turn.

    Args:
        logits: Of the maps, float (N, 4, h, w).
        turns: Logits of the turn, float (N, 4).
        maps: What they should be, 0 or 1, (N, 4, h, w).
        known: 1 where `maps` is known, (N, h, w).
        turn: int64 (N,).
    """
    truth, weight = maps.float(), known.float()[:, None]
    total = weight.sum().clamp(min=1) * maps.shape[1]
    entropy = nn.functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    found = logits.sigmoid() * weight
    overlap = (found * truth).sum(dim=(0, 2, 3))
    both = found.sum(dim=(0, 2, 3)) + (truth * weight).sum(dim=(0, 2, 3))
    # With 1 added above and below, a map with nothing on it that finds nothing costs nothing.
    dice = 1 - (2 * overlap + 1) / (both + 1)
    loss = (entropy * weight).sum() / total + _DICE_WEIGHT * dice.mean()
    return loss + _TURN_WEIGHT * nn.functional.cross_entropy(turns, turn)


class AveragedWeights:
    """The exponential moving average of a network's weights, which marks better than the weights of any one step.

    Args:
        network: Whose weights are followed.
        decay: Share that the average keeps at each step.
    """

    def __init__(self, network: PageNetwork, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    @torch.no_grad()
    def follow(self, network: PageNetwork, step: int) -> None:
        """Take a step's weights in; the first steps count for less long."""
        decay = min(self._decay, (1 + step) / (10 + step))
        own, new = self.network.state_dict(), network.state_dict()
        floats = [name for name, value in own.items() if value.is_floating_point()]
        torch._foreach_lerp_([own[name] for name in floats], [new[name] for name in floats], 1 - decay)


class TorchPageBackend:
    """The network in training, as the line finder calls it."""

    def __init__(self, network: PageNetwork) -> None:
        self._network = network

    def __call__(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """See `PageBackend`."""
        was_training = self._network.training
        self._network.eval()
        device = next(self._network.parameters()).device
        try:
            with torch.inference_mode():
                maps, turn = self._network(torch.from_numpy(pixels).to(device)[None, None])
                return maps[0].sigmoid().float().cpu().numpy(), turn[0].softmax(-1).float().cpu().numpy()
        finally:
            self._network.train(was_training)


class Learner:
    """A network under training, and the record of its steps.

    Args:
        config: Network and schedule.
        output: Folder of the run.
    """

    def __init__(self, config: SegmenterConfig, output: Path) -> None:
        self._config, self._output = config, output
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._half = choose_precision(config.precision) == "bf16"
        torch.manual_seed(config.seed)
        self.network = PageNetwork(config.network).to(self._device)
        if config.start:
            self._start_from(config.start)
        # Faster on a GPU; on CPUs torch 2.13 crashes in it on layers of few channels.
        self._layout = torch.channels_last if self._device.type == "cuda" else torch.contiguous_format
        self.network.to(memory_format=self._layout)  # type: ignore[call-overload]  # its stubs lack the keyword
        self.average = AveragedWeights(self.network, config.average)
        # Norms and biases are not pulled to zero.
        flat = [p for p in self.network.parameters() if p.ndim < 2]
        deep = [p for p in self.network.parameters() if p.ndim >= 2]
        self._optimizer = torch.optim.AdamW(
            [{"params": deep, "weight_decay": config.weight_decay}, {"params": flat, "weight_decay": 0.0}]
        )
        self.step = 0
        self.seconds_before = 0.0
        self._losses: list[Tensor] = []

    def _start_from(self, path: Path) -> None:
        weights = {name: torch.from_numpy(value.copy()) for name, value in read_page_weights(path).items()}
        counts = {name for name in self.network.state_dict() if name.endswith("num_batches_tracked")}
        try:
            missing = set(self.network.load_state_dict(weights, strict=False).missing_keys) - counts
        except RuntimeError as error:
            raise ConfigError(f"{path}: has another shape than network: {error}") from error
        if missing:
            raise ConfigError(f"{path}: has another shape than network: it lacks {sorted(missing)[0]}")

    def train_on(self, batch: tuple[Tensor, ...], share: float) -> None:
        """Make one step; `share` of the run lies behind it."""
        warmup = self._config.warmup
        falling = 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))
        for group in self._optimizer.param_groups:
            group["lr"] = self._config.learning_rate * (share / warmup if share < warmup else falling)
        pixels, maps, known, turn = (part.to(self._device, non_blocking=True) for part in batch)
        pixels = pixels.float().contiguous(memory_format=self._layout)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            logits, turns = self.network(pixels)
        loss = page_loss(logits.float(), turns.float(), maps, known, turn)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # its stubs are not typed
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self._optimizer.step()
        self.step += 1
        self.average.follow(self.network, self.step)
        self._losses.append(loss.detach())

    def save(self, seconds: float, measure: Callable[[PageNetwork], dict[str, float]]) -> None:
        """Measure, add to the record, and write a checkpoint, unless that was done after the last step.

        Raises:
            TrainingError: If the loss is not a number any more.
        """
        if not self._losses:
            return
        loss = float(torch.stack(self._losses).mean())
        if not math.isfinite(loss):
            raise TrainingError(f"the training diverged before step {self.step}", hint="lower learning_rate")
        self._losses = []
        facts = {"step": self.step, "seconds": round(seconds, 1), "loss": round(loss, 5)}
        facts |= measure(self.average.network)
        log.info("%s", ", ".join(f"{name} {value}" for name, value in facts.items()))
        path = self._output / METRICS_NAME
        before = path.read_bytes() if path.is_file() else b""
        write_atomic(path, before + (json.dumps(facts) + "\n").encode())
        state = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "step": self.step,
            "seconds": seconds,
        }
        content = io.BytesIO()
        torch.save(state, content)
        write_atomic(self._output / CHECKPOINT_NAME, content.getvalue())

    def load(self) -> None:
        """Go on from the checkpoint."""
        path = self._output / CHECKPOINT_NAME
        try:
            state = torch.load(path, map_location=self._device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.network.load_state_dict(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds_before = int(state["step"]), float(state["seconds"])
        except (KeyError, RuntimeError, ValueError, EOFError, OSError) as error:
            raise DataError(f"{path}: is not a checkpoint of this network: {error}") from error
