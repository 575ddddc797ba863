"""The training of the line finder: pages in, an ONNX file out."""

import io
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from quillread import config as configs
from quillread.data.spec import open_source, parse_spec
from quillread.errors import ConfigError, DataError, TrainingError
from quillread.evaluate.baselines import mean_score, score_page
from quillread.files import write_atomic
from quillread.formats.layout import find_image, find_layouts
from quillread.images.page_view import PageView, view_page
from quillread.images.read import open_document
from quillread.models.page import PageNetConfig, read_page_weights, write_page_onnx
from quillread.models.page_net import PageNetwork
from quillread.pages.neural import mark_baselines
from quillread.train.arguments import choose_precision, choose_workers
from quillread.train.dataset import leave_group
from quillread.train.page_data import PageDataConfig, PageDataset, SyntheticPages, load_pages
from quillread.train.page_targets import PageSample
from quillread.train.run_folder import CONFIG_NAME, write_json
from quillread.train.segmenter_model import AveragedWeights, TorchPageBackend, page_loss
from quillread.types import Progress

log = logging.getLogger(__name__)

MODEL_NAME = "lines.onnx"
METRICS_NAME = "metrics.jsonl"
_CHECKPOINT_NAME = "checkpoint.pt"


@dataclass(frozen=True, slots=True)
class SegmenterConfig:
    """One training of a line finder."""

    pages: tuple[Path, ...] = ()
    """Folders of page images with a PAGE or ALTO file each."""
    lines: tuple[str, ...] = ()
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
    precision: str = "auto"
    """As in the training of lines: auto, bf16 or fp32."""
    workers: int | None = None
    """Processes that make pages; left out: one on a CPU, up to 12 on a GPU."""
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
        if self.precision not in ("auto", "bf16", "fp32"):
            raise ConfigError(f"precision must be auto, bf16 or fp32, got {self.precision!r}")
        if self.network.multiple > self.look.side or self.look.side % self.network.multiple:
            raise ConfigError(f"look.side {self.look.side} must be a multiple of {self.network.multiple}")


def train_segmenter(
    config: SegmenterConfig,
    output: Path,
    clock: Callable[[], float],
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a line finder.

    Writes into `output`: `train.json`, `metrics.jsonl`, `checkpoint.pt` now and then, and at the end `lines.onnx`,
    which `quill read --segmenter` takes.

    Args:
        config: Pages, network and schedule.
        output: Folder of the run.
        clock: Seconds since any moment.
        resume: Go on from the checkpoint in `output`.
        progress: Told of the steps.

    Returns:
        The ONNX file.

    Raises:
        ConfigError: If `output` holds files and `resume` is not set, or there is nothing to resume.
        DataError: If pages or sources are missing or malformed.
    """
    start = clock()
    if not resume and output.is_dir() and any(output.iterdir()):
        raise ConfigError(f"{output}: is not empty", hint="add --resume to go on, or name another --output")
    if resume and not (output / _CHECKPOINT_NAME).is_file():
        raise ConfigError(f"{output}: holds no checkpoint to resume from")
    cv2.setNumThreads(1)  # OpenCV's pool of threads does not survive the fork of the loader's workers
    validation = _Validation(config.validation)
    real = load_pages(config.pages)
    workers = choose_workers(config.workers, 1)
    synthetic = _make_synthetic(config, workers)
    log.info("%d real and %d synthetic pages after %.0f s", len(real), len(synthetic), clock() - start)
    run = _Run(config, output)
    if resume:
        run.load()
    write_json(output / CONFIG_NAME, configs.dump(config))
    data = PageDataset(
        real,
        synthetic,
        config.look,
        config.steps * config.batch_size,
        config.seed,
        # A resumed run goes on with the pages that come next: making the old ones again would take as long as before.
        first=run.step * config.batch_size,
    )
    begun = clock()
    # The time that making the pages took is not there for training.
    limit = max(1.0, 60 * config.minutes - (begun - start)) if config.minutes else math.inf
    for batch in _load(data, config.batch_size, workers):
        seconds = run.seconds_before + clock() - begun
        share = max(run.step / config.steps, seconds / limit)
        if share >= 1:
            break
        run.train_on(batch, share)
        if progress:
            progress(run.step, config.steps)
        if run.step % config.every == 0:
            run.save(seconds, validation)
    run.save(run.seconds_before + clock() - begun, validation)
    weights = {name: value.float().cpu().numpy() for name, value in run.average.network.state_dict().items()}
    write_page_onnx(weights, config.network, output / MODEL_NAME)
    return output / MODEL_NAME


class _Run:
    """The state of a training."""

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

    def save(self, seconds: float, validation: "_Validation") -> None:
        """Measure, add to the record, and write a checkpoint, unless that was done after the last step.

        Raises:
            TrainingError: If the loss is no number any more.
        """
        if not self._losses:
            return
        loss = float(torch.stack(self._losses).mean())
        if not math.isfinite(loss):
            raise TrainingError(f"the training diverged before step {self.step}", hint="lower learning_rate")
        self._losses = []
        facts = {"step": self.step, "seconds": round(seconds, 1), "loss": round(loss, 5)}
        facts |= validation.measure(self.average.network)
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
        write_atomic(self._output / _CHECKPOINT_NAME, content.getvalue())

    def load(self) -> None:
        """Go on from the checkpoint."""
        path = self._output / _CHECKPOINT_NAME
        try:
            state = torch.load(path, map_location=self._device, weights_only=True)
            self.network.load_state_dict(state["network"])
            self.average.network.load_state_dict(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds_before = int(state["step"]), float(state["seconds"])
        except (KeyError, RuntimeError, ValueError, EOFError, OSError) as error:
            raise DataError(f"{path}: is no checkpoint of this network: {error}") from error


class _Validation:
    """Pages with known lines, reduced once.

    Args:
        folders: One for each collection.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._pages = {
            folder.name: [_view(find_image(p, page)) for p, page in find_layouts(folder)] for folder in folders
        }
        self._truth = {folder.name: [page.lines for _, page in find_layouts(folder)] for folder in folders}

    def measure(self, network: PageNetwork) -> dict[str, float]:
        """Find the baselines of the pages with the network alone; precision, recall and F1 for each collection."""
        backend = TorchPageBackend(network)
        facts = {}
        for name, views in self._pages.items():
            found = [mark_baselines(view, backend) for view in views]
            score = mean_score([score_page(*pair) for pair in zip(self._truth[name], found, strict=True)])
            for part in ("precision", "recall", "f1"):
                facts[f"{name}_{part}"] = round(getattr(score, part), 4)
        return facts


def _view(path: Path) -> PageView:
    with open_document(path) as document:
        return view_page(document.page(0))


def _make_synthetic(config: SegmenterConfig, workers: int) -> list[PageSample]:
    """Make all synthetic pages, in parallel."""
    if not config.lines:
        return []
    sources = [open_source(parse_spec(text), "train") for text in config.lines]
    pages = SyntheticPages(sources, config.synthetic, config.seed)
    loader = DataLoader(pages, batch_size=None, num_workers=workers, collate_fn=_as_it_is, worker_init_fn=leave_group)
    return list(loader)


def _load(data: Dataset[Any], batch_size: int, workers: int) -> Iterator[tuple[Tensor, ...]]:
    """Batches in the order of their numbers, made in worker processes."""
    loader = DataLoader(
        data,
        batch_size,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=leave_group,
    )
    yield from map(tuple, loader)


def _as_it_is(item: Any) -> Any:
    return item
