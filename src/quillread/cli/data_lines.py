"""`quill data lines`: the lines of pages as images with a draft of their text, to be corrected and trained on."""

import argparse
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from quillread.cli.progress import ProgressLine, say
from quillread.cli.targets import target_path
from quillread.errors import ExitCode, Fault, ImageError

if TYPE_CHECKING:
    from quillread.reader import Reader
    from quillread.types import DocumentInfo, Line, Scan, UInt8Image


def add_lines(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action to those of `quill data`."""
    text = "cut pages into images of lines, each with a draft of its text, to correct and to train on"
    parser = actions.add_parser(
        "lines",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. Texts that are there already, corrected perhaps, are kept. "
        "Exit code 3 if pages or lines are missing.",
    )
    parser.add_argument("pages_of", nargs="+", metavar="PAGE", help="images, PDFs, or folders of them")
    parser.add_argument(
        "--output",
        type=target_path,
        required=True,
        metavar="DIR",
        help="folder for PAGE-0001-001.png and .txt, and so on",
    )
    parser.add_argument("--pages", metavar="LIST", help="pages of each document, such as 2-5,9 or 10-")
    parser.add_argument("--segmentation", type=Path, metavar="PATH", help="PAGE or ALTO files that say where lines are")
    parser.add_argument("--model", dest="models", action="append", metavar="NAME", help="model that writes the drafts")
    parser.add_argument("--lm", action="append", metavar="NAME", help="language of the drafts (default: auto)")
    parser.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="NAME=VALUE", help="any option of reading"
    )
    parser.set_defaults(run=_run_lines)


def _run_lines(args: argparse.Namespace) -> int:
    from quillread.batch.inputs import find_inputs, part_results
    from quillread.cli.reading_options import read_options  # imports numpy, which the help of `quill data` need not
    from quillread.files import real_path
    from quillread.reader import Reader

    inputs = part_results(find_inputs(args.pages_of, {real_path(args.output)}))
    failed = 0
    with Reader(read_options(args)) as reader:
        writer = _LineWriter(reader)
        progress = ProgressLine("inputs")
        for number, one in enumerate(inputs, start=1):
            writer.place = args.output / one.stem
            faults = (one.fault,) if one.fault else reader.stream(one.source, writer, name=one.name)
            for fault in faults:
                say(str(fault))
            failed += bool(faults)
            progress(number, len(inputs))
    kept = f", {writer.kept} that are there already kept" if writer.kept else ""
    say(f"{writer.written} lines written into {args.output}{kept}")
    if writer.written or writer.kept:
        say(f"correct the .txt files; then: quill train --data {quote(str(args.output))} --output run")
    print(args.output)
    return ExitCode.INPUT_FAILED if failed or writer.lost else ExitCode.OK


class _LineWriter:
    """Writes the lines of pages, each as an image and the draft of its text.

    Attributes:
        place: The beginning of the paths of the lines of an input.
        written, kept, lost: Lines that were written, were there already, and could not be cut out.
    """

    def __init__(self, reader: "Reader") -> None:
        self._options = reader.options
        self.place = Path()
        self.written = self.kept = self.lost = 0

    def begin(self, info: "DocumentInfo") -> None:
        """Begin an input."""

    def add(self, scan: "Scan") -> None:
        """Write the lines of a page; one that could not be read has none."""
        if scan.image is None:
            return
        from quillread.formats.outlines import outline_lines
        from quillread.images.tones import as_positive

        # As they are read: lines that were given are cut along other outlines than those that were found.
        page, image = scan.page, as_positive(scan.image)
        if self._options.segmentation:
            page = outline_lines(page, self._options.crop.outline)
        for number, line in enumerate(page.lines, start=1):
            self._write(line, image, f"{self.place.name}-{scan.page.number:04}-{number:03}")

    def close(self, fault: Fault | None) -> None:
        """End the input."""

    def abort(self) -> None:
        """Each line is whole by itself."""

    def _write(self, line: "Line", image: "UInt8Image", name: str) -> None:
        from quillread.files import write_text
        from quillread.images.crop import crop_line
        from quillread.images.pictures import write_png

        picture, text = (self.place.with_name(f"{name}{suffix}") for suffix in (".png", ".txt"))
        if text.exists():  # a picture alone is what a run that was killed has left
            self.kept += 1
            return
        try:
            pixels, _ = crop_line(image, line, self._options.crop)
        except ImageError as error:
            say(f"{name}: {error.message}; the line is skipped")
            self.lost += 1
            return
        write_png(pixels, picture)
        write_text(text, (line.transcript.text if line.transcript else "") + "\n")
        self.written += 1
