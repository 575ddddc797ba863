"""Error rates of models on a few evenly spread validation lines of each set, as a training validates with.

    python benchmarks/few_lines.py --root DIR MODEL...

For choices that must not be made on all lines, such as the share of a run in averaged weights (the model card of
`builtin`). DIR and the sets are those of `accuracy.py`, without Poilus, which is too small. Prints a table row a model.
"""

import argparse
from pathlib import Path

from accuracy import REWRITTEN, SETS

from quillread.data.spec import parse_spec
from quillread.evaluate.metrics import score_line, total
from quillread.recognize.load import load
from quillread.train.lines import open_validation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    args = parser.parse_args()
    names = [name for name in SETS if name != "poilus"]
    specs = [parse_spec(f"hub:{args.root / name}{REWRITTEN.get(name, '')}") for name in names]
    sets = open_validation(specs, args.lines)
    print("| model |", " | ".join(names), "| mean |")
    for model in args.models:
        recognizer = load(model)
        rates = []
        for part in sets:
            read = recognizer.read([sample.image for sample in part.samples])
            counts = [score_line(s.text, t.text).cer_spacing for s, t in zip(part.samples, read, strict=True)]
            rates.append(100 * total(counts).rate)
        print(f"| {model} |", " | ".join(f"{rate:.1f} %" for rate in rates), f"| {sum(rates) / len(rates):.1f} % |")


if __name__ == "__main__":
    main()
