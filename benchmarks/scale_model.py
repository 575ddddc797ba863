"""Simulate `quill batch` with 10 to 10,000 workers, from measured figures: a model, not a run.

    python benchmarks/scale_model.py --json benchmarks/results/scale_model.json
    python benchmarks/scale_figures.py --json figures.json
    python benchmarks/scale_model.py --figures figures.json --predict 1 2 4

A discrete-event simulation of what `quillread.batch.cluster` does: one driver that gives tasks, at most two to a
worker, takes what is done, reads a block of the plan and writes a file of records at most once a second; workers that
fetch pages, read them and write a part; a store that serves a limited number of requests a second; workers that are
slower than others, and machines that are taken away. A window of a run is simulated in its steady state, and scaled up
to 10^8 pages. `--predict` simulates a whole short run on the cores of this machine, as `batch.py` measures it.
"""

import argparse
import dataclasses
import json
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from record import describe_machine, save
from scale_run import AHEAD, CYCLES, Figures, Run

_PAGES = 100_000_000
_WORKERS = (10, 100, 1000, 4000, 7000, 10_000)
_SIZES = (8, 16, 64, 256, 1024)
_KNEE = 0.9
"""Share of the pages a second of workers that wait for nothing, below which more workers are past the knee."""


_HERE = {
    "cores": os.cpu_count() or 1,
    "store_latency": 0.0005,
    "store_bandwidth": 1e9,
    "gets_per_second": 1e6,
    "puts_per_second": 1e6,
    "straggler_share": 0.0,
}
"""What differs on this machine, unless it was measured."""


