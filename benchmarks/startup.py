"""Measure the cold start: wall time and peak memory of reading one line as a whole process.

    python benchmarks/startup.py --quill DIR/bin/quill --json benchmarks/results/startup.json

Give the command of a base installation (`pip install .` in a fresh virtual environment), which is what people start.
The first run is kept apart: files may not be in the disk cache yet.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# Nothing large may be imported here: Linux counts the parent's memory at the fork in the child's peak.
from record import describe_machine, save

LINE = Path(__file__).parents[1] / "tests" / "data" / "line.jpg"


def main() -> None:
    """Start the command again and again, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quill", default="quill", metavar="PATH", help="the command (default: the one on the path)")
    parser.add_argument("--image", type=Path, default=LINE, help="of one line (default: tests/data/line.jpg)")
    parser.add_argument("--repeats", type=int, default=10, metavar="N", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    quill = shutil.which(arguments.quill)
    if quill is None:
        parser.error(f"{arguments.quill}: no such command")
    commands = {"quill --version": [quill, "--version"], "quill read": [quill, "read", "--lines", str(arguments.image)]}
    machine = describe_machine()
    results = {name: measure(command, arguments.repeats) for name, command in commands.items()}
    print_table(results)
    if arguments.json:
        save(arguments.json, "startup", machine, {"repeats": arguments.repeats, "commands": results})


def measure(command: list[str], repeats: int) -> dict[str, Any]:
    """Run a command once and then `repeats` times; seconds and peak memory as median and range of the latter."""
    first, _ = run(command)
    seconds, megabytes = zip(*(run(command) for _ in range(repeats)), strict=True)
    return {
        "first_seconds": round(first, 3),
        "seconds": round(statistics.median(seconds), 3),
        "seconds_range": [round(min(seconds), 3), round(max(seconds), 3)],
        "peak_megabytes": round(statistics.median(megabytes), 1),
        "peak_megabytes_range": [round(min(megabytes), 1), round(max(megabytes), 1)],
    }


def run(command: list[str]) -> tuple[float, float]:
    """Run a command to its end; return its wall time in seconds and its peak resident memory in megabytes (10^6)."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: ended with exit code {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    return seconds, usage.ru_maxrss * unit / 1e6


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """Print one row per command."""
    print(f"{'command':16} {'seconds':>8} {'range':>15} {'first':>7} {'peak MB':>8} {'range':>15}")
    for name, row in results.items():
        seconds, megabytes = ("{:g} to {:g}".format(*row[f"{key}_range"]) for key in ("seconds", "peak_megabytes"))
        print(
            f"{name:16} {row['seconds']:8g} {seconds:>15} {row['first_seconds']:7g}"
            f" {row['peak_megabytes']:8g} {megabytes:>15}"
        )


if __name__ == "__main__":
    main()
