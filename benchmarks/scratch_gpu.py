"""How well does a network of TrOCR's shape read that starts from random weights and has a few minutes on a GPU.

    python benchmarks/scratch_gpu.py --iam SPEC@0.45 --strokes SPEC@0.3 --fonts SPEC@0.25 --minutes 6 --output DIR

The run is `quill train --config trocr-scratch-gpu`, the figures are those of `quill evaluate` on all validation lines
of IAM with the folder that it leaves. `--run` measures a run that is in DIR already.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from record import describe_machine, save


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iam", required=True, metavar="SPEC")
    parser.add_argument("--strokes", metavar="SPEC")
    parser.add_argument("--fonts", metavar="SPEC")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--set", action="append", default=[], help="another setting of the run")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder of the run")
    parser.add_argument("--run", action="store_true", help="the run is in --output already")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--curve", type=Path, help="copy the learning curve there")
    args = parser.parse_args()
    machine = describe_machine()
    validation = args.iam.rpartition("@")[0] or args.iam
    if not args.run:
        data = [part for spec in (args.iam, args.strokes, args.fonts) if spec for part in ("--data", spec)]
        settings = [part for setting in (f"minutes={args.minutes}", *args.set) for part in ("--set", setting)]
        quill("train", "--config", "trocr-scratch-gpu", *data, "--validation", validation, *settings,
              "--output", str(args.output))  # fmt: skip
    figures = args.output / "validation.json"
    quill("evaluate", "--model", str(args.output / "model"), "--data", validation, "--json", str(figures))
    results = collect(args.output, json.loads(figures.read_text(encoding="utf-8")))
    print(json.dumps(results, indent=2, ensure_ascii=False))
    if args.json:
        save(args.json, "scratch_gpu", machine, results)
    if args.curve:
        shutil.copy(args.output / "curve.png", args.curve)


def collect(run: Path, measured: dict[str, Any]) -> dict[str, Any]:
    """Put together what the run and its evaluation have written."""
    history = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    settings = json.loads((run / "train.json").read_text(encoding="utf-8"))
    rates = [entry for entry in history if "eval_cer_spacing" in entry]
    names = ("lines", "cer", "wer", "cer_spacing", "wer_spacing", "ci95", "seconds_per_line")
    return {
        "minutes": settings["minutes"],
        "steps": history[-1]["step"],
        "lines_seen": history[-1]["step"] * settings["batch_size"],
        "validation": {name: measured[name] for name in names if name in measured},
        "curve": [{"step": entry["step"], "cer_spacing": entry["eval_cer_spacing"]} for entry in rates],
    }


def quill(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "quillread.cli.main", *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
