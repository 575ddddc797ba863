"""Trainings for some minutes of a GPU, several side by side, each ended by the clock.

    python benchmarks/recipe/gpu.py --pack PACK --output OUT [--minutes 8] [--run open --run builtin]

PACK is what `pack.py` wrote, whole or in those of its parts that hold what the runs need. `open` starts from random
weights and has only data that is for any use; `builtin` goes on from the weights that ship, with all data but the
medieval; `medieval` goes on from a model of `open` (`--open FOLDER`). OUT/NAME is the folder of each run, OUT/NAME.log
what it told. Eight-bit weights, confidences and figures are made from OUT/NAME/model elsewhere: they need no GPU.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CORES = len(os.sched_getaffinity(0))
QUILL = (sys.executable, "-m", "quillread.cli.main")
FONTS = "fonts:{pack}/fonts?text={pack}/text/en.txt&text={pack}/text/en-modern.txt&text={pack}/text/fr.txt&lines=60000"
MODERN = ("copiste", "timeus", "hooker", "lettres", "registres")


@dataclass(frozen=True)
class Run:
    """What it trains on, and where it starts."""

    data: dict[str, float]
    """Data set, or the kind of made lines -> share of the lines."""
    validation: tuple[str, ...]
    settings: tuple[str, ...]


FROM_RANDOM = ("schedule.learning_rate=2.0e-3", "schedule.warmup=0.05", "shortcut=0.3", "batch_size=128")
GOING_ON = ("schedule.learning_rate=6.0e-4", "schedule.warmup=0.03", "shortcut=0", "batch_size=128")
RUNS = {
    "open": Run(
        {"hooker": 0.20, "copiste": 0.20, "timeus": 0.14, "poilus": 0.03}
        | {"lettres": 0.15, "registres": 0.11, "fonts": 0.17},
        MODERN,
        ("start=null", *FROM_RANDOM),
    ),
    "builtin": Run(
        {"iam-line": 0.22, "strokes": 0.07, "copiste": 0.15, "timeus": 0.11, "hooker": 0.12, "poilus": 0.03}
        | {"lettres": 0.14, "registres": 0.11, "fonts": 0.05},
        ("iam-line", *MODERN),
        ("start=builtin", *GOING_ON),
    ),
    "medieval": Run({"medieval": 0.9, "lettres": 0.1}, ("medieval",), (*GOING_ON, "grow_charset=true")),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--run", action="append", choices=RUNS, help="default: open and builtin; may be repeated")
    parser.add_argument("--open", type=Path, metavar="FOLDER", help="a model that `medieval` starts from")
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--set", action="append", default=[], help="a setting of all runs, as `quill train` takes it")
    args = parser.parse_args()
    names = args.run or ["open", "builtin"]
    if "medieval" in names and not args.open:
        parser.error("medieval goes on from a model: add --open FOLDER")
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pack = gather(args.pack, Path(folder))
        runs = {}
        for name in names:
            start = [f"start={args.open}"] if name == "medieval" else []
            words = command(name, pack, args.output / name, args.minutes, len(names), [*start, *args.set])
            with (args.output / f"{name}.log").open("wb") as log:
                runs[name] = subprocess.Popen(words, stdout=log, stderr=log)
        failed = [name for name, process in runs.items() if process.wait()]
    if failed:
        raise SystemExit(f"{', '.join(failed)}: ended with an error, which its log tells")


def gather(pack: Path, place: Path) -> Path:
    """A folder in which all data sets lie side by side."""
    for found in sorted(pack.glob("*/*")):
        (place / found.name).symlink_to(found.resolve(), target_is_directory=True)
    return place


def spec(name: str, pack: Path) -> str:
    """Where the lines of a data set come from."""
    made = {"fonts": FONTS.format(pack=pack), "strokes": f"strokes:{pack}/iam-ondb/strokes.npz"}
    return made.get(name, f"hub:{pack}/{name}")


def command(name: str, pack: Path, output: Path, minutes: float, beside: int, last: Sequence[str]) -> list[str]:
    """A training that ends by the clock, with its share of the cores."""
    run = RUNS[name]
    data = [f"{spec(one, pack)}@{share}" for one, share in run.data.items()]
    settings = [
        f"name={name}",
        f"data={json.dumps(data)}",
        f"validation={json.dumps([spec(one, pack) for one in run.validation])}",
        f"minutes={minutes}",
        "epochs=10000",
        "epoch_lines=100000",
        "validation_lines=60",
        "in_memory=true",
        f"workers={max(1, (CORES - beside) // beside)}",
        *run.settings,
        *last,
    ]
    words = [*QUILL, "-v", "train", "--config", "builtin", "--output", str(output)]
    for setting in settings:
        words += ["--set", setting]
    return words


if __name__ == "__main__":
    main()
