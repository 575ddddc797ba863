"""Measure on this machine what `scale_model.py` simulates with: a page, a task, a worker's start, a commit.

    python benchmarks/scale_figures.py --root DIR --json benchmarks/results/scale_figures.json

Pages are read as a worker of `quill batch` reads them, without Ray, by one process and by one for each core at the same
time. Nothing is taken from a run of `quill batch`, so that a prediction can be held against one.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs import EXAMPLES
from record import describe_machine, save

from quillread.batch.cluster.ledger import Ledger
from quillread.batch.cluster.plan import Plan
from quillread.batch.cluster.pool import PoolConfig, RayPool, running_ray
from quillread.batch.cluster.shipping import pack
from quillread.batch.cluster.store import Store
from quillread.batch.cluster.tasks import Item, Task
from quillread.batch.cluster.worker import TaskWorker, WorkerConfig
from quillread.batch.executors import make_worker
from quillread.images.read import is_readable_name
from quillread.options import Provenance, ReadOptions


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=EXAMPLES, metavar="DIR", help="images of pages (examples)")
    parser.add_argument("--pages", type=int, default=16, metavar="N", help="to read in each process (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    paths = sorted(path for path in args.root.rglob("*") if path.is_file() and is_readable_name(path))
    if not paths:
        parser.error(f"{args.root}: holds no images")
    machine = describe_machine()
    figures = measure(paths, args.pages)
    print(json.dumps(figures, indent=2))
    if args.json:
        save(args.json, "scale_figures", machine, {"pages": args.pages, "figures": figures})


def measure(paths: Sequence[Path], pages: int) -> dict[str, Any]:
    """All figures, in seconds and bytes."""
    chosen = [paths[place % len(paths)] for place in range(pages)]
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        alone = read_at_once(chosen, 1, Path(folder, "alone"))
        together = read_at_once(chosen, cores, Path(folder, "together"))
        commit = commit_seconds(Path(folder, "ledger"))
        start = start_seconds(chosen[0], Path(folder, "start"), alone["seconds"][0])
    seconds = statistics.mean(alone["seconds"])
    return {
        "seconds_per_page": round(seconds, 4),
        "page_spread": round(statistics.pstdev(alone["seconds"]) / seconds, 3),
        "shared_slowdown": round(statistics.mean(together["seconds"]) / seconds, 3),
        "cores": cores,
        "bytes_in": round(statistics.mean(path.stat().st_size for path in chosen)),
        "bytes_out": round(alone["bytes"]),
        "task_seconds": round(alone["task"], 4),
        "worker_start": round(start, 2),
        "store_latency": round(commit, 5),
        "block_seconds": round(block_seconds(), 4),
    }


def read_at_once(paths: Sequence[Path], processes: int, folder: Path) -> dict[str, Any]:
    """Read the same pages in several processes at the same time; figures of all of them."""
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(processes), context.SimpleQueue()
    started = [
        context.Process(target=_read, args=(paths, folder / str(number), barrier, answers))
        for number in range(processes)
    ]
    for process in started:
        process.start()
    found = [answers.get() for _ in started]
    for process in started:
        process.join()
    return {
        "seconds": [seconds for one in found for seconds in one["seconds"]],
        "task": statistics.median(one["task"] for one in found),
        "bytes": statistics.mean(one["bytes"] for one in found),
    }


def _read(paths: Sequence[Path], folder: Path, barrier: Any, answers: Any) -> None:
    worker = TaskWorker(_config(folder), make_worker(_options()))
    tasks = [Task(f"000000-{n:04}", 0, (Item(p.name, str(p), f"{n}"),)) for n, p in enumerate(paths)]
    empty = [Task(f"000001-{n:04}", 0, ()) for n in range(9)]
    worker(tasks[0])  # the first pays for what is loaded late
    task = statistics.median(worker(one)["seconds"] for one in empty)
    barrier.wait()
    seconds = []
    for one in tasks:
        begin = time.perf_counter()
        worker(one)
        seconds.append(time.perf_counter() - begin - task)
    barrier.wait()  # none reads alone; the last of them is a little quicker
    size = statistics.mean(path.stat().st_size for path in folder.rglob("000000-*.parquet"))
    worker.close()
    answers.put({"seconds": seconds, "task": task, "bytes": size})


def _options() -> ReadOptions:
    return ReadOptions(threads=1)


def _config(folder: Path) -> WorkerConfig:
    return WorkerConfig(_options(), str(folder), dict(Provenance(_options())), {})


def commit_seconds(folder: Path) -> float:
    """Of a file of records in a folder of this machine."""
    ledger = Ledger(Store(str(folder)))
    begin = time.perf_counter()
    for number in range(200):
        ledger.commit([{"task": str(number), "block": 0, "rows": 64, "inputs": 64}])
    return (time.perf_counter() - begin) / 200


def block_seconds() -> float:
    """Of the driver, to take a block of the plan apart."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Store(folder))
        plan = Plan(ledger, lambda: (Item(f"{n}.png", f"/pages/{n}.png", f"{n}") for n in range(20_000)))
        plan.start()
        plan.go_on()
        while not plan.is_whole:
            time.sleep(0.05)
        plan.close()
        begin, blocks = time.perf_counter(), 0
        while ledger.block(blocks) is not None:
            blocks += 1
        return (time.perf_counter() - begin) / blocks


def start_seconds(path: Path, folder: Path, page: float) -> float:
    """From when a worker is asked for until it has read a page, less the page; Ray runs already.

    Some of what it loads is loaded with its first page.
    """
    options, config = _options(), PoolConfig()
    cargo = pack(options)
    with running_ray(config, cargo):
        begin = time.perf_counter()
        pool = RayPool(config, _config(folder), cargo)
        while not pool.has_room():
            pool.take(0.5)
        pool.give(Task("000000-0000", 0, (Item(path.name, str(path), "0"),)))
        while not pool.take(0.5):
            continue
        seconds = time.perf_counter() - begin
        pool.close()
    return max(seconds - page, 0.0)


if __name__ == "__main__":
    main()
