"""Actions of `quill data` that write: fetch, split, convert, and find where lines can be cut."""

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.cli.options import add_column_options, positive_number, whole_number, with_columns
from quillread.cli.progress import ProgressLine, say, tell_skipped
from quillread.cli.targets import check_targets, target_path
from quillread.data.spec import SPLITS
from quillread.errors import DataError, UsageError

if TYPE_CHECKING:
    from quillread.data.fetch import FetchReport
if TYPE_CHECKING:
    from quillread.data.source import Source
    from quillread.data.spec import DataSpec
if TYPE_CHECKING:
    from collections.abc import Iterator

    from quillread.data.recombined import LineCuts
    from quillread.data.source import Source

_MORE_TO_HAVE = 3


def add_fetch(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action to those of `quill data`."""
    text = "download the images of a data set that is shared as a list of addresses"
    parser = actions.add_parser(
        "fetch",
        help=text,
        description=f"{text[0].upper()}{text[1:]}. What is there already is kept, so the command can be stopped and "
        "run again. Exit code 3 if images failed that a later run may bring; 0 if only dead links and changed "
        "images are missing.",
    )
    parser.add_argument("name", choices=("imgur5k",), help="the data set")
    parser.add_argument(
        "--output",
        type=target_path,
        required=True,
        metavar="DIR",
        help="a clone of the data set's repository, with its lists in DIR/dataset_info; images go to DIR/images, "
        "a report to DIR/fetch-report.json",
    )
    parser.add_argument(
        "--split", action="append", choices=SPLITS, help="fetch this split only; may be repeated (default: all)"
    )
    parser.add_argument("--workers", type=whole_number, metavar="N", help="downloads at a time (default: 8)")
    parser.add_argument("--rate", type=float, metavar="N", help="requests per second at most (default: 10)")
    parser.add_argument("--timeout", type=float, metavar="S", help="seconds for one image (default: 30)")
    parser.add_argument("--retries", type=whole_number, metavar="N", help="further tries of an image (default: 3)")
    parser.add_argument("--base-url", metavar="URL", help="a mirror that has the images as URL/ID.jpg")
    parser.set_defaults(run=_run_fetch)


def _run_fetch(args: argparse.Namespace) -> int:
    from quillread.data.fetch import REPORT_NAME, FetchConfig, fetch_imgur5k

    names = ("workers", "rate", "timeout", "retries", "base_url")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    # A split named twice would be inspected twice.
    splits = tuple(dict.fromkeys(args.split or SPLITS))
    report = fetch_imgur5k(args.output, FetchConfig(**given), splits=splits, progress=ProgressLine("images"))
    print(_report_text(report))
    print(f"all of them are named in {args.output / REPORT_NAME}")
    return 0 if report.is_complete else _MORE_TO_HAVE


def _report_text(report: "FetchReport") -> str:
    counts = {
        "fetched": report.fetched,
        "there already": report.kept,
        "dead links": len(report.dead),
        "changed since the lists were made": len(report.changed),
        "failed": len(report.failed),
        "not tried": len(report.untried),
    }
    lines = [f"{report.listed} images: " + ", ".join(f"{n} {what}" for what, n in counts.items() if n)]
    for split, held in report.splits.items():
        images = held.images - len(held.missing) - len(held.changed) - len(held.unreadable)
        lines.append(
            f"{split}: {images} of {held.images} annotated images, {held.words} of {held.annotated} words can be used; "
            f"{len(held.illegible)} are marked illegible, {len(held.degenerate)} have no box with an area, "
            f"{len(held.outside)} lie mostly off their image, {len(held.leaving)} reach beyond it"
        )
    if not report.is_complete:
        lines.append("run the command again to try those that failed or were not tried")
    return "\n".join(lines)


_LEFT_OUT = 3
_EXIT_CODE = "Exit code 3 if lines were skipped because their images cannot be read; each is named."


def add_convert(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the action to those of `quill data`."""
    text = "write a data set of any kind as parquet files, in the layout of the Hugging Face hub"
    parser = actions.add_parser("convert", help=text, description=f"{text[0].upper()}{text[1:]}. {_EXIT_CODE}")
    _add_source_and_output(parser)
    parser.add_argument(
        "--split", action="append", choices=SPLITS, help="split to write (default: train); may be repeated"
    )
    parser.add_argument("--height", type=positive_number, metavar="N", help="scale higher images down to N pixels")
    parser.add_argument(
        "--webp", type=_quality, metavar="QUALITY", help="write images as WebP, 1 to 100: far smaller, with some loss"
    )
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
    parser.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="seed of the random choice (default: 0)"
    )
    parser.add_argument("--split", choices=SPLITS, default="train", help="split to divide (default: train)")
    parser.set_defaults(run=_run_split)


