"""Compare a model with other OCR programs on the same lines: error rates with intervals, and time per line.

    python -m venv build/peers-venv
    build/peers-venv/bin/pip install rapidocr==3.10.0 onnxruntime
    python benchmarks/peers.py --data hub:DIR --lines 0 --json benchmarks/results/peers.json

Every system runs in a process of its own with its model loaded, and reads the same PNG files. Blocks of lines go to
the systems in turn, so that whatever else the machine does slows all of them down. Tesseract is measured if it is
installed.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record import describe_machine, save
from worker import Worker

from quillread.cli.progress import ProgressLine
from quillread.data.spec import DataSpec, open_source, parse_spec
from quillread.evaluate.bootstrap import bootstrap_ci
from quillread.evaluate.metrics import score_line, summarise
from quillread.evaluate.report_text import TITLES, interval, percent

OURS = "quillread"
METRICS = ("cer", "cer_spacing", "wer_spacing")


@dataclass(slots=True)
class Outcome:
    """What a system read, and the seconds that each block of lines took."""

    texts: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines written to files, with their texts and writers."""

    paths: list[Path]
    texts: list[str]
    groups: list[str]


def main() -> None:
    """Measure every source, print the tables and write the figures."""
    arguments = parse_arguments()
    machine = describe_machine()
    sources = []
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(open_peer(python, options, arguments.threads))
            for name, (python, options) in find_systems(arguments).items()
        }
        for spec in map(parse_spec, arguments.data):
            with tempfile.TemporaryDirectory() as folder:
                lines = write_lines(spec, arguments.split, arguments.lines, Path(folder))
                outcomes = measure(workers, lines.paths, arguments.block)
            systems = summarise_systems(workers, lines, outcomes)
            sources.append({"data": short_name(spec), "lines": len(lines.texts), "systems": systems})
            print_table(sources[-1], arguments.split)
    if arguments.json:
        settings = {"split": arguments.split, "threads": arguments.threads, "block": arguments.block}
        save(arguments.json, "peers", machine, {**settings, "sources": sources})


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="SPEC", help="lines; may be repeated")
    parser.add_argument("--split", default="validation", help="default: %(default)s")
    parser.add_argument("--lines", type=int, default=0, metavar="N", help="evenly spread lines of each; 0: all")
    parser.add_argument("--block", type=int, default=16, metavar="N", help="lines at a time (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of each system (default: %(default)s)")
    parser.add_argument(
        "--model",
        action="append",
        help="our side (default: builtin); repeatable, times are multiples of the first",
    )
    parser.add_argument(
        "--rapidocr", type=Path, default=Path("build/peers-venv/bin/python"), metavar="PYTHON", help="its interpreter"
    )
    parser.add_argument(
        "--tesseract", default="tesseract", metavar="PATH", help="its program, if it is not on the path"
    )
    parser.add_argument("--tesseract-language", default="eng", metavar="CODE", help="eng, fra, eng+fra, ...")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    arguments = parser.parse_args()
    if not arguments.rapidocr.exists():
        parser.error(f"{arguments.rapidocr}: no such interpreter; the first two commands of --help make it")
    return arguments


def find_systems(arguments: argparse.Namespace) -> dict[str, tuple[Path, list[str]]]:
    """Return the interpreter and the worker's options of each system that is installed, ours first."""
    own, *others = arguments.model or ["builtin"]
    systems = {OURS: (Path(sys.executable), [OURS, "--model", own])}
    systems |= {f"{OURS} {Path(name).name}": (Path(sys.executable), [OURS, "--model", name]) for name in others}
    systems["rapidocr"] = (arguments.rapidocr, ["rapidocr"])
    if program := shutil.which(arguments.tesseract):
        options = ["tesseract", "--tesseract", program, "--language", arguments.tesseract_language]
        systems["tesseract"] = (Path(sys.executable), options)
    return systems


def write_lines(spec: DataSpec, split: str, count: int, folder: Path) -> Lines:
    """Write evenly spread lines of a source as PNG files; all of them if `count` is 0."""
    source = open_source(spec, split)
    lines = Lines([], [], [])
    for index in np.unique(np.linspace(0, len(source) - 1, count or len(source)).astype(int)):
        sample = source.sample(int(index), np.random.default_rng(0))
        path = folder / f"{index:06d}.png"
        Image.fromarray(sample.image).save(path)
        lines.paths.append(path)
        lines.texts.append(sample.text)
        lines.groups.append(sample.group)
    return lines


