"""Measure reading whole pages as `quill read` does: seconds per page, and which step takes them.

    python benchmarks/pages.py DIR --json benchmarks/results/pages.json

The steps are timed where `Reader` calls them, so that what is measured is the road that every page takes. "other"
is what is left of the time: putting words back on the page, and building the result.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from unittest.mock import patch

import numpy as np
from record import describe_machine, save

from quillread import reader as reader_module
from quillread.cli.progress import ProgressLine
from quillread.images.read import Document, is_readable_name
from quillread.pages import transcribe
from quillread.pages.segment import Segmenter, load_segmenter
from quillread.reader import Reader
from quillread.recognize.recognizer import LineRecognizer

STEPS = ("open", "flatten", "find lines", "cut", "read")

P = ParamSpec("P")
T = TypeVar("T")


class StepClock:
    """Adds up the seconds spent in each step."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def timed(self, step: str, function: Callable[P, T]) -> Callable[P, T]:
        """Return a function that does the same and is timed."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._seconds[step] += time.perf_counter() - start

        return call

    def take(self) -> dict[str, float]:
        """Return the seconds of each step since the last time."""
        taken = {step: self._seconds[step] for step in STEPS}
        self._seconds.clear()
        return taken


@dataclass(frozen=True, slots=True)
class Result:
    """One input: its size, and where the time went."""

    page: str
    pages: int
    megapixels: float
    lines: int
    seconds: float
    steps: dict[str, float]


def main() -> None:
    """Read every page of a folder, print a table and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR", help="images and PDFs, in folders of any depth")
    parser.add_argument("--model", default="builtin", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="of the network; default: all cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    paths = sorted(path for path in arguments.folder.rglob("*") if path.is_file() and is_readable_name(path))
    if not paths:
        parser.error(f"{arguments.folder}: holds no images or PDFs")
    machine = describe_machine()
    clock = StepClock()
    with timed_steps(clock):
        reader = Reader(model=arguments.model, threads=arguments.threads, lm=("none",))
        results = list(measure(reader, clock, paths))
    summary = summarise(results)
    print_table(summary)
    if arguments.json:
        settings = {"model": arguments.model, "threads": arguments.threads}
        save(arguments.json, "pages", machine, {**settings, **summary, "inputs": list_inputs(results)})


@contextmanager
def timed_steps(clock: StepClock) -> Iterator[None]:
    """Time the steps of every `Reader` made meanwhile."""

    def load_timed_segmenter(name: str, threads: int) -> Segmenter:
        return clock.timed("find lines", load_segmenter(name, threads))

    with ExitStack() as stack:
        stack.enter_context(patch.object(reader_module, "load_segmenter", load_timed_segmenter))
        for place, name, step in (
            (reader_module, "open_document", "open"),
            (Document, "page", "open"),
            (transcribe, "flatten_sheet", "flatten"),
            (transcribe, "crop_line", "cut"),
            (LineRecognizer, "read", "read"),
        ):
            stack.enter_context(patch.object(place, name, clock.timed(step, getattr(place, name))))
        yield


def measure(reader: Reader, clock: StepClock, paths: Sequence[Path]) -> Iterator[Result]:
    """Read inputs one at a time; the first is read once before, unseen."""
    progress = ProgressLine("inputs")
    reader.read(paths[0])
    clock.take()
    for number, path in enumerate(paths, 1):
        start = time.perf_counter()
        reading = reader.read(path)
        seconds = time.perf_counter() - start
        if reading.faults:
            raise SystemExit("\n".join(map(str, reading.faults)))
        megapixels = sum(page.width * page.height for page in reading.pages) / 1e6
        lines = sum(len(page.lines) for page in reading.pages)
        yield Result(path.name, len(reading.pages), megapixels, lines, seconds, clock.take())
        progress(number, len(paths))


def summarise(results: Sequence[Result]) -> dict[str, Any]:
    """Add up the inputs, and share the time among pages, lines and steps."""
    pages = sum(result.pages for result in results)
    lines = sum(result.lines for result in results)
    seconds = sum(result.seconds for result in results)
    steps = {step: sum(result.steps[step] for result in results) for step in STEPS}
    steps["other"] = seconds - sum(steps.values())
    by_page = [result.seconds / result.pages for result in results]
    return {
        "pages": pages,
        "lines": lines,
        "megapixels_per_page": round(sum(result.megapixels for result in results) / pages, 2),
        "seconds_per_page": round(seconds / pages, 4),
        "seconds_per_page_range": [round(min(by_page), 4), round(max(by_page), 4)],
        "seconds_per_page_median": round(float(np.median(by_page)), 4),
        "seconds_per_line": round(seconds / max(1, lines), 4),
        "steps": {step: round(spent / pages, 4) for step, spent in steps.items()},
    }


def list_inputs(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Make one row per input, for finding the slow ones."""
    return [
        {
            "input": result.page,
            "pages": result.pages,
            "megapixels": round(result.megapixels, 2),
            "lines": result.lines,
            "seconds": round(result.seconds, 4),
            "steps": {step: round(spent, 4) for step, spent in result.steps.items()},
        }
        for result in results
    ]


def print_table(summary: dict[str, Any]) -> None:
    """Print the time of a page and one row per step."""
    low, high = summary["seconds_per_page_range"]
    print(f"{summary['pages']} pages, {summary['lines']} lines, {summary['megapixels_per_page']:g} megapixels a page")
    print(
        f"{summary['seconds_per_page']:.3f} s a page (median {summary['seconds_per_page_median']:.3f},"
        f" {low:.3f} to {high:.3f}), {summary['seconds_per_line']:.4f} s a line"
    )
    print(f"\n{'step':12} {'s a page':>9} {'share':>6}")
    for step, spent in summary["steps"].items():
        print(f"{step:12} {spent:9.3f} {spent / summary['seconds_per_page']:6.1%}")


if __name__ == "__main__":
    main()
