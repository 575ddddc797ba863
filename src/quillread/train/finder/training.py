"""The training of the line finder: pages in, an ONNX file out."""

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from quillread import config as configs
from quillread.data.spec import open_source
from quillread.errors import ConfigError
from quillread.evaluate.baselines import mean_score, score_page
from quillread.files import write_json
from quillread.images.read import open_document
from quillread.models.page import PageView, view_page, write_page_onnx
from quillread.models.page_net import PageNetwork
from quillread.pages.neural import mark_baselines
from quillread.train.arguments import choose_workers
from quillread.train.batch_workers import start_worker
from quillread.train.finder.learner import CHECKPOINT_NAME, Learner, SegmenterConfig, TorchPageBackend
from quillread.train.finder.page_looks import PageDataset
from quillread.train.finder.page_samples import PageSample, load_pages, pages_with_lines
from quillread.train.finder.page_synthesis import SyntheticPages
from quillread.train.run_folder import CONFIG_NAME, refuse_changes
from quillread.types import Progress

log = logging.getLogger(__name__)

MODEL_NAME = "lines.onnx"
_MAY_CHANGE = ("steps", "minutes", "workers")
"""Settings that a resumed run may have other than the first."""


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
        ConfigError: If `output` holds files and `resume` is not set, there is nothing to resume, or the run there was
            started with other settings than `steps`, `minutes` and `workers`.
        DataError: If pages or sources are missing or malformed.
    """
    start = clock()
    if not resume and output.is_dir() and any(output.iterdir()):
        raise ConfigError(f"{output}: is not empty", hint="resume the run in it, or name another folder")
    if resume and not (output / CHECKPOINT_NAME).is_file():
        raise ConfigError(f"{output}: holds no checkpoint to resume from")
    if resume:
        _check_same_settings(config, output)
    cv2.setNumThreads(1)  # OpenCV's pool of threads does not survive the fork of the loader's workers
    validation = _Validation(config.validation)
    real = load_pages(config.pages)
    workers = choose_workers(config.workers, 1)
    synthetic = _make_synthetic(config, workers)
    log.info("%d real and %d synthetic pages after %.0f s", len(real), len(synthetic), clock() - start)
    learner = Learner(config, output)
    if resume:
        learner.load()
    write_json(output / CONFIG_NAME, configs.dump(config))
    data = PageDataset(
        real,
        synthetic,
        config.look,
        config.steps * config.batch_size,
        config.seed,
        # A resumed run goes on with the pages that come next: making the old ones again would take as long as before.
        first=learner.step * config.batch_size,
    )
    begun = clock()
    # The time that making the pages took is not there for training.
    limit = max(1.0, 60 * config.minutes - (begun - start)) if config.minutes else math.inf
    for batch in _load(data, config.batch_size, workers):
        seconds = learner.seconds_before + clock() - begun
        share = max(learner.step / config.steps, seconds / limit)
        if share >= 1:
            break
        learner.train_on(batch, share)
        if progress:
            progress(learner.step, config.steps)
        if learner.step % config.every == 0:
            learner.save(seconds, validation.measure)
    learner.save(learner.seconds_before + clock() - begun, validation.measure)
    weights = {name: value.float().cpu().numpy() for name, value in learner.average.network.state_dict().items()}
    write_page_onnx(weights, config.network, output / MODEL_NAME)
    return output / MODEL_NAME


def _check_same_settings(config: SegmenterConfig, output: Path) -> None:
    path = output / CONFIG_NAME
    if not path.is_file():
        raise ConfigError(f"{path}: the settings of the run to resume are missing", hint="start a new run")
    first = configs.build(SegmenterConfig, configs.read_yaml(path), str(path))  # JSON is YAML
    refuse_changes(configs.dump(first), configs.dump(config), _MAY_CHANGE, output)


class _Validation:
    """Pages with known lines, reduced once.

    Args:
        folders: One for each collection.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        found = {folder.name: pages_with_lines(folder) for folder in folders}
        self._pages = {name: [_view(image, number) for image, number, _ in pages] for name, pages in found.items()}
        self._truth = {name: [page.lines for _, _, page in pages] for name, pages in found.items()}

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


def _view(path: Path, number: int) -> PageView:
    with open_document(path) as document:
        return view_page(document.page(number - 1))


def _make_synthetic(config: SegmenterConfig, workers: int) -> list[PageSample]:
    """Make all synthetic pages, in parallel."""
    if not config.lines:
        return []
    sources = [open_source(spec, "train") for spec in config.lines]
    pages = SyntheticPages(sources, config.synthetic, config.seed)
    loader = DataLoader(pages, batch_size=None, num_workers=workers, collate_fn=_as_it_is, worker_init_fn=start_worker)
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
        worker_init_fn=start_worker,
    )
    yield from map(tuple, loader)


def _as_it_is(item: Any) -> Any:
    return item
