"""Measure `quill batch`: workers against one another and `quill read --jobs`, memory, the ledger, a list of a million.

    python benchmarks/batch.py --root DIR --json benchmarks/results/batch.json

    python benchmarks/batch.py --root DIR --lines --memory 1000 10000 --json benchmarks/results/batch_memory.json

Pages per second are those of the reading, from when the workers are asked for until the last page is in the ledger, and
in brackets of the whole command with the start of Ray. The arms take turns. All must read the same text. With --memory
nothing is measured but the memory of the driver, a worker and the node with its object store, over runs of so many
pages.
"""

import argparse
import json
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.dataset
from jobs import EXAMPLES, children, copy_pages, watch
from record import describe_machine, save

from quillread.batch.cluster.ledger import Ledger
from quillread.batch.cluster.plan import Plan
from quillread.batch.cluster.store import Store
from quillread.batch.cluster.tasks import Item
from quillread.images.read import is_readable_name

_QUILL = (sys.executable, "-m", "quillread.cli.main")
_STARTED = "000000-0000.parquet"
"""The part with the first pages."""
_SAMPLES = 20
"""Of the memory over a run that are kept, about."""


def main() -> None:
    """Measure, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=EXAMPLES, metavar="DIR", help="images of pages (examples)")
    parser.add_argument("--pages", type=int, default=60, metavar="N", help="copies of them to read (%(default)s)")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], metavar="N", help="default: 1 2")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="default: %(default)s")
    parser.add_argument("--addresses", type=int, default=1_000_000, metavar="N", help="of the list; 0 for none")
    parser.add_argument("--lines", action="store_true", help="the images are single lines")
    parser.add_argument("--memory", type=int, nargs="+", default=[], metavar="N", help="pages of runs; nothing else")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    originals = sorted(path for path in args.root.rglob("*") if path.is_file() and is_readable_name(path))
    if not originals:
        parser.error(f"{args.root}: holds no images")
    machine = describe_machine()
    flags = ["--lines"] if args.lines else []
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if args.memory:
            figures: dict[str, Any] = {"runs": [measure_memory(place, originals, n, flags) for n in args.memory]}
        else:
            figures = measure_all(place, originals, args, flags)
    print(json.dumps(figures, indent=2))
    if args.json:
        save(args.json, "batch_memory" if args.memory else "batch", machine, figures)


def measure_all(
    place: Path, originals: Sequence[Path], args: argparse.Namespace, flags: Sequence[str]
) -> dict[str, Any]:
    """Speed, memory of the driver, the ledger and the start."""
    copy_pages(originals, args.pages, place / "pages")
    figures: dict[str, Any] = {"pages": args.pages, "originals": len(originals), "repeats": args.repeats}
    figures["arms"] = measure(place, args.workers, args.repeats, args.pages, flags)
    ledgers = [measure_ledger(place / f"ledger-{i}", 10_000) for i in range(5)]
    figures["ledger_seconds_per_page"] = {"median": statistics.median(ledgers), "most": max(ledgers)}
    if args.addresses:
        figures["addresses"] = args.addresses
        figures["seconds_to_first_page"] = measure_start(place, originals[0], args.addresses, flags)
    return figures


def measure(
    place: Path, workers: Sequence[int], repeats: int, pages: int, flags: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Run the arms in turn; a first run of each is not counted."""
    jobs = max(workers)
    samples: dict[str, list[dict[str, float]]] = {}
    texts: dict[str, dict[str, str]] = {}
    for repeat in range(repeats + 1):
        for count in workers:
            sample, found = run_batch(place, count, flags)
            samples.setdefault(f"batch {count}", []).extend([sample] if repeat else [])
            texts[f"batch {count}"] = found
        sample, found = run_read(place, jobs, flags)
        samples.setdefault(f"read --jobs {jobs}", []).extend([sample] if repeat else [])
        texts["read"] = found
    if any(found != texts["read"] for found in texts.values()):
        raise SystemExit("the arms read other texts")
    return {
        name: {
            "pages_per_second": round(pages / statistics.median(sample["seconds"] for sample in found), 3),
            "pages_per_second_with_start": round(pages / statistics.median(sample["whole"] for sample in found), 3),
            "peak_megabytes_driver": round(max(sample["megabytes"] for sample in found), 1),
        }
        for name, found in samples.items()
    }


