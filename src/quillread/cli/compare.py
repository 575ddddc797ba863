"""`quill compare`: is the difference of two models real?"""

import argparse
from pathlib import Path

from quillread.cli.targets import check_targets, target_path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = (
        "Compare two files of `quill evaluate --predictions`: a paired bootstrap and a randomisation test over writers "
        "or documents. Two to five of them prove nothing."
    )
    parser.add_argument("baseline", type=Path, metavar="A", help="predictions of the first model")
    parser.add_argument("candidate", type=Path, metavar="B", help="predictions of the second model")
    parser.add_argument("--json", type=target_path, metavar="FILE", help="write the figures")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the differences with their intervals."""
    import numpy as np

    from quillread.config import dump
    from quillread.evaluate.compare import compare
    from quillread.evaluate.predictions import read_predictions
    from quillread.evaluate.report_text import comparison_note, comparison_table
    from quillread.files import write_json

    check_targets(args, {"json": "JSON file"})
    baseline = read_predictions(args.baseline)
    comparisons = compare(baseline, read_predictions(args.candidate), np.random.default_rng(0))
    print(comparison_table(comparisons), end="")
    if note := comparison_note(comparisons, "group" if len({row.group for row in baseline}) > 1 else "line"):
        print(f"\n{note}", end="")
    if args.json:
        write_json(args.json, [dump(comparison) for comparison in comparisons])
    return 0
