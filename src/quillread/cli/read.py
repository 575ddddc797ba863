"""`quill read`: images, PDFs and IIIF manifests in, text out."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quillread.cli.generate_options import add_generate_options
from quillread.cli.inputs import STDIN, Input, find_inputs, find_segmented
from quillread.cli.options import add_model_options
from quillread.cli.output import (
    Outputs,
    OverlaySink,
    PageProgress,
    Sink,
    file_sink,
    refuse_overwriting,
)
from quillread.cli.progress import ProgressLine, say
from quillread.cli.readers import add_reader_options, load_reader, reading_settings
from quillread.cli.resume import ReadLog, reading_key
from quillread.cli.review import ReviewList, add_review_option
from quillread.cli.show import ShowSink, uses_colours
from quillread.cli.stdout import Stdout, StdoutSink
from quillread.config import apply_overrides, build, suggest
from quillread.errors import OutputError, UsageError
from quillread.formats.export import FORMATS, ExportInfo
from quillread.types import Page

if TYPE_CHECKING:
    from quillread.pages.transcribe import PageReader

log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "read",
        help="read handwriting in images and PDFs",
        description="Read handwriting in images, PDFs and IIIF manifests. Text goes to stdout, or into files with "
        "--output.",
        epilog="Exit code 0: all inputs were read; 3: some or all could not be read, each is named on stderr.",
    )
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="file, folder, pattern, address of the web, or - for stdin"
    )
    parser.add_argument("--lines", action="store_true", help="the images are single lines of writing already")
    parser.add_argument("--segmenter", metavar="NAME", help="name of the line finder")
    parser.add_argument(
        "--segmentation",
        type=Path,
        metavar="PATH",
        help="a PAGE or ALTO file, or a folder of them, whose lines are read instead of finding lines; their names are "
        "kept; without INPUT, the images beside them are read",
    )
    _add_output_options(parser)
    add_model_options(parser)
    add_generate_options(parser)
    add_reader_options(parser, "auto with compact models, none with TrOCR")
    add_review_option(parser)
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="other settings, such as read.pdf_dpi=400, read.max_pixels=400000000, sheet.flatten=true or "
        "crop.margin=0.1; may be repeated",
    )
    parser.set_defaults(run=run)


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        type=_formats,
        metavar="NAME[,NAME]",
        help=f"{', '.join(FORMATS)}; several go into files (default: txt). json is one document for each input on a "
        "line of its own",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write one file for each input and format into DIR")
    parser.add_argument(
        "--resume", action="store_true", help="pass over inputs that a former run wrote to --output in full"
    )
    parser.add_argument(
        "--overlay", type=Path, metavar="DIR", help="draw each page with its lines and text, coloured by confidence"
    )
    parser.add_argument(
        "--show", action="store_true", help="print the text for reading in a terminal, with doubtful words marked"
    )


def run(args: argparse.Namespace) -> int:
    """Read all inputs, in order; one that fails is named on stderr and does not stop the others."""
    import cv2

    formats = _check_usage(args)
    inputs = find_inputs(args.inputs) if args.inputs else find_segmented(args.segmentation)
    if len(inputs) > 1 and args.segmentation and args.segmentation.is_file():
        hint = "name a folder with a file for each"
        raise UsageError(f"{args.segmentation} is about one page, and there are {len(inputs)} inputs", hint=hint)
    _refuse_overwriting(args, formats, inputs)
    if args.threads:
        cv2.setNumThreads(args.threads)
    reader = _make_reader(args)
    for folder in filter(None, (args.output, args.overlay)):
        _make_folder(folder)
    done = None
    if args.output:
        reading = reader.provenance | reading_key(args, reader.config.segmenter)
        done = ReadLog(args.output, formats, reading, args.overlay)
    stdout = Stdout(b"" if formats == ("json",) else b"\n")
    review = ReviewList()
    progress = ProgressLine("inputs")
    failed = passed_over = 0
    for number, entry in enumerate(inputs, 1):
        if done and args.resume and done.has(entry):
            passed_over += 1
        else:
            makers = _sink_makers(args, formats, entry, stdout, alone=len(inputs) == 1)
            makers += [review.sink] if args.review is not None else []
            journal = done.journal(entry, args.resume) if done else None
            outputs = Outputs([*makers, journal.begin] if journal else makers)
            start = time.perf_counter()
            errors = _read(reader, entry, outputs, journal.page if journal else None)
            seconds = time.perf_counter() - start
            log.info("%s: pages read: %d, in %.1f s", entry.name, outputs.pages, seconds)
            failed += bool(errors)
            for error in errors:
                say(error)
            if done:
                done.add(entry, outputs.pages, len(errors))
        progress(number, len(inputs))
    if args.review is not None:
        review.finish(args.review, args.output)
    if passed_over:
        say(f"{passed_over} of {len(inputs)} inputs were read by a former run")
    if failed:
        say(f"{failed} of {len(inputs)} inputs could not be read in full")
    return 3 if failed else 0


def _formats(text: str) -> tuple[str, ...]:
    """Read a list of formats, for `type=` of an argument."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in FORMATS:
            raise argparse.ArgumentTypeError(f"unknown format {name!r}{suggest(name, list(FORMATS))}")
    return names


