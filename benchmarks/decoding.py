"""How long decoding with a language takes, beside another version of Quillread: the same columns, by turns.

    git worktree add ../before REV
    python benchmarks/decoding.py --root DIR --before ../before --json benchmarks/results/decoding.json

DIR holds collections in the hub's parquet layout. The built-in model of this tree reads validation lines, evenly
spread, once; each version then decodes what it saw in a process of its own, on one thread. Processor time counts, and
what was read is compared: text, log probability, shares of words.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from record import describe_machine, save

from quillread.data.source import Source, fixed_sample
from quillread.data.spec import open_source, parse_spec
from quillread.images.fit import ink_pixels
from quillread.images.preprocess import preprocess
from quillread.models.catalog import describe
from quillread.models.model_folder import ONNX_NAME
from quillread.models.onnx import OnnxBackend
from quillread.recognize.ctc import CtcEngine

HERE = Path(__file__).parents[1]
_DECODE = """
import dataclasses, hashlib, json, sys, time
import numpy as np
from quillread.language.catalog import AUTO, LanguageConfig, LanguageOpener
from quillread.language.decoder import LanguageDecoder
from quillread.models.catalog import describe
from quillread.text.charset import Charset

info = describe("builtin").info
choice = LanguageOpener(LanguageConfig((AUTO,)), info.charset).choice(info.language)
decode = LanguageDecoder(Charset(info.charset), choice, info.language.beam)
with np.load(sys.argv[1]) as columns:
    lines = [columns[f"arr_{i}"] for i in range(len(columns.files))]
start = time.process_time()
found = [decode([line]) for line in lines]
seconds = (time.process_time() - start) / len(lines)
said = [(f.text, f.log_probability, f.share, [e.share for e in f.emissions]) for f in found]
print(json.dumps({"seconds": seconds, "read": hashlib.sha256(repr(said).encode()).hexdigest()}))
"""


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="folder of the collections")
    parser.add_argument("--before", type=Path, required=True, metavar="DIR", help="source tree of the other version")
    parser.add_argument("--sets", nargs="+", default=["iam-line", "copiste", "hooker", "lettres"], metavar="NAME")
    parser.add_argument("--lines", type=int, default=250, metavar="N", help="of each collection (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    args = parser.parse_args()
    machine = describe_machine()
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in args.sets:
            file = Path(folder) / f"{name}.npz"
            lines = see(open_source(parse_spec(f"hub:{args.root / name}"), "validation"), args.lines)
            np.savez(file, *lines)
            figures[name] = {"lines": len(lines), **compare(args.before, file, args.rounds)}
            print(name, figures[name], flush=True)
    if args.json:
        save(args.json, "decoding", machine, {"rounds": args.rounds, "collections": figures})


def see(source: Source, count: int) -> list[np.ndarray]:
    """What the network says of lines, evenly spread: log probabilities, float32 (T, classes) each."""
    entry = describe("builtin")
    engine = CtcEngine(OnnxBackend(entry.folder / ONNX_NAME, 1), entry.info)
    places = np.linspace(0, len(source) - 1, min(count, len(source))).astype(int)
    images = [preprocess(fixed_sample(source, int(i)).image, entry.info.preprocess)[0] for i in places]
    return [next(engine._look([ink_pixels(image, entry.info.ink)])) for image in images]


def compare(before: Path, file: Path, rounds: int) -> dict[str, object]:
    """Milliseconds of processor time a line of both versions, by turns, and whether both read the same."""
    spent: dict[Path, list[float]] = {before: [], HERE: []}
    read = set()
    for _ in range(rounds):
        for tree, times in spent.items():
            environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
            answer = subprocess.run([sys.executable, "-c", _DECODE, str(file)], env=environment, check=True,
                                    capture_output=True, text=True).stdout  # fmt: skip
            told = json.loads(answer)
            times.append(1000 * told["seconds"])
            read.add(told["read"])
    ratios = [now / then for then, now in zip(*spent.values(), strict=True)]
    return {
        "before_ms": round(statistics.median(spent[before]), 2),
        "now_ms": round(statistics.median(spent[HERE]), 2),
        "ratio": round(statistics.median(ratios), 3),
        "range": [round(min(ratios), 3), round(max(ratios), 3)],
        "is_same": len(read) == 1,
    }


if __name__ == "__main__":
    main()
