"""A TrOCR checkpoint that reads, exported: are the texts equal, what do eight bits cost, how far do drafts carry.

    python benchmarks/trocr_reads.py --model FOLDER --data hub:DIR/iam-line --json benchmarks/results/trocr_reads.json

Greedy search line by line, one thread, no language: by torch in float32, and by exports in float32 and in eight bits,
each without drafts and with those of the built-in model, whose time counts.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from record import describe_machine, save

from quillread.data.spec import open_source, parse_spec
from quillread.evaluate.bootstrap import bootstrap_ci
from quillread.evaluate.metrics import score_line
from quillread.models.trocr.onnx_network import Next, OnnxTrocr
from quillread.models.trocr.settings import GenerateChanges
from quillread.recognize.load import load
from quillread.types import Sample


def main() -> None:
    """Export, read, compare, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", required=True, metavar="SPEC", help="its validation split is read")
    parser.add_argument("--lines", type=int, metavar="N", help="evenly spread (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    machine = describe_machine()
    source = open_source(parse_spec(args.data), "validation")
    count = min(args.lines or len(source), len(source))
    places = np.linspace(0, len(source) - 1, count).round().astype(int).tolist()
    lines = [source.sample(i, np.random.default_rng(0)) for i in places]
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        found["torch"] = read(str(args.model), lines, drafts=None)
        for weights in ("float32", "int8"):
            target = str(Path(folder) / weights)
            command = [sys.executable, "-m", "quillread.cli.main", "models", "export", str(args.model), target]
            subprocess.run([*command, "--weights", weights], check=True, stdout=subprocess.DEVNULL)
            for drafts in (False, True):
                name = f"{weights}, {'drafts' if drafts else 'no drafts'}"
                found[name] = read(target, lines, drafts=drafts)
    first = found["torch"].pop("texts")
    for name, row in found.items():
        texts = first if name == "torch" else row.pop("texts")
        row["texts_as_in_torch"] = round(float(np.mean([a == b for a, b in zip(texts, first, strict=True)])), 4)
        row |= rate(lines, texts)
        print(name, *(f"{key} {value}" for key, value in row.items()))
    if args.json:
        save(args.json, "trocr_reads", machine, {"lines": len(lines), "split": "validation", "rows": found})


def read(model: str, lines: Sequence[Sample], drafts: bool | None) -> dict[str, Any]:
    """Read lines one by one; count the passes of an export's decoder, with those that tell how likely an end is."""
    reader = load(model, threads=1, generate=GenerateChanges(draft=drafts, beams=1))
    passes: list[int] = []
    step = OnnxTrocr.step

    def counted(self: OnnxTrocr, *inputs: Any) -> Next:
        passes.append(1)
        return step(self, *inputs)

    OnnxTrocr.step = counted  # type: ignore[method-assign]
    spent, texts = 0.0, []
    try:
        for line in lines:
            start = time.process_time()
            texts.append(reader.read([line.image])[0].text)
            spent += time.process_time() - start
    finally:
        OnnxTrocr.step = step  # type: ignore[method-assign]
    row = {"texts": texts, "cpu_seconds_a_line": round(spent / len(lines), 4)}
    return row | ({"passes_a_line": round(len(passes) / len(lines), 2)} if passes else {})


def rate(lines: Sequence[Sample], texts: Sequence[str]) -> dict[str, Any]:
    """CER with spacing around punctuation ignored, and its interval over writers."""
    scores = [score_line(line.text, text).cer_spacing for line, text in zip(lines, texts, strict=True)]
    groups = [line.group for line in lines]
    low, high = bootstrap_ci({"cer": scores}, groups, np.random.default_rng(0))["cer"]
    cer = sum(score.edits for score in scores) / sum(score.length for score in scores)
    return {"cer_spacing": round(cer, 4), "ci95": [round(low, 4), round(high, 4)]}


if __name__ == "__main__":
    main()
