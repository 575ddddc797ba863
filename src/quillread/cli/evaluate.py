"""`quill evaluate`: error rates of a model on lines, or on whole pages, with known text."""

import argparse
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quillread.cli.options import add_column_options, with_columns
from quillread.cli.progress import ProgressLine, say, tell_seen, tell_skipped
from quillread.cli.reading_options import add_reading_flags, read_options
from quillread.cli.targets import check_targets, target_path
from quillread.errors import ExitCode, OutputError, UsageError

if TYPE_CHECKING:
    from quillread.reader import Reader
    from quillread.text.charset import Charset

_PAGES_ONLY = ("segmenter", "outline")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = (
        "CER and WER of the bare model: one pass, no language model unless asked for; reading aids of TrOCR as they "
        "are stored with the model, or as asked for."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--data", metavar="SPEC", help="a folder of lines, or kind:where")
    what.add_argument(
        "--pages",
        dest="page_folder",
        type=Path,
        metavar="DIR",
        help="whole pages: images with a PAGE or ALTO file of the same stem; scores line finding, reading order and "
        "text",
    )
    parser.add_argument("--split", default="validation", help="of --data (default: %(default)s)")
    parser.add_argument("--segmenter", metavar="NAME", help="with --pages: name of the line finder")
    parser.add_argument(
        "--outline",
        choices=("baseline", "polygon"),
        help="with --pages: the lines of the ground truth are cut out along their baselines, as high as lines are "
        "apart, or along their polygons, which do not always hold all of the writing (default: baseline)",
    )
    add_column_options(parser)
    add_reading_flags(parser, "none")
    parser.add_argument("--json", type=target_path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--predictions", type=target_path, metavar="FILE", help="write every line read, for `quill compare`"
    )
    parser.add_argument("--report", type=target_path, metavar="DIR", help="write an HTML report with the worst lines")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table; write what is asked for."""
    _check_usage(args)
    return _run_pages(args) if args.page_folder else _run_lines(args)


def _open_reader(args: argparse.Namespace, **changes: Any) -> "Reader":
    from quillread.evaluate.report import without_language
    from quillread.reader import Reader

    return Reader(without_language(read_options(args)), **changes)


def _run_lines(args: argparse.Namespace) -> int:
    import numpy as np

    from quillread.data.spec import open_source, parse_spec
    from quillread.evaluate.predictions import write_predictions
    from quillread.evaluate.report import evaluation_summary, run_evaluation, write_report
    from quillread.evaluate.report_text import summary_table
    from quillread.text.charset import Charset

    data = with_columns([args.data], args)[0]
    source = open_source(parse_spec(data), args.split)
    reader = _open_reader(args, lines=True)  # so that no line finder is loaded
    result = run_evaluation(reader, source, ProgressLine("lines"))
    summary = evaluation_summary(
        result.rows,
        model=", ".join(reader.options.models),
        data=data,
        split=args.split,
        seconds_per_line=result.seconds_per_line,
        rng=np.random.default_rng(0),
        unreadable=len(result.faults),
    )
    print(summary_table(summary), end="")
    tell_seen(result.marks, reader.infos, "these error rates are too low")
    if result.pages:
        say(
            f"warning: {result.pages} of these {len(result.rows)} images are of pages or paragraphs, not lines; they "
            "were read as lines: cut them with: quill data lines PAGE... --output DIR, or use --pages DIR"
        )
    if all(info.family == "compact" for info in reader.infos):
        known = dict.fromkeys(character for info in reader.infos for character in info.charset)
        _tell_unknown(Charset("".join(known)), (row.reference for row in result.rows))
    if args.predictions:
        write_predictions(args.predictions, result.rows)
    _write_figures(args.json, summary)
    if args.report:
        page = write_report(args.report, result.rows, summary, result.image_of)
        say(f"report in {page}")
    tell_skipped(result.faults)
    return ExitCode.INPUT_FAILED if result.faults else ExitCode.OK


def _run_pages(args: argparse.Namespace) -> int:
    """A page or ground truth that could not be used gives exit code 3."""
    from quillread.evaluate.page_report import evaluate_pages, pages_summary, pages_table
    from quillread.evaluate.predictions import write_predictions

    reader = _open_reader(args)
    outline = args.outline or "baseline"
    evaluation = evaluate_pages(
        args.page_folder, reader, by_baseline=outline == "baseline", progress=ProgressLine("pages")
    )
    facts = {
        "model": ", ".join(reader.options.models),
        "data": str(args.page_folder),
        "segmenter": reader.options.segmenter,
        "outline": outline,
    }
    summary = pages_summary(evaluation, facts)
    print(pages_table(summary), end="")
    if args.predictions:
        write_predictions(args.predictions, (page.prediction for page in evaluation.pages))
    _write_figures(args.json, summary)
    faults = [*evaluation.left_out, *(page.error for page in evaluation.pages if page.error)]
    for fault in faults:
        say(fault)
    if evaluation.left_out:
        say(f"{len(evaluation.left_out)} files with ground truth could not be used, and are not part of the figures")
    return ExitCode.INPUT_FAILED if faults else ExitCode.OK


def _write_figures(path: Path | None, summary: Mapping[str, Any]) -> None:
    from quillread.files import write_json

    if path is not None:
        write_json(path, summary)


def _check_usage(args: argparse.Namespace) -> None:
    """Look at options and outputs before anything is read, which may take hours.

    Raises:
        UsageError: If an option would have no effect.
        OutputError: If something cannot be written.
    """
    given = [name for name in _PAGES_ONLY if getattr(args, name)]
    if given and not args.page_folder:
        raise UsageError(f"--{given[0]} is for --pages", hint="drop it, or give --pages in place of --data")
    if args.page_folder and args.report:
        raise UsageError("--report is for --data", hint="--json and --predictions say how each page was read")
    for path in filter(None, (args.predictions, args.json)):
        if path.is_dir():
            raise OutputError(f"{path}: is a folder", hint="name a file")
    if args.report and args.report.exists() and not args.report.is_dir():
        raise OutputError(f"{args.report}: is not a folder", hint="name a folder for the report")
    check_targets(args, {"predictions": "JSON file", "json": "JSON file", "report": "report"})


def _tell_unknown(charset: "Charset", references: Iterable[str]) -> None:
    """Name the characters that the model cannot write: their errors say nothing about how it reads."""
    unknown = sum((charset.unknown(text) for text in references), Counter[str]())
    if unknown:
        listed = ", ".join(f"{character!r} {count}" for character, count in unknown.most_common(10))
        say(f"{unknown.total()} characters of the references are outside the model's charset, all errors: {listed}")
