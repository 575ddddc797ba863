"""`quill compare`: is the difference of two models real?"""

import argparse
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compare",
        help="compare the predictions of two models on the same lines",
        description="Paired bootstrap over writers or documents of two files of `quill evaluate --predictions`.",
    )
    parser.add_argument("baseline", type=Path, metavar="A", help="predictions of the first model")
    parser.add_argument("candidate", type=Path, metavar="B", help="predictions of the second model")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the differences with their intervals."""
    import json

    import numpy as np

    from quillread.config import dump
    from quillread.evaluate.compare import compare
    from quillread.evaluate.predictions import read_predictions
    from quillread.evaluate.report_text import comparison_table
    from quillread.files import write_atomic

    comparisons = compare(read_predictions(args.baseline), read_predictions(args.candidate), np.random.default_rng(0))
    print(comparison_table(comparisons))
    if args.json:
        document = [dump(comparison) for comparison in comparisons]
        write_atomic(args.json, (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode())
    return 0
