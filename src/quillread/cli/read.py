"""`quill read`: images, PDFs and IIIF manifests in, text out."""

import argparse
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from quillread.batch.executors import Executor, ProcessExecutor, SerialExecutor
from quillread.batch.inputs import Input, find_inputs, find_segmented, part_results
from quillread.batch.log import ReadLog
from quillread.batch.outputs import refuse_overwriting
from quillread.batch.records import written_files
from quillread.batch.review import REVIEW_NAME
from quillread.cli.options import positive_number
from quillread.cli.reading import Reading
from quillread.cli.reading_options import add_page_flags, add_reading_flags, check_page_flags, read_options
from quillread.cli.targets import target_path
from quillread.config import suggest
from quillread.errors import OutputError, UsageError
from quillread.files import clear_parts, real_path
from quillread.formats.export import FORMATS
from quillread.formats.ground_truth import list_layouts
from quillread.options import Provenance, ReadOptions
from quillread.reader import Reader


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = (
        "Read handwriting in images, PDFs and IIIF manifests. Text goes to stdout, or into files with --output."
    )
    parser.epilog = "Exit code 0: all inputs were read; 3: some or all could not be read, each is named on stderr."
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="file, folder, pattern, web address, or - for stdin")
    _add_page_flags(parser)
    _add_output_flags(parser)
    add_reading_flags(parser, "auto with compact models, none with TrOCR")
    parser.set_defaults(run=run)


def _add_page_flags(parser: argparse.ArgumentParser) -> None:
    add_page_flags(
        parser,
        "a PAGE or ALTO file, or a folder of them, whose lines are read instead of finding lines; their names are "
        "kept; without INPUT, the images beside them are read",
    )
    parser.add_argument(
        "--jobs",
        type=positive_number,
        default=1,
        metavar="N",
        help="read N pages at a time, each in a process of its own with one thread; a page that crashes its process "
        "is lost alone (default: %(default)s, all in one process)",
    )


def _add_output_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--format",
        type=read_formats,
        metavar="NAME[,NAME]",
        help=f"{', '.join(FORMATS)}; several go into files (default: txt). json is one document for each input on a "
        "line of its own",
    )
    parser.add_argument(
        "-o", "--output", type=target_path, metavar="DIR", help="write one file for each input and format into DIR"
    )
    parser.add_argument(
        "--resume", action="store_true", help="skip inputs that an earlier run has already written to --output"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write over files that hold the results of another input, were changed since, or were not written here",
    )
    parser.add_argument(
        "--overlay",
        type=target_path,
        metavar="DIR",
        help="draw each page with its lines and text, coloured by confidence",
    )
    parser.add_argument(
        "--show", action="store_true", help="print the text for reading in a terminal, with doubtful words marked"
    )
    parser.add_argument(
        "--review",
        type=_share,
        metavar="CER",
        help="list the lines to proofread so that the expected error rate of the rest is at most CER, as 0.05 for "
        f"5 %%: on stderr, or as {REVIEW_NAME} in the folder of --output",
    )


def run(args: argparse.Namespace) -> int:
    """Read all inputs, in order; one that fails is named on stderr and does not stop the others."""
    formats = _check_usage(args)
    options = read_options(args)
    inputs = _find(args, options)
    _refuse_overwriting(args, formats, inputs, options)
    executor = _executor(args.jobs, options)
    with contextlib.closing(executor):
        log = _open_log(args, formats, inputs, options)
        _keep_review(args, log)
        return Reading(args, formats, inputs, options, log).run(executor)


def read_formats(text: str) -> tuple[str, ...]:
    """Read a list of formats, for `type=` of an argument."""
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"unknown format {name!r}{suggest(name, list(FORMATS))}")
    return names


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must lie in 0 to 1, got {text!r}: 5 % is 0.05")
    return value


def _check_usage(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the formats to write; before the model is loaded, as that takes time.

    Raises:
        UsageError: If the options do not make sense together.
    """
    hint = "name a folder with --output"
    if not args.inputs and not args.segmentation:
        raise UsageError("there is nothing to read", hint="name an image, PDF or folder")
    check_page_flags(args)
    if args.resume and args.review is not None:
        raise UsageError(
            "--review lists what is read now, and --resume skips what was read before",
            hint="read all again without --resume, or drop --review",
        )
    if args.resume and not args.output:
        raise UsageError("--resume looks into the folder of --output, and none is named", hint=hint)
    if args.show and args.format and not args.output:
        raise UsageError("--show and --format would both write to stdout", hint=hint)
    formats: tuple[str, ...] = args.format or ("txt",)
    if args.output:
        return formats
    if len(formats) > 1:
        raise UsageError(f"several formats ({', '.join(formats)}) need files", hint=hint)
    if not FORMATS[formats[0]].streams:
        raise UsageError(f"the format {formats[0]} needs files", hint=hint)
    return () if args.show else formats


def _find(args: argparse.Namespace, options: ReadOptions) -> list[Input]:
    known, folders = options.segmentation, list(filter(None, (args.output, args.overlay)))
    results = {real_path(folder) for folder in folders}.union(*map(written_files, folders))
    inputs = find_inputs(args.inputs, results) if args.inputs or known is None else find_segmented(known)
    inputs = part_results(inputs) if folders else inputs
    if len(inputs) > 1 and known is not None and known.is_file():
        hint = "name a folder with a file for each"
        raise UsageError(f"{known} is about one page, and there are {len(inputs)} inputs", hint=hint)
    return inputs


def _refuse_overwriting(
    args: argparse.Namespace, formats: Sequence[str], inputs: Sequence[Input], options: ReadOptions
) -> None:
    sources = list_layouts(options.segmentation) if options.segmentation else []
    results = [(args.output, f".{FORMATS[name].suffix}") for name in formats] if args.output else []
    results += [(args.overlay, ".png")] if args.overlay else []
    refuse_overwriting(inputs, sources, results)


def _executor(jobs: int, options: ReadOptions) -> Executor:
    return SerialExecutor(Reader(options)) if jobs == 1 else ProcessExecutor(options, jobs)


def _open_log(
    args: argparse.Namespace, formats: Sequence[str], inputs: Sequence[Input], options: ReadOptions
) -> ReadLog | None:
    """Make the folders of the results, and open the log of the first, without which nothing is remembered."""
    folders = list(filter(None, (args.output, args.overlay)))
    for folder in folders:
        _make_folder(folder)
        for place in {(folder / entry.stem).parent for entry in inputs}:
            clear_parts(place)
    if not folders:
        return None
    return ReadLog(folders[0], formats if args.output else (), Provenance(options).fingerprint(), args.overlay)


def _keep_review(args: argparse.Namespace, log: ReadLog | None) -> None:
    """Refuse to write over a list of lines that was worked on, before anything is read.

    Raises:
        OutputError: If there is one.
    """
    if log is None or args.review is None or not args.output or args.overwrite:
        return
    why = log.review_refusal()
    if why:
        raise OutputError(why, hint="write into another folder, move that file away, or write over it with --overwrite")


def _make_folder(output: Path) -> None:
    """Make the output folder before anything is read: reading may take hours.

    Raises:
        OutputError: If nothing can be written there.
    """
    hint = "name another folder"
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be created: {error.strerror}", hint=hint) from error
    if not os.access(output, os.W_OK):
        raise OutputError(f"{output}: no permission to write there", hint=hint)
