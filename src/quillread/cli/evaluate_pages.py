"""`quill evaluate --pages`: how well whole pages are read."""

import argparse
import json

from quillread.cli.progress import ProgressLine, say
from quillread.cli.readers import load_reader
from quillread.errors import InputError, UsageError


def add_page_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that are of use with `--pages` only."""
    parser.add_argument("--segmenter", metavar="NAME", help="with --pages: name of the line finder")
    parser.add_argument(
        "--outline",
        choices=("baseline", "polygon"),
        help="with --pages: the lines of the ground truth are cut out along their baselines, as high as lines are "
        "apart, or along their polygons, which do not always hold all of the writing (default: baseline)",
    )


def refuse_page_options(args: argparse.Namespace) -> None:
    """Refuse options that would have no effect.

    Raises:
        UsageError: If one is given without `--pages`.
    """
    for name in ("segmenter", "outline"):
        if getattr(args, name):
            raise UsageError(f"--{name} is for --pages", hint="leave it out, or give --pages in place of --data")


def run_pages(args: argparse.Namespace) -> int:
    """Print a table; write what is asked for. A page or ground truth that could not be used gives exit code 3."""
    import cv2

    from quillread.evaluate.page_report import evaluate_pages, pages_summary, pages_table
    from quillread.evaluate.predictions import write_predictions
    from quillread.files import write_atomic
    from quillread.pages.transcribe import PageConfig, PageReader

    if args.report:
        raise UsageError("--report is for --data", hint="--json and --predictions say how each page was read")
    if args.threads:
        cv2.setNumThreads(args.threads)
    config = PageConfig(segmenter=args.segmenter) if args.segmenter else PageConfig()
    recognizer = load_reader(args, auto=False)
    reader = PageReader(recognizer, args.model, config)
    outline = args.outline or "baseline"
    evaluation = evaluate_pages(
        args.pages, reader, recognizer, by_baseline=outline == "baseline", progress=ProgressLine("pages")
    )
    facts = {"model": args.model, "data": str(args.pages), "segmenter": config.segmenter, "outline": outline}
    summary = pages_summary(evaluation, facts)
    print(pages_table(summary), end="")
    if args.predictions:
        write_predictions(args.predictions, (page.prediction for page in evaluation.pages))
    if args.json:
        write_atomic(args.json, (json.dumps(summary, ensure_ascii=False, indent=2) + "\n").encode())
    faults = [*evaluation.left_out, *(page.error for page in evaluation.pages if page.error)]
    for fault in faults:
        say(fault)
    if evaluation.left_out:
        say(f"{len(evaluation.left_out)} files with ground truth could not be used, the figures are without them")
    return InputError.exit_code if faults else 0