def main() -> None:
    """Simulate, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figures", type=Path, metavar="FILE", help="JSON of measured figures in place of defaults")
    parser.add_argument("--predict", type=int, nargs="+", metavar="N", help="workers on this machine; nothing else")
    parser.add_argument("--pages", type=int, default=60, metavar="N", help="of the run to predict (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default: %(default)s")
    parser.add_argument("--check", action="store_true", help="hold the simulation against arithmetic; nothing else")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    given = read_figures(args.figures) if args.figures else {}
    if args.check:
        check(args.seed)
        return
    if args.predict:
        figures = replace(Figures(), **{**_HERE, **given})
        results: dict[str, Any] = {"predicted": [predict(figures, n, args.pages, args.seed) for n in args.predict]}
    else:
        # What was measured on one machine says nothing of the store of a cluster.
        figures = replace(Figures(), **{name: value for name, value in given.items() if name not in _HERE})
        results = study(figures, args.seed)
    results = {"figures": dataclasses.asdict(figures), "seed": args.seed, **results}
    print(json.dumps(results, indent=2))
    if args.json:
        save(args.json, "scale_model", describe_machine(), results)


def read_figures(path: Path) -> dict[str, Any]:
    """The figures of a file; those that are not ours are refused, except for what says where they were measured."""
    found = json.loads(path.read_text(encoding="utf-8"))
    found = found.get("figures", found)
    known = {field.name for field in dataclasses.fields(Figures)}
    if unknown := found.keys() - known:
        raise SystemExit(f"{path}: unknown figures: {', '.join(sorted(unknown))}")
    return dict(found)


def predict(figures: Figures, workers: int, pages: int, seed: int) -> dict[str, Any]:
    """The run that `batch.py` measures: its seconds begin when the workers are asked for."""
    seconds = Run(figures, workers, None, pages=pages, seed=seed).whole()
    return {
        "workers": workers,
        "pages": pages,
        "seconds": round(seconds, 2),
        "pages_per_second": round(pages / seconds, 3),
    }


def study(figures: Figures, seed: int) -> dict[str, Any]:
    """What the documentation tells: of such workers, and of those that are twice as fast."""
    fast = replace(figures, seconds_per_page=figures.seconds_per_page / 2)
    split = replace(fast, gets_per_second=4 * fast.gets_per_second, puts_per_second=4 * fast.puts_per_second)
    scaling = {
        "as measured": scale(figures, _WORKERS, seed),
        "twice as fast": scale(fast, _WORKERS, seed),
        "twice as fast, pages under four prefixes": scale(split, _WORKERS[-3:], seed),
    }
    return {
        "scaling": scaling,
        "knee_workers": {name: knee(rows) for name, rows in scaling.items()},
        "task_sizes": [size_row(split, size, seed) for size in _SIZES],
        "ledger": [ledger(figures, row) for row in scaling["as measured"]],
        "preemption": [preempt(figures, 0.2, size, seed) for size in (16, 64, 256)],
    }


def scale(figures: Figures, workers: Sequence[int], seed: int) -> list[dict[str, Any]]:
    """Windows of runs with so many workers, and tasks as the plan makes them."""
    return [Run(figures, count, 64, seed=seed).window() for count in workers]


def size_row(figures: Figures, size: int, seed: int) -> dict[str, Any]:
    """What tasks of a size do with 5,000 workers, and at the end of a run of 10^8 pages.

    In the end the slowest worker may still have two whole tasks.
    """
    row = Run(figures, 5000, size, seed=seed).window(CYCLES * max(1, 64 // size))
    page = figures.seconds_per_page * figures.shared_slowdown * figures.straggler_factor + figures.store_latency
    end = AHEAD * size * page
    return {**row, "last_seconds": round(end), "last_share": round(end / (_PAGES / row["pages_per_second"]), 3)}


def knee(rows: Sequence[dict[str, Any]]) -> int:
    """The most workers that still do nearly what they could."""
    return max((row["workers"] for row in rows if row["efficiency"] >= _KNEE), default=0)


def ledger(figures: Figures, row: dict[str, Any]) -> dict[str, Any]:
    """What a run of 10^8 pages leaves in the ledger, and what one that goes on must do with it, file after file.

    It reads each file of records, and reads and deletes it when it makes one of them: three requests.
    """
    tasks = _PAGES / row["pages_per_task"]
    files = tasks / row["records_per_file"]
    blocks = _PAGES / figures.block_inputs
    return {
        "workers": row["workers"],
        "hours": round(_PAGES / row["pages_per_second"] / 3600, 1),
        "records": round(tasks),
        "records_per_file": row["records_per_file"],
        "files": round(files),
        "resume_hours_records": round(3 * files * figures.store_latency / 3600, 2),
        "resume_hours_records_1000_a_file": round(3 * tasks / 1000 * figures.store_latency / 3600, 3),
        # By the thread that lists and, at the same time, for its tasks.
        "resume_hours_plan": round(blocks * (figures.store_latency + figures.block_seconds) / 3600, 2),
        "megabytes_of_records": round(tasks * figures.record_bytes / 1e6),
    }


def preempt(figures: Figures, rate: float, size: int, seed: int) -> dict[str, Any]:
    """What it costs that machines are taken away."""
    cycles = max(4, math.ceil(1200 / (size * figures.seconds_per_page)))
    run = Run(replace(figures, preemptions_per_hour=rate), 1000, size, seed=seed)
    row = run.window(cycles)
    base = Run(figures, 1000, size, seed=seed).window(cycles)
    return {
        "preemptions_per_hour": rate,
        "pages_per_task": size,
        "preemptions": run.preemptions,
        "pages_per_second_lost": round(1 - row["pages_per_second"] / base["pages_per_second"], 4),
        "seconds_read_again_each": round(run.lost_seconds / max(run.preemptions, 1), 1),
    }


def check(seed: int) -> None:
    """Hold the simulation against what can be worked out without one.

    Raises:
        SystemExit: If they differ.
    """
    plain = replace(Figures(), page_spread=0.0, straggler_share=0.0)
    one = Run(plain, 10, 64, seed=seed).window(10)
    bound = Run(replace(plain, gets_per_second=50), 100, 64, seed=seed).window(8)
    driver = Run(replace(plain, driver_task=0.05), 100, 1, seed=seed).window(200)
    here = replace(plain, **{**_HERE, "cores": 2, "worker_start": 3.0, "task_seconds": 0.0})
    alone, pair, four = (predict(here, workers, 60, seed)["seconds"] for workers in (1, 2, 4))
    lost = preempt(replace(plain, replace_seconds=0, worker_start=0), 1.0, 256, seed)["seconds_read_again_each"]
    results = {
        "workers that wait for nothing do what they can": (one["efficiency"], 1.0),
        "a store of 50 requests a second gives 50 pages": (bound["pages_per_second"] / 50, 1.0),
        "a driver of 50 ms a task gives 20 tasks a second": (driver["pages_per_second"] / 20, 1.0),
        "a run of one worker takes the sum of its parts": (alone, 3 + 60 * here.seconds_per_page),
        "two cores, two workers: half as long, but for the start": ((pair - 3) / (alone - 3), 0.5),
        "four workers on two cores are no faster in reading": ((four - 6) / (pair - 3), 1.0),
        "a preemption loses half a task": (lost, 256 * Run(plain, 1, 256).mean_page() / 2),
        "the same seed gives the same": (Run(Figures(), 50, 16, seed=seed).window()["pages_per_second"],) * 2,
    }
    wrong = [name for name, (got, wanted) in results.items() if abs(got / wanted - 1) > 0.06]
    for name, (got, wanted) in results.items():
        print(f"{'WRONG' if name in wrong else 'right':5}  {name}: {got:.3f}, worked out {wanted:.3f}")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