def run_batch(place: Path, workers: int, flags: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Read all pages by workers of Ray."""
    target = place / "target"
    shutil.rmtree(target, ignore_errors=True)
    count = str(workers)
    command = [*_QUILL, "batch", str(place / "pages"), "--output", str(target), *flags]
    sample = timed([*command, "--min-workers", count, "--max-workers", count])
    told = json.loads((target / "_ledger" / "run.json").read_text(encoding="utf-8"))
    table = pyarrow.dataset.dataset(str(target / "pages"), partitioning="hive").to_table(columns=["source", "text"])
    texts = {Path(row["source"]).stem: row["text"] for row in table.to_pylist()}
    return {**sample, "seconds": told["seconds"]}, texts


def run_read(place: Path, jobs: int, flags: Sequence[str]) -> tuple[dict[str, float], dict[str, str]]:
    """Read all pages by processes of `quill read`."""
    output = place / "read"
    shutil.rmtree(output, ignore_errors=True)
    command = [*_QUILL, "read", str(place / "pages"), "--output", str(output), "--format", "json", *flags]
    sample = timed([*command, "--jobs", str(jobs)])
    found = (json.loads(path.read_text(encoding="utf-8")) for path in output.glob("*.json"))
    return {**sample, "seconds": sample["whole"]}, {Path(one["source"]).stem: one["text"] for one in found}


def timed(command: Sequence[str]) -> dict[str, float]:
    """Run a command and watch its memory."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    with watch(process.pid) as peaks:
        code = process.wait()
    if code:
        raise SystemExit(f"{' '.join(command)}: ended with exit code {code}")
    return {"whole": time.perf_counter() - start, "megabytes": peaks[process.pid]}


def measure_ledger(place: Path, pages: int) -> float:
    """Seconds a page that planning and the records take, with a commit for each task: the worst there is."""
    items = [Item(f"{i}.png", f"/pages/{i}.png", str(i)) for i in range(pages)]
    ledger = Ledger(Store(str(place)))
    start = time.perf_counter()
    plan = Plan(ledger, lambda: iter(items))
    plan.start()
    for task in plan.tasks():
        if task is None:
            time.sleep(0.02)
        else:
            ledger.commit(
                [{"task": task.name, "block": task.block, "rows": len(task.items), "inputs": len(task.items)}]
            )
    seconds = time.perf_counter() - start
    plan.close()
    return round(seconds / pages, 6)


def measure_start(place: Path, page: Path, count: int, flags: Sequence[str]) -> float:
    """Seconds from the start of the command until the first pages of a long list are written."""
    (place / "many").mkdir()
    shutil.copyfile(page, place / "many" / page.name)
    with (place / "many.csv").open("w", encoding="utf-8") as file:
        file.write("path,number\n")
        file.writelines(f"many/{i or page.name},{i}\n" for i in range(count))  # all but the first are dead
    target = place / "start"
    start = time.perf_counter()
    process = subprocess.Popen(
        [*_QUILL, "batch", str(place / "many.csv"), "--output", str(target), *flags], stderr=subprocess.DEVNULL
    )
    while not list((target / "pages").glob(f"*/{_STARTED}")):
        if process.poll() is not None:
            raise SystemExit("the run on a long list ended before a page was read")
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    process.send_signal(signal.SIGINT)
    process.wait()
    return round(seconds, 2)


def measure_memory(place: Path, originals: Sequence[Path], count: int, flags: Sequence[str]) -> dict[str, Any]:
    """Memory over a run of one worker, in megabytes."""
    pages, target = place / f"pages-{count}", place / f"target-{count}"
    copy_pages(originals, count, pages)
    command = [*_QUILL, "batch", str(pages), "--output", str(target), "--max-workers", "1", *flags]
    start = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    series = []
    while process.poll() is None:
        series.append({"seconds": round(time.perf_counter() - start, 1), **resident(process.pid)})
        time.sleep(1)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with exit code {process.returncode}")
    rows = pyarrow.dataset.dataset(str(target / "pages"), partitioning="hive").count_rows()
    peaks = {name: max(sample[name] for sample in series) for name in ("driver", "worker", "node")}
    kept = series[:: max(1, len(series) // _SAMPLES)]
    return {"pages": count, "rows": rows, "seconds": series[-1]["seconds"], "peaks": peaks, "series": kept}


def resident(pid: int) -> dict[str, float]:
    """Resident memory of a driver, of the workers below it, and of the node with its object store."""
    found = {"driver": megabytes(pid), "worker": 0.0, "node": 0.0}
    waiting = children(pid)
    while waiting:
        number = waiting.pop()
        waiting += children(number)
        try:
            command = Path(f"/proc/{number}/cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        name = "worker" if command.startswith(b"ray::_Actor") else "node" if b"raylet/raylet" in command else None
        if name:
            found[name] = round(found[name] + megabytes(number), 1)
    return found


def megabytes(pid: int) -> float:
    """Resident memory of a process now."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):  # it ended meanwhile
        return 0.0
    return round(pages * resource.getpagesize() / 1e6, 1)


if __name__ == "__main__":
    main()
