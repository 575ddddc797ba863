"""`quill data convert` and `quill data split`: write lines as parquet files, which `hub:DIR` reads."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.cli.options import add_column_options, positive_number, whole_number, with_columns
from quillread.cli.progress import ProgressLine, say
from quillread.data.spec import SPLITS
from quillread.errors import DataError, UsageError

if TYPE_CHECKING:
    from quillread.data.source import Source
    from quillread.data.spec import DataSpec

_LEFT_OUT = 3
_EXIT_CODE = "Exit code 3 if lines were left out as their images cannot be read; each is named."


def add_convert(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action to those of `quill data`."""
    text = "write a data set of any kind as parquet files, in the layout of the Hugging Face hub"
    parser = actions.add_parser("convert", help=text, description=f"{text[0].upper()}{text[1:]}. {_EXIT_CODE}")
    _add_source_and_output(parser)
    parser.add_argument(
        "--split", action="append", choices=SPLITS, help="split to write (default: train); may be repeated"
    )
    parser.add_argument("--height", type=positive_number, metavar="N", help="scale higher images down to N pixels")
    parser.set_defaults(run=_run_convert)


def add_split(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action to those of `quill data`."""
    text = "divide lines into train, validation and test by writer or document, and write them as parquet files"
    parser = actions.add_parser(
        "split",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. A group is never divided; if all lines are of one group, or no "
        f"group is known, they are divided line by line. {_EXIT_CODE}",
    )
    _add_source_and_output(parser)
    parser.add_argument(
        "--validation", type=_share, default=0.1, metavar="SHARE", help="share of all lines (default: %(default)s)"
    )
    parser.add_argument("--test", type=_share, metavar="SHARE", help="share of all lines (default: no test split)")
    parser.add_argument("--seed", type=whole_number, default=0, metavar="N", help="of the choice (default: 0)")
    parser.add_argument("--split", choices=SPLITS, default="train", help="split to divide (default: train)")
    parser.set_defaults(run=_run_split)


def _add_source_and_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="SPEC", help="a data set")
    add_column_options(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the parquet files")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write into a folder that holds files; of these, only parquet files of the splits written are deleted",
    )


def _run_convert(args: argparse.Namespace) -> int:
    from quillread.data.spec import open_source

    spec = _parse(args)
    _check_output(args, spec)
    texts: dict[str, list[str]] = {}
    left_out = 0
    for split in dict.fromkeys(args.split or ["train"]):
        source = open_source(spec, split)
        texts[split] = [source.text(i) for i in range(len(source))]
        _refuse_repetition(spec, split, texts)
        left_out += _write(source, range(len(source)), split, args.output, args.height)
    print(f"hub:{args.output}")
    return _LEFT_OUT if left_out else 0


def _run_split(args: argparse.Namespace) -> int:
    import numpy as np

    from quillread.data.spec import open_source
    from quillread.data.split import divide

    shares = {"validation": args.validation} | ({"test": args.test} if args.test else {})
    if sum(shares.values()) >= 1:
        raise UsageError(f"--validation {args.validation} and --test {args.test} leave nothing to train on")
    spec = _parse(args)
    _check_output(args, spec)
    _refuse_older_splits(args.output, shares)
    source = open_source(spec, args.split)
    groups = [source.group(i) for i in range(len(source))]
    _tell_ungrouped(groups)
    parts = divide(groups, shares, np.random.default_rng(args.seed))
    left_out = sum(_write(source, rows, split, args.output, None) for split, rows in parts.items())
    print(f"hub:{args.output}")
    return _LEFT_OUT if left_out else 0


def _parse(args: argparse.Namespace) -> "DataSpec":
    from quillread.data.spec import parse_spec

    return parse_spec(with_columns([args.spec], args)[0])


def _write(source: "Source", rows: Sequence[int], split: str, output: Path, height: int | None) -> int:
    """Write one split and say what became of it; returns the number of lines left out."""
    from quillread.data.parquet import write_parquet

    report = write_parquet(source, rows, output, split, height=height, progress=ProgressLine("lines"))
    groups = len({source.group(i) for i in rows} - {""})
    print(
        f"{split}: {report.lines:,} lines"
        + (f" of {groups:,} groups" if groups else "")
        + f", files: {len(report.files):,}"
        + (f", left out as unreadable: {len(report.unreadable):,}" if report.unreadable else "")
    )
    for message in report.unreadable:
        say(f"left out: {message}")
    return len(report.unreadable)


def _check_output(args: argparse.Namespace, spec: "DataSpec") -> None:
    """Refuse a folder whose files would be lost, or be read together with those written."""
    output, where = args.output, Path(spec.where)
    if not output.is_dir():
        return
    if where.exists() and where.samefile(output):
        raise UsageError(f"{output}: is the data itself", hint="write to another folder")
    if any(output.iterdir()) and not args.overwrite:
        raise UsageError(f"{output}: holds other files", hint="name a new folder, or add --overwrite")
    nested = next((path for path in output.rglob("*.parquet") if path.parent != output), None)
    if nested:
        raise UsageError(
            f"{nested}: would be read together with the files written to {output}", hint="write to another folder"
        )


def _refuse_older_splits(output: Path, shares: Mapping[str, float]) -> None:
    """Refuse splits that would stay from another division: their lines may be in those written."""
    from quillread.data.parquet import find_shards

    for split in SPLITS:
        if split != "train" and split not in shares and find_shards(output, split):
            raise UsageError(
                f"{output}: holds a {split} split of another division, whose lines may come to be in both",
                hint=f"add --{split} SHARE, or delete its files",
            )


def _refuse_repetition(spec: "DataSpec", split: str, texts: Mapping[str, list[str]]) -> None:
    """Refuse a source that knows no splits and gives all its lines for each."""
    for other, lines in texts.items():
        if other != split and lines == texts[split]:
            raise DataError(
                f"{spec}: has the same lines in {other} and {split}",
                hint=f"divide it with `quill data split`; {other} is written already",
            )


def _tell_ungrouped(groups: Sequence[str]) -> None:
    if len(set(groups)) == 1:
        known = f"all lines are of the group {groups[0]!r}" if groups[0] else "no line has a group"
        say(f"{known}: divided line by line, so a writer or document may be on both sides")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and below 1, got {text!r}")
    return value
