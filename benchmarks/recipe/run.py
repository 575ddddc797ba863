"""What each part of a training brings: short runs of equal length, one change each, beside the same first row.

    python benchmarks/recipe/run.py --study small --root DIR [--jobs 2]

Three studies. `small`: a network of 2.7 million parameters starts from the first layers of the built-in model and is
taught by it, for 2,400 lines. `continued`: the built-in model itself is trained on, for 3,200 lines. All else is as in
the preset `builtin`. `hands`: the model `open` is trained on by its preset for 9,600 lines, with what may help on
hands that it has never seen. DIR holds the data sets as `make train-builtin` takes them, and `runs/cuts` comes from it,
too.
Each run takes one thread, `--jobs` run at a time; those in `runs/recipe` that have ended are not run again.

Scored greedily on one half of the writers or documents of each validation split, so that the other half stays
untouched by any choice. Differences to the first row are paired over writers and documents; below 0 is better.
Writes the figures, with the command of each row, to benchmarks/results/recipe_STUDY.json, and prints them as a table.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from record import describe_machine, save

from quillread.data.spec import open_source, parse_spec
from quillread.evaluate.compare import compare
from quillread.evaluate.predictions import Prediction, read_predictions, write_predictions
from quillread.evaluate.report import run_evaluation
from quillread.images.augment import STEPS
from quillread.reader import Reader
from quillread.train.config import read_settings

CLASSIC = ("iam-line", "copiste", "timeus", "hooker")
LETTERS = "?replace=^:&replace=ſ:s"
RUNS = Path("runs/recipe")
UNTOUCHED = "the model, untouched"


def mix(**factors: float) -> str:
    """Setting of the sources: those of the preset with their weights times a factor, by kind; 0 leaves them out."""
    specs = []
    for spec in read_settings("builtin")["data"]:
        where, _, weight = spec.rpartition("@")
        factor = factors.get(where.partition(":")[0], 1.0)
        if factor:
            specs.append(f"{where}@{float(weight) * factor:.3f}")
    return "data=" + json.dumps(specs)


ALL = ("epochs=1", "batch_size=32", "workers=0", "validation=[]", "validation_share=0")
NO_DISTORTIONS = "augment={" + ", ".join(f"{step}: 0" for step in STEPS) + "}"
REAL_ONLY = mix(strokes=0, fonts=0, recombined=0)
STRONG_STYLE = "augment={strength: 0.6, shear: 0.8, stretch: 0.8, stroke_width: 0.7, elastic: 0.7}"


@dataclass(frozen=True, slots=True)
class Study:
    """Runs that are compared with the first of them."""

    lines: int
    settings: Sequence[str]
    rows: Mapping[str, Sequence[str]]
    preset: str = "builtin"
    sets: Sequence[str] = CLASSIC
    """Data sets that are read, with their options."""


STUDIES = {
    "small": Study(
        2400,
        (
            *("start=builtin", "allow_partial=true", "teacher=builtin", "shortcut=0", "schedule.learning_rate=1e-3"),
            *("network.blocks=[1, 1, 1, 1]", "network.sequence_blocks=2", "network.recurrent_layers=0"),
        ),
        {
            "first layers and teacher": (),
            "no teacher": ("teacher=null",),
            "no teacher, shortcut head": ("teacher=null", "shortcut=0.1"),
            "random weights": ("start=null",),
            "learning rate / 3": ("schedule.learning_rate=3.3e-4",),
            "learning rate x 3": ("schedule.learning_rate=3e-3",),
            "no distortions": (NO_DISTORTIONS,),
            "real lines only": (REAL_ONLY,),
            "four gated convolutions for two": ("network.sequence_blocks=4",),
            "BiLSTM and head for the two gated convolutions": (
                "network.sequence_blocks=0",
                "network.recurrent_layers=1",
            ),
        },
    ),
    "continued": Study(
        3200,
        ("start=builtin", "schedule.learning_rate=3.0e-04"),
        {
            "trained on, settings as before": (),
            "without the shortcut head": ("shortcut=0",),
            "learning rate / 3": ("schedule.learning_rate=1.0e-04",),
            "learning rate x 3": ("schedule.learning_rate=9.0e-04",),
            "no distortions": (NO_DISTORTIONS,),
            "distortions 1.5 times as strong": ("augment.strength=1.5",),
        },
    ),
    "hands": Study(
        9600,
        ("start=open", "shortcut=0", "schedule.learning_rate=8e-4", "seed=31"),
        {
            "trained on, settings as before": (),
            "averaged weights": ("average_decay=0.99",),
            "another seed": ("seed=32",),
            "writers and documents equally often": ("group_balance=1",),
            "half way to that": ("group_balance=0.5",),
            "distortions 1.7 times as strong": ("augment.strength=1",),
            "more of slant, width, stroke and elastic": (STRONG_STYLE,),
        },
        preset="open",
        sets=(*CLASSIC, f"lettres{LETTERS}", f"registres{LETTERS}", "peraire"),
    ),
}


def command(study: str, row: str, root: Path) -> list[str]:
    """The training of a row."""
    plan = STUDIES[study]
    words = ["quill", "train", "--config", plan.preset, "--set", f"root={root}"]
    for setting in (*ALL, f"epoch_lines={plan.lines}", *plan.settings, *plan.rows[row]):
        words += ["--set", setting]
    return [*words, "--output", str(RUNS / study / slug(row))]


def slug(row: str) -> str:
    return "-".join(row.replace("/", "by").replace(",", "").split())


def run(study: str, row: str, root: Path) -> list[Prediction]:
    """Train a row and read the lines, unless that was done by the same command."""
    name = slug(row)
    predictions, done = RUNS / study / f"{name}.jsonl", RUNS / study / f"{name}.command"
    words = [] if row == UNTOUCHED else command(study, row, root)
    if predictions.exists() and done.read_text("utf-8") == shlex.join(words):
        return read_predictions(predictions)
    one = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if words:
        with (RUNS / study / f"{name}.log").open("wb") as log:
            subprocess.run([*words, "--overwrite"], env=one, check=True, stderr=log)
    model = str(RUNS / study / name / "model") if words else STUDIES[study].preset
    read = [sys.executable, __file__, "--root", str(root), "--study", study, "--read", model]
    read += ["--predictions", str(predictions)]
    subprocess.run(read, env=one, check=True)
    done.write_text(shlex.join(words), "utf-8")
    return read_predictions(predictions)


def read_lines(root: Path, sets: Sequence[str], model: str, target: Path) -> None:
    """Read one half of the groups of each validation split."""
    reader = Reader(model=model, lm=("none",), lines=True, threads=1)
    rows = []
    for spec in sets:
        name, source = name_of(spec), open_source(parse_spec(f"hub:{root / spec}"), "validation")
        groups = sorted({source.group(i) for i in range(len(source))})
        chosen = {groups[i] for i in np.random.default_rng(0).permutation(len(groups))[::2]}
        part = Part(source, [i for i in range(len(source)) if source.group(i) in chosen])
        read = run_evaluation(reader, part)
        if read.faults:
            raise SystemExit("\n".join(read.faults))
        for row in read.rows:
            rows.append(Prediction(f"{name}/{row.id}", f"{name}/{row.group}", row.reference, row.text, row.confidence))
    write_predictions(target, rows)


class Part:
    """Some lines of a source."""

    def __init__(self, source: Any, indices: Sequence[int]) -> None:
        self._source, self._indices, self.name = source, indices, source.name

    def __len__(self) -> int:
        return len(self._indices)

    def sample(self, index: int, rng: np.random.Generator) -> Any:
        """Give one of them."""
        return self._source.sample(self._indices[index], rng)


def name_of(spec: str) -> str:
    return spec.partition("?")[0]


def measure(sets: Sequence[str], rows: Sequence[Prediction], first: Sequence[Prediction]) -> dict[str, Any]:
    """CER of each set, with spacing ignored, and its difference to that of the first row."""
    result = {}
    for name in map(name_of, sets):
        ours, theirs = ([r for r in part if r.id.startswith(f"{name}/")] for part in (rows, first))
        cer = compare(theirs, ours, np.random.default_rng(0))[0]
        result[name] = {"lines": len(ours), "cer": cer.candidate, "difference": cer.difference, "ci95": cer.ci95}
    return result


def table(results: dict[str, dict[str, Any]]) -> str:
    first = next(iter(results.values()))
    head = "| run | " + " | ".join(f"{name} ({s['lines']})" for name, s in first.items()) + " |"
    lines = [head, "|---" * (len(first) + 1) + "|"]
    for row, sets in results.items():
        cells = []
        for s in sets.values():
            low, high = s["ci95"]
            # The first row has no difference to itself.
            change = f", {100 * s['difference']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})" if low < high else ""
            cells.append(f"{100 * s['cer']:.1f}{change}")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--study", choices=STUDIES, default="small")
    parser.add_argument("--json", type=Path, help="default: benchmarks/results/recipe_STUDY.json")
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--predictions", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        read_lines(args.root, STUDIES[args.study].sets, args.read, args.predictions)
        return
    machine = describe_machine()
    (RUNS / args.study).mkdir(parents=True, exist_ok=True)
    study = STUDIES[args.study]
    first, *others = study.rows
    names = [UNTOUCHED, first, *others]
    with ThreadPoolExecutor(args.jobs) as pool:
        read = dict(zip(names, pool.map(lambda row: run(args.study, row, args.root), names), strict=True))
    results = {row: measure(study.sets, rows, read[first]) for row, rows in read.items()}
    commands = {
        row: shlex.join(command(args.study, row, args.root)).replace(str(args.root), "DIR")
        for row in names
        if row in study.rows
    }
    target = args.json or Path(f"benchmarks/results/recipe_{args.study}.json")
    save(target, "recipe", machine, {"lines": study.lines, "rows": results, "commands": commands})
    print(table(results))


if __name__ == "__main__":
    main()
