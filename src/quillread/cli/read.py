"""`quill read`: images and PDFs in, text out."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.cli.generate_options import add_generate_options, generate_config
from quillread.cli.inputs import STDIN, Input, find_inputs
from quillread.cli.language_options import add_language_options, add_voting_options, language_config
from quillread.cli.options import add_model_options
from quillread.cli.progress import ProgressLine, say
from quillread.config import apply_overrides, build
from quillread.errors import OutputError
from quillread.files import write_atomic
from quillread.formats.json import to_json
from quillread.formats.plain import to_text
from quillread.types import Reading

if TYPE_CHECKING:
    from quillread.pages.transcribe import PageReader

FORMATS: dict[str, Callable[[Reading], str]] = {"txt": to_text, "json": lambda reading: to_json(reading) + "\n"}
_GAPS = {"txt": "\n", "json": ""}
"""What stands between two inputs on stdout: texts have an empty line, as between the pages of one."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "read",
        help="read handwriting in images and PDFs",
        description="Read handwriting in images and PDFs. Text goes to stdout, or into files with --output.",
        epilog="Exit code 0: all inputs were read; 3: some or all could not be read, each is named on stderr.",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="file, folder, pattern, or - for stdin")
    parser.add_argument("--lines", action="store_true", help="the images are single lines of writing already")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="txt",
        help="txt, or json: one document for each input on a line of its own (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="write one file for each input into DIR")
    add_model_options(parser)
    add_generate_options(parser)
    add_language_options(parser, "auto with compact models, none with TrOCR")
    add_voting_options(parser)
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="other settings, such as read.pdf_dpi=400, read.max_pixels=400000000 or crop.margin=0.1; may be repeated",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read all inputs, in order; one that fails is named on stderr and does not stop the others."""
    import cv2

    from quillread.pages.transcribe import PageConfig, PageReader
    from quillread.recognize.load import load

    if args.threads:
        cv2.setNumThreads(args.threads)
    values = {"lines": args.lines} if args.lines else {}
    config = build(PageConfig, apply_overrides(values, args.settings), "--set")
    if args.output:
        _make_folder(args.output)
    generate = generate_config(args, args.model)
    language = language_config(args, auto=True)
    recognizer = load(args.model, threads=args.threads, generate=generate, language=language, variants=args.variants)
    reader = PageReader(recognizer, args.model, config)
    inputs = find_inputs(args.inputs)
    progress = ProgressLine("inputs")
    failed = 0
    gap = ""
    for number, entry in enumerate(inputs, 1):
        reading = _read(reader, entry)
        failed += bool(reading.errors)
        for error in reading.errors:
            say(error)
        text = FORMATS[args.format](reading)
        if args.output is None and text:
            print(gap + text, end="", flush=True)
            gap = _GAPS[args.format]
        # An input that failed has no text file: an empty one would look like an empty page.
        elif args.output and (args.format == "json" or reading.error is None):
            path = args.output / entry.stem.parent / f"{entry.stem.name}.{args.format}"
            write_atomic(path, text.encode(errors="backslashreplace"))
        progress(number, len(inputs))
    if failed:
        say(f"{failed} of {len(inputs)} inputs could not be read in full")
    return 3 if failed else 0


def _make_folder(output: Path) -> None:
    """Make the output folder before anything is read: reading may take hours.

    Raises:
        OutputError: If nothing can be written there.
    """
    hint = "name another folder with --output"
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{output}: cannot be made a folder: {error.strerror}", hint=hint) from error
    if not os.access(output, os.W_OK):
        raise OutputError(f"{output}: no permission to write there", hint=hint)


def _read(reader: "PageReader", entry: Input) -> Reading:
    if entry.error:
        return Reading(entry.name, error=entry.error, provenance=reader.provenance)
    if entry.name != STDIN:
        return reader.read(Path(entry.name), entry.name)
    content = sys.stdin.buffer.read() if sys.stdin else b""
    if not content:
        hint = "pipe an image or PDF into it: cat letter.jpg | quill read -"
        return Reading(STDIN, error=f"-: nothing came from stdin\n  hint: {hint}", provenance=reader.provenance)
    return reader.read(content, STDIN)
