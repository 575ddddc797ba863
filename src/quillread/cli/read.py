"""`quill read`: images, PDFs and IIIF manifests in, text out."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from quillread.batch.executors import Executor, ProcessExecutor, SerialExecutor
from quillread.batch.inputs import STDIN, Input, find_inputs, find_segmented
from quillread.batch.log import ReadLog
from quillread.batch.outputs import OverlayWriter, Tee, file_writer, refuse_overwriting
from quillread.batch.review import REVIEW_NAME, ReviewList
from quillread.batch.run import Run
from quillread.cli.options import positive_number
from quillread.cli.progress import ProgressLine, say
from quillread.cli.reading_options import add_reading_flags, read_options
from quillread.cli.terminal import ShowWriter, Stdout, StdoutWriter, uses_colours
from quillread.config import suggest
from quillread.errors import ExitCode, Fault, ImageError, OutputError, UsageError
from quillread.formats.export import FORMATS
from quillread.formats.ground_truth import list_layouts
from quillread.images.read import read_stream
from quillread.options import Provenance, ReadOptions
from quillread.reader import Reader
from quillread.types import PageWriter


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
    parser.add_argument("--pages", metavar="LIST", help="pages of each document to read, such as 2-5,9 or 10-")
    parser.add_argument(
        "--lines", action="store_true", default=None, help="the images are single lines of writing already"
    )
    parser.add_argument("--segmenter", metavar="NAME", help="name of the line finder")
    parser.add_argument(
        "--segmentation",
        type=Path,
        metavar="PATH",
        help="a PAGE or ALTO file, or a folder of them, whose lines are read instead of finding lines; their names are "
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
        "--format",
        type=_formats,
        metavar="NAME[,NAME]",
        help=f"{', '.join(FORMATS)}; several go into files (default: txt). json is one document for each input on a "
        "line of its own",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write one file for each input and format into DIR")
    parser.add_argument(
        "--resume", action="store_true", help="skip inputs that an earlier run has already written to --output"
    )
    parser.add_argument(
        "--overlay", type=Path, metavar="DIR", help="draw each page with its lines and text, coloured by confidence"
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
    inputs = _find(args.inputs, options)
    _refuse_overwriting(args, formats, inputs, options)
    executor = _executor(args.jobs, options)
    with contextlib.closing(executor):
        for folder in filter(None, (args.output, args.overlay)):
            _make_folder(folder)
        done = ReadLog(args.output, formats, Provenance(options).fingerprint(), args.overlay) if args.output else None
        return _Reading(args, formats, inputs, options, done).run(executor)


class _Reading:
    """One call of the command."""

    def __init__(
        self,
        args: argparse.Namespace,
        formats: Sequence[str],
        inputs: Sequence[Input],
        options: ReadOptions,
        done: ReadLog | None,
    ) -> None:
        self._args = args
        self._formats = formats
        self._inputs = inputs
        self._options = options
        self._done = done
        self._stdout = Stdout(b"" if formats == ("json",) else b"\n")
        self._review = ReviewList()
        self._progress = ProgressLine("pages")
        self._skipped = self._begun = 0

    def run(self, executor: Executor) -> int:
        """Read all inputs."""
        shows = self._args.overlay is not None or any(FORMATS[name].shows_images for name in self._formats)
        read = Run(self._options, Provenance(self._options), executor, with_images=shows, on_page=self._show_progress)
        failed = 0
        journal = self._done.known if self._done and self._args.resume else None
        for result in read(self._to_read(), self._writer, journal):
            for fault in result.faults:
                say(str(fault))
            failed += bool(result.faults)
            if self._done:
                self._done.add(result.entry, result.pages, len(result.faults), result.last)
        self._progress.end()
        if self._args.review is not None:
            self._review.finish(self._args.review, self._args.output, say)
        if self._skipped:
            say(f"skipped {self._skipped} of {len(self._inputs)} inputs that an earlier run has read")
        if failed:
            say(f"{failed} of {len(self._inputs)} inputs could not be read in full")
        return ExitCode.INPUT_FAILED if failed else ExitCode.OK

    def _to_read(self) -> Iterator[Input]:
        for entry in self._inputs:
            if self._args.resume and self._done and self._done.has(entry):
                self._skipped += 1
            elif entry.name == STDIN and entry.fault is None:
                yield _with_content(entry)
            else:
                yield entry

    def _writer(self, entry: Input) -> PageWriter:
        self._begun += 1
        args, writers = self._args, list[PageWriter]()
        for name in self._formats:
            if args.output:
                writers.append(file_writer(args.output / entry.stem, name))
            else:
                writers.append(StdoutWriter(self._stdout, FORMATS[name]))
        if args.overlay:
            writers.append(OverlayWriter(args.overlay / entry.stem))
        if args.show:
            writers.append(ShowWriter(uses_colours()))
        if args.review is not None:
            writers.append(self._review.writer())
        if self._done:
            writers.append(self._done.journal(entry, args.resume))
        return Tee(writers)

    def _show_progress(self, done: int, total: int) -> None:
        # Inputs that nobody has opened count as one page each.
        self._progress(done, total + len(self._inputs) - self._skipped - self._begun)


def _formats(text: str) -> tuple[str, ...]:
    """Read a list of formats, for `type=` of an argument."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
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
    if args.segmenter and (args.lines or args.segmentation):
        other = "--lines" if args.lines else "--segmentation"
        raise UsageError(
            f"--segmenter finds lines, and {other} says that none are to be found", hint="drop one of them"
        )
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


def _find(arguments: list[str], options: ReadOptions) -> list[Input]:
    known = options.segmentation
    inputs = find_inputs(arguments) if arguments or known is None else find_segmented(known)
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


def _with_content(entry: Input) -> Input:
    try:
        content = read_stream(sys.stdin.buffer, STDIN) if sys.stdin else b""
    except ImageError as error:
        return replace(entry, fault=error.fault)
    if content:
        return replace(entry, content=content)
    hint = "pipe an image or PDF into it: cat letter.jpg | quill read -"
    return replace(entry, fault=Fault("input", "-: stdin is empty", hint))