def open_peer(python: Path, arguments: Sequence[str], threads: int) -> Worker:
    """Start a system in a process of its own, its model loaded.

    Args:
        python: The interpreter of its virtual environment.
        arguments: Those of `peer_worker.py`.
        threads: How many it may use.
    """
    limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), str(threads))
    script = str(Path(__file__).with_name("peer_worker.py"))
    return Worker([str(python), script, *arguments, "--threads", str(threads)], {**os.environ, **limits})


def read_block(worker: Worker, paths: Sequence[Path]) -> tuple[list[str], float]:
    """Let a system read line images; return their texts and the seconds that took, image decoding included."""
    answer = worker.ask(paths=[str(path) for path in paths])
    if len(answer["texts"]) != len(paths):
        raise SystemExit(f"{worker.facts['title']}: gave {len(answer['texts'])} texts for {len(paths)} lines")
    return answer["texts"], answer["seconds"]


def measure(workers: Mapping[str, Worker], paths: Sequence[Path], block: int) -> dict[str, Outcome]:
    """Give each block to all systems in turn, another one first each time.

    The first block is read once before without being timed: first calls set up memory that later ones use again.
    """
    outcomes = {name: Outcome() for name in workers}
    names = list(workers)
    progress = ProgressLine("lines")
    for worker in workers.values():
        read_block(worker, paths[:block])
    for number, first in enumerate(range(0, len(paths), block)):
        part = paths[first : first + block]
        start = number % len(names)
        for name in names[start:] + names[:start]:
            texts, seconds = read_block(workers[name], part)
            outcomes[name].texts.extend(texts)
            outcomes[name].seconds.append(seconds)
        progress(first + len(part), len(paths))
    return outcomes


def summarise_systems(
    workers: Mapping[str, Worker], lines: Lines, outcomes: Mapping[str, Outcome]
) -> dict[str, dict[str, Any]]:
    """Put error rates with their intervals, time per line, and time as a multiple of ours, for each system.

    `time_ratio_quartiles` are those of the blocks: wide apart, they tell of a machine that was not idle.
    """
    systems = {}
    ours = np.array(outcomes[OURS].seconds)
    for name, outcome in outcomes.items():
        scores = [score_line(text, read) for text, read in zip(lines.texts, outcome.texts, strict=True)]
        rates = summarise(scores)
        counts = {metric: [getattr(score, metric) for score in scores] for metric in METRICS}
        seconds = np.array(outcome.seconds)
        systems[name] = {
            "title": workers[name].facts["title"],
            **{metric: round(rates[metric], 5) for metric in METRICS},
            "ci95": {
                metric: [round(end, 5) for end in ends]
                for metric, ends in bootstrap_ci(counts, lines.groups, np.random.default_rng(0)).items()
            },
            "seconds_per_line": round(float(seconds.sum()) / len(scores), 5),
            "time_ratio": round(float(seconds.sum() / ours.sum()), 3),
            "time_ratio_quartiles": [round(float(q), 3) for q in np.percentile(seconds / ours, [25, 75])],
        }
    return systems


def short_name(spec: DataSpec) -> str:
    """Name a source without the folders that lead to it, which mean nothing on another machine."""
    return f"{spec.kind}:{Path(spec.where).name}"


def print_table(source: Mapping[str, Any], split: str) -> None:
    """Print a Markdown table of one source, a row for each system."""
    print(f"\n{source['data']}, {split}, {source['lines']:,} lines\n")
    heads = ["system", *(TITLES[metric] for metric in METRICS), "s per line", "time"]
    print("|", " | ".join(heads), "|\n|", " | ".join("-" * len(head) for head in heads), "|")
    for figures in source["systems"].values():
        rates = [f"{percent(figures[metric])} ({interval(figures['ci95'][metric])})" for metric in METRICS]
        times = [f"{figures['seconds_per_line']:.4f}", f"{figures['time_ratio']:.2f} x"]
        print("|", " | ".join([figures["title"], *rates, *times]), "|")


if __name__ == "__main__":
    main()
