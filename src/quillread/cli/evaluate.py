"""`quill evaluate`: error rates of a model on lines, or on whole pages, with known text."""

import argparse
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.cli.evaluate_pages import add_page_options, refuse_page_options, run_pages
from quillread.cli.generate_options import add_generate_options
from quillread.cli.options import add_column_options, add_model_options, with_columns
from quillread.cli.progress import ProgressLine, say, tell_left_out
from quillread.cli.readers import add_reader_options, load_reader
from quillread.errors import InputError, OutputError

if TYPE_CHECKING:
    from quillread.text.charset import Charset


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="measure a model on lines or pages with known text",
        description="CER and WER of the bare model: one pass, no language model unless asked for; reading aids of "
        "TrOCR as they are stored with the model, or as asked for.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", metavar="SPEC", help="a folder of lines, or kind:where")
    what.add_argument(
        "--pages",
        type=Path,
        metavar="DIR",
        help="whole pages: images with a PAGE or ALTO file of the same stem; scores line finding, reading order and "
        "text",
    )
    parser.add_argument("--split", default="validation", help="of --data (default: %(default)s)")
    add_page_options(parser)
    add_column_options(parser)
    add_model_options(parser)
    add_generate_options(parser)
    add_reader_options(parser, "none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--predictions", type=Path, metavar="FILE", help="write every line read, for `quill compare`")
    parser.add_argument("--report", type=Path, metavar="DIR", help="write an HTML report with the worst lines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table; write what is asked for."""
    _check_outputs(args)
    return run_pages(args) if args.pages else _run_lines(args)


def _run_lines(args: argparse.Namespace) -> int:
    import numpy as np

    from quillread.data.spec import open_source, parse_spec
    from quillread.evaluate.predictions import write_predictions
    from quillread.evaluate.report import evaluation_summary, run_evaluation, write_report
    from quillread.evaluate.report_text import summary_table
    from quillread.files import write_atomic
    from quillread.text.charset import Charset

    refuse_page_options(args)
    data = with_columns([args.data], args)[0]
    source = open_source(parse_spec(data), args.split)
    recognizer = load_reader(args, auto=False)
    result = run_evaluation(recognizer, source, ProgressLine("lines"))
    summary = evaluation_summary(
        result.rows,
        model=args.model,
        data=data,
        split=args.split,
        seconds_per_line=result.seconds_per_line,
        rng=np.random.default_rng(0),
        unreadable=len(result.faults),
    )
    print(summary_table(summary), end="")
    if recognizer.info.family == "compact":
        _tell_unknown(Charset(recognizer.info.charset), (row.reference for row in result.rows))
    if args.predictions:
        write_predictions(args.predictions, result.rows)
    if args.json:
        write_atomic(args.json, (json.dumps(summary, ensure_ascii=False, indent=2) + "\n").encode())
    if args.report:
        page = write_report(args.report, result.rows, summary, result.image_of)
        say(f"report in {page}")
    tell_left_out(result.faults)
    return InputError.exit_code if result.faults else 0


def _check_outputs(args: argparse.Namespace) -> None:
    """Look at what is to be written before anything is read, which may take hours."""
    for path in filter(None, (args.predictions, args.json)):
        if path.is_dir():
            raise OutputError(f"{path}: is a folder", hint="name a file")
    if args.report and args.report.exists() and not args.report.is_dir():
        raise OutputError(f"{args.report}: is no folder", hint="name a folder for the report")


def _tell_unknown(charset: "Charset", references: Iterable[str]) -> None:
    """Name the characters that the model cannot write: their errors say nothing about how it reads."""
    unknown = sum((charset.unknown(text) for text in references), Counter[str]())
    if unknown:
        listed = ", ".join(f"{character!r} {count}" for character, count in unknown.most_common(10))
        say(f"{unknown.total()} characters of the references are outside the model's charset, all errors: {listed}")
