"""Damage files of every kind and open them, each in a process with limits: `make fuzz MINUTES=10`.

Whatever happens, a file is read or refused with an error of quillread. Anything else is a finding: another exception,
a fault that quillread calls its own, a process that crashes, hangs or needs more memory than it may. A finding is named
by its door and number, with which it comes again:

    python tests/fuzz/run.py --door pdf --first 1234 --count 1 --save damaged.pdf
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import takewhile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.doors import DOORS
from fuzz.work import Damaged, content_of, enter, make_folder

from quillread.processes import Limits, WorkerPool

LIMITS = Limits(memory=2_500_000_000, seconds=60)
"""More than the limits within which quillread itself keeps."""

_SHOWN = 2000
"""Characters of a finding that are printed: file names in it may be long."""


def _until(end: float, jobs: Iterable[Damaged]) -> Iterator[Damaged]:
    return takewhile(lambda _: time.monotonic() < end, jobs)


def fuzz(doors: list[str], first: int, count: int, seconds: float = float("inf"), workers: int = 1) -> Counter[str]:
    """Open damaged files until there are no more or the time is up; print findings, count what became of the files."""
    counts: Counter[str] = Counter()
    end = time.monotonic() + seconds
    with (
        tempfile.TemporaryDirectory(prefix="quillread-fuzz-") as root,
        WorkerPool(partial(make_folder, Path(root)), enter, workers, limits=LIMITS) as pool,
    ):
        for outcome in pool.run(_until(end, (Damaged(doors[n % len(doors)], n) for n in range(first, first + count)))):
            what, how = ("lost", str(outcome.error)) if outcome.value is None else outcome.value
            counts[what] += 1
            if what in ("raised", "lost"):
                print(
                    f"\n--door {outcome.job.door} --first {outcome.job.number} --count 1: {what}\n{how[-_SHOWN:]}",
                    flush=True,
                )
    return counts


def main() -> int:
    """Fuzz, and tell whether all went well by the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--door", choices=DOORS, action="append", help="all if not given; repeatable")
    parser.add_argument("--first", type=int, default=0, metavar="N")
    parser.add_argument("--count", type=int, default=10**9, metavar="N")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the first damaged file, and open none")
    arguments = parser.parse_args()
    doors = arguments.door or list(DOORS)
    if arguments.save:
        with tempfile.TemporaryDirectory() as folder:
            arguments.save.write_bytes(
                content_of(Damaged(doors[arguments.first % len(doors)], arguments.first), Path(folder))
            )
        return 0
    counts = fuzz(doors, arguments.first, arguments.count, 60 * arguments.minutes, arguments.workers)
    print(", ".join(f"{what}: {count}" for what, count in sorted(counts.items())) or "nothing was opened")
    return 1 if counts["raised"] or counts["lost"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
