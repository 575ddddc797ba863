"""Measure `quill read --jobs N` against a serial run: pages per second of whole processes, and memory.

    python benchmarks/jobs.py --root DIR --json benchmarks/results/jobs.json

The arms take turns, so that what else the machine does meanwhile meets all of them; each ratio is that of two runs next
to each other. All must write the same files.
"""

import argparse
import itertools
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import describe_machine, save

from quillread.cli.progress import ProgressLine
from quillread.images.read import is_readable_name

EXAMPLES = Path(__file__).parents[1] / "examples"
_WATCH_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """One run."""

    seconds: float
    megabytes: float
    """Peak resident memory of the command itself."""
    worker_megabytes: float
    """That of the largest of its workers; 0 without any."""


def main() -> None:
    """Read the pages with each number of jobs in turn, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--root", type=Path, default=EXAMPLES, metavar="DIR", help="images of pages (default: examples)"
    )
    parser.add_argument("--pages", type=int, default=40, metavar="N", help="copies of them to read (%(default)s)")
    parser.add_argument("--jobs", type=int, nargs="+", default=[2], metavar="N", help="beside a serial run (2)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    originals = sorted(path for path in arguments.root.rglob("*") if path.is_file() and is_readable_name(path))
    if not originals:
        parser.error(f"{arguments.root}: holds no images")
    machine = describe_machine()
    arms = [1, *arguments.jobs]
    with tempfile.TemporaryDirectory() as place:
        copy_pages(originals, arguments.pages, Path(place) / "pages")
        samples = measure(Path(place), arms, arguments.repeats)
    rows = [summarise(jobs, samples[jobs], samples[1], arguments.pages) for jobs in arms]
    print_table(rows)
    if arguments.json:
        settings = {"pages": arguments.pages, "originals": len(originals), "repeats": arguments.repeats}
        save(arguments.json, "jobs", machine, {**settings, "arms": rows})


def copy_pages(originals: Sequence[Path], count: int, folder: Path) -> None:
    """Copy pages, again and again from the first, until there are enough."""
    folder.mkdir()
    for number, path in zip(range(count), itertools.cycle(originals), strict=False):
        shutil.copyfile(path, folder / f"{number:04}-{path.name}")


def measure(place: Path, arms: Sequence[int], repeats: int) -> dict[int, list[Sample]]:
    """Run all arms in turn, in the opposite order every other time; a first run of each is not counted."""
    samples: dict[int, list[Sample]] = {jobs: [] for jobs in arms}
    progress = ProgressLine("runs")
    for repeat in range(repeats + 1):
        for number, jobs in enumerate(arms if repeat % 2 else reversed(arms), 1):
            sample = run(place / "pages", place / str(jobs), jobs)
            if repeat:
                samples[jobs].append(sample)
            progress(repeat * len(arms) + number, (repeats + 1) * len(arms))
    compare([place / str(jobs) for jobs in arms])
    return samples


def run(pages: Path, output: Path, jobs: int) -> Sample:
    """Read all pages in a process of its own."""
    command = [sys.executable, "-m", "quillread.cli.main", "read", str(pages)]
    command += ["--jobs", str(jobs), "--format", "json", "--output", str(output)]
    start = time.perf_counter()
    process = subprocess.Popen(command)
    with watch(process.pid) as peaks:
        code = process.wait()
        seconds = time.perf_counter() - start
    if code:
        raise SystemExit(f"{' '.join(command)}: ended with exit code {code}")
    return Sample(seconds, peaks.pop(process.pid, 0.0), max(peaks.values(), default=0.0))


@contextmanager
def watch(pid: int) -> Iterator[dict[int, float]]:
    """Note the peak memory in megabytes (10^6) of a process and its children, by their ids, where there is a /proc."""
    peaks: dict[int, float] = {}
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(_WATCH_SECONDS):
            for number in (pid, *children(pid)):
                peaks[number] = max(peaks.get(number, 0.0), peak_megabytes(number))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peaks
    finally:
        is_over.set()
        thread.join()


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found.extend(map(int, path.read_text(encoding="ascii").split()))
        except OSError:  # it ended meanwhile
            continue
    return found


def peak_megabytes(pid: int) -> float:
    """The most resident memory that a process has had so far."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")), 0.0)


def compare(folders: Sequence[Path]) -> None:
    """Make sure that all arms have read the same."""
    first, *others = ({path.name: path.read_bytes() for path in folder.glob("*.json")} for folder in folders)
    for folder, other in zip(folders[1:], others, strict=True):
        if other != first:
            raise SystemExit(f"--jobs {folder.name} reads other texts than a serial run")


def summarise(jobs: int, samples: Sequence[Sample], serial: Sequence[Sample], pages: int) -> dict[str, Any]:
    """The row of an arm: medians and ranges."""
    seconds = [sample.seconds for sample in samples]
    ratios = [one.seconds / sample.seconds for one, sample in zip(serial, samples, strict=True)]
    return {
        "jobs": jobs,
        "seconds": round(statistics.median(seconds), 3),
        "seconds_range": [round(min(seconds), 3), round(max(seconds), 3)],
        "pages_per_second": round(pages / statistics.median(seconds), 3),
        "ratio": round(statistics.median(ratios), 3),
        "ratio_range": [round(min(ratios), 3), round(max(ratios), 3)],
        "peak_megabytes": round(max(sample.megabytes for sample in samples), 1),
        "peak_megabytes_worker": round(max(sample.worker_megabytes for sample in samples), 1),
    }


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """Print one row per arm."""
    print(f"{'arm':10} {'seconds':>8} {'pages/s':>8} {'ratio':>6} {'range':>15} {'peak MB':>8} {'of a worker':>12}")
    for row in rows:
        name = "serial" if row["jobs"] == 1 else f"--jobs {row['jobs']}"
        span = "{:.2f} to {:.2f}".format(*row["ratio_range"])
        print(
            f"{name:10} {row['seconds']:8.2f} {row['pages_per_second']:8.3f} {row['ratio']:6.2f} {span:>15}"
            f" {row['peak_megabytes']:8.0f} {row['peak_megabytes_worker']:12.0f}"
        )


if __name__ == "__main__":
    main()
