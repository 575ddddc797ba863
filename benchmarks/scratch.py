"""Does TrOCR's training learn at all: a small network of its shape, from random weights, on 500 lines.

The lines are of three kinds: IAM, pen strokes and fonts. The run is `quill train --config trocr-scratch`, the error on
its own lines is measured with `quill evaluate` on the folder that it leaves, and some are read with `quill read`.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from line_sets import write_lines
from PIL import Image
from record import describe_machine, save

from quillread.data.spec import open_source, parse_spec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iam", required=True, metavar="SPEC")
    parser.add_argument("--strokes", required=True, metavar="SPEC")
    parser.add_argument("--fonts", required=True, metavar="SPEC")
    parser.add_argument("--set", action="append", default=[], help="another setting of the run")
    parser.add_argument("--output", type=Path, help="keep the run there")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--curve", type=Path, help="copy the learning curve there")
    args = parser.parse_args()
    machine = describe_machine()
    with tempfile.TemporaryDirectory() as place:
        folder = args.output or Path(place)
        parts = []
        for spec, count in ((args.iam, 350), (args.strokes, 100), (args.fonts, 50)):
            source = open_source(parse_spec(spec), "train")
            with_text = [i for i in range(len(source)) if source.text(i).strip()]
            parts.append((source, sorted(np.random.default_rng(1).permutation(with_text)[:count])))
        for split in ("train", "validation"):
            write_lines(parts, folder / "learnt", split)
        results = learn(args, folder)
        if args.curve:
            shutil.copy(folder / "run" / "curve.png", args.curve)
    print(json.dumps(results, indent=2, ensure_ascii=False))
    if args.json:
        save(args.json, "scratch", machine, results)


def learn(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    learnt = f"hub:{folder / 'learnt'}"
    start = time.perf_counter()
    command = ["train", "--config", "trocr-scratch", "--data", learnt, "--validation", learnt, "--validation", args.iam]
    settings = [part for setting in args.set for part in ("--set", setting)]
    quill(*command, *settings, "--set", "validation_lines=60", "--output", str(folder / "run"))
    seconds = time.perf_counter() - start
    model = str(folder / "run" / "model")
    figures = folder / "figures.json"
    quill("evaluate", "--model", model, "--data", learnt, "--split", "train", "--json", str(figures))
    measured = json.loads(figures.read_text(encoding="utf-8"))
    other = parse_spec(args.iam).where.rstrip("/").rpartition("/")[2].replace("-", "_")
    history = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "lines": measured["lines"],
        "training_seconds": seconds,
        "training_cer": measured["cer"],
        "training_cer_spacing": measured["cer_spacing"],
        "training_ci95": measured["ci95"]["cer"],
        "seconds_per_line": measured["seconds_per_line"],
        "curve": [
            {
                "step": e["step"],
                "learnt_cer": e["eval_learnt_cer_spacing"],
                "validation_cer": e[f"eval_{other}_cer_spacing"],
            }
            for e in history
            if "eval_learnt_cer_spacing" in e
        ],
        "read": read_some(folder, model),
    }


def read_some(folder: Path, model: str) -> list[dict[str, str]]:
    """Read three of the lines as files, as a user would."""
    source = open_source(parse_spec(f"hub:{folder / 'learnt'}"), "train")
    rows = []
    for i in (0, 400, 480):
        sample = source.sample(i, np.random.default_rng(0))
        path = folder / f"line-{i}.png"
        content = io.BytesIO()
        Image.fromarray(sample.image).save(content, "PNG")
        path.write_bytes(content.getvalue())
        rows.append({"wrote": sample.text, "read": quill("read", "--lines", "--model", model, str(path)).strip()})
    return rows


def quill(*arguments: str) -> str:
    command = [sys.executable, "-m", "quillread.cli.main", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8").stdout


if __name__ == "__main__":
    main()
