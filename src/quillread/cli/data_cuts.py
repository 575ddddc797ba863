"""`quill data cuts`: where lines can be cut between words, for sources that put words together anew."""

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.cli.options import add_column_options, positive_number, with_columns
from quillread.cli.progress import ProgressLine, say, tell_skipped
from quillread.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quillread.data.recombined import LineCuts
    from quillread.data.source import Source

_BATCH = 32


def add_cuts(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action to those of `quill data`."""
    text = "find where lines can be cut between words, by reading them"
    parser = actions.add_parser(
        "cuts",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. `recombined:SPEC?cuts=FILE` is then a source of lines that are "
        "made of the words of one writer.",
    )
    parser.add_argument("specs", nargs=1, metavar="SPEC", help="a data set; its train split is read")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the file to write, JSON lines")
    parser.add_argument("--model", default="builtin", metavar="NAME", help="who reads (default: %(default)s)")
    parser.add_argument("--threads", type=positive_number, default=0, metavar="N", help="CPU threads (default: all)")
    add_column_options(parser)
    parser.set_defaults(run=_run_cuts)


def _run_cuts(args: argparse.Namespace) -> int:
    from quillread.data.recombined import write_cuts
    from quillread.data.spec import open_source, parse_spec

    (spec,) = with_columns(args.specs, args)
    source = open_source(parse_spec(spec), "train")
    faults: list[DataError] = []
    found = list(_find(source, args.model, args.threads, faults))
    write_cuts(args.output, found)
    spaces = sum(source.text(i).count(" ") for i in range(len(source)))
    cuts = sum(len(line.cuts) for line in found)
    say(f"{args.output}: {cuts} of {spaces} spaces found, in {len(found)} of {len(source)} lines")
    tell_skipped([fault.message for fault in faults])
    return DataError.exit_code if faults else 0


def _find(source: "Source", model: str, threads: int, faults: list[DataError]) -> "Iterator[LineCuts]":
    from quillread.data.recombined import LineCuts, find_cuts
    from quillread.data.source import readable
    from quillread.reader import Reader

    reader = Reader(model=model, threads=threads, lm=("none",))
    progress = ProgressLine("lines")
    lines = readable(source, range(len(source)), faults.append)
    while batch := list(itertools.islice(lines, _BATCH)):
        read = reader.read_lines([sample.image for _, sample in batch])
        for (index, sample), transcript in zip(batch, read, strict=True):
            cuts = find_cuts(sample.text, transcript.characters, sample.image)
            if cuts:
                yield LineCuts(index, sample.text, cuts)
        progress(batch[-1][0] + 1, len(source))