def _add_source_and_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("spec", metavar="SPEC", help="a data set")
    add_column_options(parser)
    parser.add_argument("--output", type=target_path, required=True, metavar="DIR", help="folder for the parquet files")
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
        left_out += _write(source, range(len(source)), split, args.output, args.height, args.webp)
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
    left_out = sum(_write(source, rows, split, args.output) for split, rows in parts.items())
    print(f"hub:{args.output}")
    return _LEFT_OUT if left_out else 0


def _parse(args: argparse.Namespace) -> "DataSpec":
    from quillread.data.spec import parse_spec

    return parse_spec(with_columns([args.spec], args)[0])


def _write(
    source: "Source",
    rows: Sequence[int],
    split: str,
    output: Path,
    height: int | None = None,
    quality: int | None = None,
) -> int:
    """Write one split and say what became of it; returns the number of lines skipped."""
    from quillread.data.parquet import write_parquet

    report = write_parquet(source, rows, output, split, height=height, quality=quality, progress=ProgressLine("lines"))
    groups = len({source.group(i) for i in rows} - {""})
    print(
        f"{split}: {report.lines:,} lines"
        + (f" of {groups:,} groups" if groups else "")
        + f", files: {len(report.files):,}"
        + (f", skipped as unreadable: {len(report.unreadable):,}" if report.unreadable else "")
    )
    for message in report.unreadable:
        say(f"skipped: {message}")
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


def _quality(text: str) -> int:
    value = positive_number(text)
    if value > 100:
        raise argparse.ArgumentTypeError(f"must be 1 to 100, got {text!r}")
    return value


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
    parser.add_argument(
        "--output", type=target_path, required=True, metavar="FILE", help="the file to write, JSON lines"
    )
    parser.add_argument("--model", default="builtin", metavar="NAME", help="model that reads (default: %(default)s)")
    parser.add_argument("--threads", type=positive_number, default=0, metavar="N", help="CPU threads (default: all)")
    add_column_options(parser)
    parser.set_defaults(run=_run_cuts)


def _run_cuts(args: argparse.Namespace) -> int:
    from quillread.data.recombined import write_cuts
    from quillread.data.spec import open_source, parse_spec

    check_targets(args, {"output": "JSON file"})
    (spec,) = with_columns(args.specs, args)
    source = open_source(parse_spec(spec), "train")
    faults: list[DataError] = []
    found = list(_find(source, args.model, args.threads, faults))
    if not found:
        tell_skipped([fault.message for fault in faults])
        raise DataError(
            f"{spec}: none of the {len(source)} lines can be cut: no space was read where one stands",
            hint="name lines of several words, or a model that reads them",
        )
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

    reader = Reader(model=model, threads=threads, lm=("none",), lines=True)
    progress = ProgressLine("lines")
    lines = readable(source, range(len(source)), faults.append)
    while batch := list(itertools.islice(lines, _BATCH)):
        read = reader.read_lines([sample.image for _, sample in batch])
        for (index, sample), transcript in zip(batch, read, strict=True):
            cuts = find_cuts(sample.text, transcript.characters, sample.image)
            if cuts:
                yield LineCuts(index, sample.text, cuts)
        progress(batch[-1][0] + 1, len(source))