def _check_usage(args: argparse.Namespace) -> tuple[str, ...]:
    """Return the formats to write; before the model is loaded, as that takes time.

    Raises:
        UsageError: If the options do not make sense together.
    """
    hint = "name a folder with --output"
    if not args.inputs and not args.segmentation:
        raise UsageError("there is nothing to read", hint="name an image, PDF or folder")
    if args.resume and args.review is not None:
        raise UsageError(
            "--review lists what is read now, and --resume passes over what was read before",
            hint="read all again without --resume, or leave --review out",
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


def _refuse_overwriting(args: argparse.Namespace, formats: Sequence[str], inputs: Sequence[Input]) -> None:
    where = args.segmentation
    sources = [] if where is None else where.rglob("*.xml") if where.is_dir() else [where]
    results = [(args.output, f".{FORMATS[name].suffix}") for name in formats] if args.output else []
    results += [(args.overlay, ".png")] if args.overlay else []
    refuse_overwriting(inputs, sources, results)


def _make_reader(args: argparse.Namespace) -> "PageReader":
    from quillread.pages.given import GivenLayouts
    from quillread.pages.transcribe import PageConfig, PageReader

    values: dict[str, Any] = {"lines": args.lines} if args.lines else {}
    if args.segmenter:
        values["segmenter"] = args.segmenter
    config = build(PageConfig, apply_overrides(values, args.settings), "--set")
    if config.lines and args.segmentation:
        raise UsageError("--lines and --segmentation exclude each other", hint="leave one of them out")
    if args.segmenter and (config.lines or args.segmentation):
        other = "--lines" if config.lines else "--segmentation"
        raise UsageError(f"--segmenter finds lines, and {other} says that none are to be found", hint="leave one out")
    layouts = GivenLayouts(args.segmentation) if args.segmentation else None
    reader = PageReader(load_reader(args, auto=True), args.model, config, layouts)
    reader.provenance |= reading_settings(args)
    if args.segmentation:
        reader.provenance["segmentation"] = str(args.segmentation)
    return reader


def _sink_makers(
    args: argparse.Namespace, formats: Sequence[str], entry: Input, stdout: Stdout, alone: bool
) -> list[Callable[[ExportInfo], Sink]]:
    makers: list[Callable[[ExportInfo], Sink]] = []
    for name in formats:
        if args.output:
            makers.append(partial(file_sink, args.output / entry.stem, name))
        else:
            makers.append(partial(StdoutSink, stdout, FORMATS[name]))
    if args.overlay:
        makers.append(partial(OverlaySink, args.overlay / entry.stem))
    if args.show:
        makers.append(partial(ShowSink, uses_colours()))
    if alone:
        makers.append(PageProgress)
    return makers


def _make_folder(output: Path) -> None:
    """Make the output folder before anything is read: reading may take hours.

    Raises:
        OutputError: If nothing can be written there.
    """
    hint = "name another folder"
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made a folder: {error.strerror}", hint=hint) from error
    if not os.access(output, os.W_OK):
        raise OutputError(f"{output}: no permission to write there", hint=hint)


def _read(
    reader: "PageReader", entry: Input, outputs: Outputs, known: Callable[[int], Page | None] | None
) -> tuple[str, ...]:
    """Read an input; returns what went wrong."""
    try:
        if entry.error:
            return reader.refuse(entry.name, entry.error, outputs)
        if entry.name != STDIN:
            return reader.stream(entry.name if entry.is_address else Path(entry.name), outputs, entry.name, known)
        content = sys.stdin.buffer.read() if sys.stdin else b""
        if content:
            return reader.stream(content, outputs, STDIN)
        hint = "pipe an image or PDF into it: cat letter.jpg | quill read -"
        return reader.refuse(STDIN, f"-: nothing came from stdin\n  hint: {hint}", outputs)
    finally:
        outputs.abort()  # what is closed already stays
