"""How many lines of one hand to transcribe: the built-in model fine-tuned on more and more of them.

Every run is `quill train --model builtin --data LINES` as a user calls it. The lines to train on are the first of one
random order, so that the smaller sets are parts of the larger ones; the lines that are reported are in none of them.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from line_sets import write_lines
from record import describe_machine, save

from quillread.data.spec import open_source, parse_spec
from quillread.evaluate.bootstrap import bootstrap_ci
from quillread.evaluate.metrics import LineScore, score_line, summarise
from quillread.recognize.load import load
from quillread.types import Sample

HELD_OUT = 200
"""Lines of the training split that are reported beside those of the validation split."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, metavar="SPEC", help="lines of one hand that the model never saw")
    parser.add_argument("--lines", type=int, nargs="+", default=[25, 50, 100, 200, 800])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    machine = describe_machine()
    source = open_source(parse_spec(args.data), "train")
    order = np.random.default_rng(7).permutation(len(source))
    reported = [source.sample(int(i), np.random.default_rng(0)) for i in order[:HELD_OUT]]
    validation = open_source(parse_spec(args.data), "validation")
    reported += [validation.sample(i, np.random.default_rng(0)) for i in range(len(validation))]
    # The 200 lines that follow were used to choose the settings of the preset, and are in no set.
    pool = order[2 * HELD_OUT :]
    before = measure("builtin", reported)
    rows = [{"lines": 0, "seconds": 0.0, "runs": [before["cer_spacing"]], **before}]
    show(rows[0])
    for count in args.lines:
        runs = []
        for seed in range(args.seeds):
            with tempfile.TemporaryDirectory() as folder:
                write_lines([(source, np.roll(pool, -seed * count)[:count])], Path(folder) / "lines", "train")
                runs.append(train(Path(folder), seed + 1, reported))
        first = runs[0] | {"lines": count, "runs": [run["cer_spacing"] for run in runs]}
        first["cer_spacing"] = statistics.mean(first["runs"])
        first["seconds"] = statistics.mean(run["seconds"] for run in runs)
        rows.append(first)
        show(first)
    results = {"data": "peraire", "reported_lines": len(reported), "rows": rows}
    if args.json:
        save(args.json, "personal", machine, results)
    if args.plot:
        draw(rows, args.plot)


def train(folder: Path, seed: int, reported: list[Sample]) -> dict[str, Any]:
    command = [sys.executable, "-m", "quillread.cli.main", "train", "--model", "builtin"]
    command += ["--data", f"hub:{folder / 'lines'}", "--set", f"seed={seed}", "--output", str(folder / "run")]
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {"seconds": time.perf_counter() - start, **measure(str(folder / "run" / "model"), reported)}


def measure(model: str, samples: list[Sample]) -> dict[str, Any]:
    read = load(model).read([sample.image for sample in samples])
    scores: list[LineScore] = [score_line(s.text, t.text) for s, t in zip(samples, read, strict=True)]
    groups = [sample.id for sample in samples]  # one hand: lines are drawn, not writers
    rates = summarise(scores)
    interval = bootstrap_ci({"cer": [score.cer_spacing for score in scores]}, groups, np.random.default_rng(0))["cer"]
    return {"cer_spacing": rates["cer_spacing"], "wer_spacing": rates["wer_spacing"], "ci95": list(interval)}


def show(row: dict[str, Any]) -> None:
    runs = ", ".join(f"{100 * rate:.1f}" for rate in row["runs"])
    low, high = (100 * rate for rate in row["ci95"])
    print(f"{row['lines']:5d} lines: CER {100 * row['cer_spacing']:.1f} % (runs {runs}; interval of the first", end=" ")
    print(f"{low:.1f} to {high:.1f}), {row['seconds']:.0f} s", flush=True)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    places = range(len(rows))
    axes.plot(places, [100 * row["cer_spacing"] for row in rows], marker="o", label="mean of the runs")
    axes.fill_between(
        places,
        *([100 * row["ci95"][side] for row in rows] for side in (0, 1)),
        alpha=0.2,
        label="95 % interval of one run",
    )
    axes.set(xlabel="lines of one hand that were transcribed", ylabel="CER, spacing ignored, %", ylim=(0, None))
    axes.set_xticks(places, [str(row["lines"]) for row in rows])
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
