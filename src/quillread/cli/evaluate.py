"""`quill evaluate`: error rates of a model on lines with known text."""

import argparse
import json
import sys
from pathlib import Path

from quillread.cli.progress import ProgressLine


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model on lines with known text",
        description="CER and WER of the bare model: one pass, greedy, no language model, no correction.",
    )
    parser.add_argument("--model", default="builtin", help="name or folder of a model (default: %(default)s)")
    parser.add_argument("--data", required=True, metavar="SPEC", help="lines, as kind:where (see: docs/data.md)")
    parser.add_argument("--split", default="validation", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--predictions", type=Path, metavar="FILE", help="write every line read, for `quill compare`")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write an HTML report with the worst lines")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads; default: all cores")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table; write what is asked for."""
    import numpy as np

    from quillread.data.sources import open_source
    from quillread.data.spec import parse_spec
    from quillread.evaluate.predictions import write_predictions
    from quillread.evaluate.report import evaluation_summary, write_report
    from quillread.evaluate.report_text import summary_table
    from quillread.evaluate.run import run_evaluation
    from quillread.files import write_atomic
    from quillread.recognize.load import load

    source = open_source(parse_spec(args.data), args.split)
    result = run_evaluation(load(args.model, threads=args.threads), source, ProgressLine("lines"))
    summary = evaluation_summary(
        result.rows,
        model=args.model,
        data=args.data,
        split=args.split,
        seconds_per_line=result.seconds_per_line,
        rng=np.random.default_rng(0),
    )
    print(summary_table(summary))
    if args.json:
        write_atomic(args.json, (json.dumps(summary, ensure_ascii=False, indent=2) + "\n").encode())
    if args.predictions:
        write_predictions(args.predictions, result.rows)
    if args.report:
        page = write_report(args.report, result.rows, summary, result.image_of)
        print(f"quill: report in {page}", file=sys.stderr)
    return 0
