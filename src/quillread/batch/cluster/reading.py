"""One call of `quill batch`: what is read, what it is read with, and where the rows go."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quillread.batch.cluster.batch import Batch
from quillread.batch.cluster.ledger import LEDGER, Ledger
from quillread.batch.cluster.metrics import RunMetrics
from quillread.batch.cluster.plan import Plan
from quillread.batch.cluster.pool import Pool, PoolConfig, RayPool, running_ray
from quillread.batch.cluster.progress import Progress
from quillread.batch.cluster.rows import column_names
from quillread.batch.cluster.shipping import pack
from quillread.batch.cluster.sources import Source, absolute_arguments
from quillread.batch.cluster.store import Store
from quillread.batch.cluster.tasks import FILES, ROOM
from quillread.batch.cluster.worker import WorkerConfig
from quillread.models.catalog import describe
from quillread.options import Provenance, ReadOptions

_FILL_A_GPU = 4
"""Pages whose lines fill a batch of TrOCR; meanwhile the lines of others are found on the CPU."""


@dataclass(frozen=True, slots=True)
class BatchConfig:
    """What is read, with what, and where the rows go."""

    sources: tuple[str, ...]
    """Folders, patterns, tables, archives, collections, files and addresses."""
    target: str
    """A folder, or an address that fsspec supports."""
    options: ReadOptions
    column: str | None = None
    """Of tables: which holds the addresses."""
    formats: tuple[str, ...] = ()
    """Of the files of each page or document."""
    retry_failed: bool = False
    pool: PoolConfig = field(default_factory=PoolConfig)
    abreast: int | None = None
    """Pages that a worker reads at the same time; if not given, as many as fill a GPU, and one without a GPU."""


def read_batch(
    config: BatchConfig,
    on_progress: Callable[[Progress], None] = lambda _: None,
    pool: Callable[[WorkerConfig], Pool] | None = None,
) -> Progress:
    """Read a batch, or go on with one.

    Args:
        config: What, with what, and where to.
        on_progress: Told now and then how far it is.
        pool: Makes the workers, in place of those of Ray.

    Raises:
        QuillreadError: If the inputs cannot be listed, the target cannot be written or is one of other settings, or the
            workers cannot work. What was read until then is in the target.
    """
    # One thread a worker: as many workers as there are cores do more than one worker with as many threads.
    options = config.options.changed(threads=config.options.threads or 1)
    if options.segmentation is not None:
        options = options.changed(segmentation=options.segmentation.absolute())
    store = Store(config.target)
    source = Source(config.sources, config.column, options.read.web, store.root)
    types = source.types()
    provenance = dict(Provenance(options))
    ledger = Ledger(store)
    is_new = not ledger.open(_settings(config, types, provenance))
    ledger.claim({**Progress().plain(), "ended": False})
    worker = WorkerConfig(options, _absolute(store), provenance, types, config.formats, _abreast(config))
    plan = Plan(ledger, source.items)
    batch = Batch(ledger, plan, retry_failed=config.retry_failed)
    batch.listeners.append(on_progress)
    try:
        with ledger.signs_of_life():
            store.clear_parts((LEDGER, ROOM, FILES))
            batch.load()
            plan.start()
            if pool is not None:
                _run(batch, pool(worker))
            else:
                cargo = pack(options)
                with running_ray(config.pool, cargo):
                    batch.listeners.append(RunMetrics())
                    _run(batch, RayPool(config.pool, worker, cargo))
    finally:
        plan.close()
        if is_new and not plan.inputs:  # a mistyped SOURCE must not keep the target from the right one
            ledger.forget()
        ledger.tell({**batch.progress.plain(), "ended": True})
    return batch.progress


def _run(batch: Batch, pool: Pool) -> None:
    try:
        batch.run(pool)
    finally:
        pool.close()


def _abreast(config: BatchConfig) -> int:
    """Pages that a worker reads at the same time. Compact models read line by line: more would gain nothing."""
    if config.abreast is not None:
        return config.abreast
    on_gpu = config.pool.gpus_per_worker > 0
    is_trocr = any(describe(name).info.family == "trocr" for name in config.options.loaded)
    return _FILL_A_GPU if on_gpu and is_trocr else 1


def _settings(config: BatchConfig, types: Mapping[str, str], provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What two runs on one target must have in common."""
    return {
        "source": list(absolute_arguments(config.sources)),
        "column": config.column,
        "columns": {name: {"type": kind, "as": column_names(types)[name]} for name, kind in types.items()},
        "formats": list(config.formats),
        "reading": _by_content(provenance),
    }


def _by_content(value: Any) -> Any:
    """Provenance without names where there is content: a model folder may have another name by now."""
    if isinstance(value, dict):
        hidden = "name" if "content" in value else "model"
        return {name: _by_content(part) for name, part in value.items() if name != hidden}
    return [_by_content(part) for part in value] if isinstance(value, list) else value


def _absolute(store: Store) -> str:
    """The address of the target, wherever a worker runs."""
    return store.root if store.is_local else store.address
