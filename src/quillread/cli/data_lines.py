"""`quill data lines`: the lines of pages as images with a draft of their text, to be corrected and trained on."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.cli.progress import ProgressLine, say
from quillread.errors import ExitCode, ImageError

if TYPE_CHECKING:
    from quillread.batch.inputs import Input
    from quillread.reader import Reader
    from quillread.types import Scan


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
        "--output", type=Path, required=True, metavar="DIR", help="folder for PAGE-0001-001.png and .txt, and so on"
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
    from quillread.cli.reading_options import read_options
    from quillread.reader import Reader

    inputs = part_results(find_inputs(args.pages_of, {Path(os.path.realpath(args.output))}))
    written = kept = lost = 0
    with Reader(read_options(args)) as reader:
        progress = ProgressLine("inputs")
        for number, one in enumerate(inputs, start=1):
            for place, scan in _scans(reader, one, args.output):
                if scan is None:
                    lost += 1
                    continue
                counts = _write(scan, place, reader)
                written, kept, lost = written + counts[0], kept + counts[1], lost + counts[2]
            progress(number, len(inputs))
    say(f"{written} lines written into {args.output}" + (f", {kept} that are there already kept" if kept else ""))
    if written or kept:
        say(f"correct the .txt files; then: quill train --data {args.output} --output run")
    print(args.output)
    return ExitCode.INPUT_FAILED if lost else ExitCode.OK


def _scans(reader: "Reader", one: "Input", output: Path) -> "Iterator[tuple[Path, Scan | None]]":
    """The pages of an input, each with the beginning of the paths of its lines; None for what cannot be read."""
    from quillread.pages.deliver import explain

    place = output / one.stem
    if one.fault is not None:
        say(str(one.fault))
        yield place, None
        return
    try:
        document = reader.open(one.source, name=one.name)
    except Exception as error:  # whatever is wrong with one input must not lose the others
        say(str(explain(error, one.name)))
        yield place, None
        return
    with document:
        for index in reader.options.selected(len(document)):
            scan = reader.scan(document, index)
            if scan.page.fault is not None:
                say(str(scan.page.fault))
            yield place.with_name(f"{place.name}-{index + 1:04}"), scan if scan.page.fault is None else None


def _write(scan: "Scan", place: Path, reader: "Reader") -> tuple[int, int, int]:
    """Write the lines of a page; how many were written, were there already, and could not be cut out."""
    import io

    from PIL import Image

    from quillread.files import write_atomic, write_text
    from quillread.formats.outlines import outline_lines
    from quillread.images.crop import crop_line
    from quillread.images.tones import as_positive

    written = kept = lost = 0
    if scan.image is None:
        return 0, 0, 1
    # As they are read: lines that were given are cut along other outlines than those that were found.
    crop, image = reader.options.crop, as_positive(scan.image)
    page = outline_lines(scan.page, crop.outline) if reader.options.segmentation else scan.page
    for number, line in enumerate(page.lines, start=1):
        name = f"{place.name}-{number:03}"
        picture, text = (place.with_name(f"{name}{suffix}") for suffix in (".png", ".txt"))
        if text.exists():  # a picture alone is what a run that was killed has left
            kept += 1
            continue
        try:
            pixels, _ = crop_line(image, line, crop)
        except ImageError as error:
            say(f"{place.name}: {error.message}; the line is skipped")
            lost += 1
            continue
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG")
        write_atomic(picture, png.getvalue())
        write_text(text, (line.transcript.text if line.transcript else "") + "\n")
        written += 1
    return written, kept, lost
