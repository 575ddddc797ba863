"""`quill read`: images and PDFs in, text out."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.cli.inputs import STDIN, Input, find_inputs
from quillread.cli.progress import ProgressLine
from quillread.config import apply_overrides, build
from quillread.errors import UsageError
from quillread.files import write_atomic
from quillread.formats.json import to_json
from quillread.formats.plain import to_text
from quillread.types import Reading

if TYPE_CHECKING:
    from quillread.pages.transcribe import PageReader

FORMATS: dict[str, Callable[[Reading], str]] = {"txt": to_text, "json": lambda reading: to_json(reading) + "\n"}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "read",
        help="read handwriting in images and PDFs",
        description="Read handwriting in images and PDFs. Text goes to stdout, or into files with --output.",
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="file, folder, pattern, or - for stdin")
    parser.add_argument("--model", default="builtin", help="name or folder of a model (default: %(default)s)")
    parser.add_argument("--lines", action="store_true", help="the images are single lines of writing already")
    parser.add_argument("--format", choices=FORMATS, default="txt", help="default: %(default)s")
    parser.add_argument("--output", type=Path, metavar="DIR", help="write one file for each input into DIR")
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads; default: all cores")
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="other settings: segmenter, read.pdf_dpi, read.max_pixels, crop.margin, ...",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read all inputs, in order; one that fails is named on stderr and does not stop the others."""
    from quillread.pages.transcribe import PageConfig, PageReader
    from quillread.recognize.load import load

    if args.threads < 0:
        raise UsageError(f"--threads must be 0 or more, got {args.threads}")
    values = {"lines": args.lines} if args.lines else {}
    config = build(PageConfig, apply_overrides(values, args.settings), "--set")
    reader = PageReader(load(args.model, threads=args.threads), args.model, config)
    inputs = find_inputs(args.inputs)
    progress = ProgressLine("inputs")
    failed = 0
    for number, entry in enumerate(inputs, 1):
        reading = _read(reader, entry)
        failed += bool(reading.errors)
        for error in reading.errors:
            print(f"quill: {error}", file=sys.stderr)
        _write(reading, entry, args.format, args.output)
        progress(number, len(inputs))
    if failed:
        print(f"quill: {failed} of {len(inputs)} inputs could not be read in full", file=sys.stderr)
    return 3 if failed else 0


def _read(reader: "PageReader", entry: Input) -> Reading:
    if entry.error:
        return Reading(entry.name, error=entry.error, provenance=reader.provenance)
    if entry.name == STDIN:
        return reader.read(sys.stdin.buffer.read(), STDIN)
    return reader.read(Path(entry.name))


def _write(reading: Reading, entry: Input, format_name: str, output: Path | None) -> None:
    text = FORMATS[format_name](reading)
    if output is None:
        print(text, end="", flush=True)
    elif reading.error is None or format_name == "json":
        # An input that failed has no text file: an empty one would look like an empty page.
        write_atomic(output / entry.stem.parent / f"{entry.stem.name}.{format_name}", text.encode())
