"""`quill data`: what data sets hold, what is wrong with them, and how they look."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quillread.cli.options import whole_number
from quillread.cli.progress import ProgressLine
from quillread.errors import UsageError

if TYPE_CHECKING:
    from quillread.data.check import Part
    from quillread.images.augment import AugmentConfig

_SPLITS = ("train", "validation", "test")
_FAULTS_FOUND = 3


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its three actions."""
    parser = subparsers.add_parser(
        "data",
        help="look into data sets: figures, faults, contact sheets",
        description="Look into data sets. SPEC is a folder of line images, or kind:where, such as csv:FILE "
        "or hub:org/name.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, run, text in (
        ("stats", _run_stats, "count lines, groups and characters, and measure texts and images"),
        ("check", _run_check, "look at every line and list the faults; exit code 3 if there are any"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        _add_sources(action)
        action.add_argument("--json", type=Path, metavar="FILE", help="write the result there as JSON, too")
        action.set_defaults(run=run)
    _add_show(actions)


def _add_sources(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("specs", nargs="+", metavar="SPEC", help="a data set")
    parser.add_argument(
        "--split",
        action="append",
        choices=_SPLITS,
        help="split to look at (default: train); may be repeated, and `check` then compares the splits",
    )


def _add_show(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "draw lines with their text, or what augmentation makes of them"
    parser = actions.add_parser("show", help=text, description=f"{text[0].upper()}{text[1:]}, as a PNG file.")
    _add_sources(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the PNG file to write")
    parser.add_argument(
        "--lines",
        type=_positive,
        metavar="N",
        help="lines of each data set and split (default: 24, with --augment 1)",
    )
    parser.add_argument("--augment", action="store_true", help="draw each distortion, and all together")
    parser.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="of the choice and looks (default: 0)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="augment.NAME=VALUE",
        help="change a setting of the augmentation, as augment.strength=2",
    )
    parser.set_defaults(run=_run_show)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number from 1 up, got {text!r}")
    return int(text)


def _run_stats(args: argparse.Namespace) -> int:
    from quillread.config import dump
    from quillread.data.stats import measure_source, stats_text

    results = [measure_source(part.source, part.name, progress=ProgressLine("lines")) for part in _open_parts(args)]
    print("\n".join(map(stats_text, results)), end="")
    _write_json(args.json, {"sources": dump(results)})
    return 0


def _run_check(args: argparse.Namespace) -> int:
    from quillread.config import dump
    from quillread.data.check import check_sources, check_text
    from quillread.models.compact_config import COLUMN_WIDTH, CompactConfig
    from quillread.text.charset import WESTERN_EUROPEAN, Charset

    parts = list(_open_parts(args))
    columns = CompactConfig().height / COLUMN_WIDTH
    report = check_sources(parts, Charset(WESTERN_EUROPEAN), columns, progress=ProgressLine("lines"))
    print(check_text(report), end="")
    _write_json(args.json, dump(report))
    return 0 if report.is_clean else _FAULTS_FOUND


def _run_show(args: argparse.Namespace) -> int:
    import io

    from quillread.data.show import draw_augmentations, draw_lines, stack
    from quillread.files import write_atomic

    if args.set and not args.augment:
        raise UsageError("--set changes the augmentation, which is not drawn", hint="add --augment")
    config = _augment_config(args.set)
    sheets = []
    for part in _open_parts(args):
        if args.augment:
            count = args.lines or 1
            sheet = draw_augmentations(part.source, part.name, count=count, seed=args.seed, config=config)
        else:
            sheet = draw_lines(part.source, part.name, count=args.lines or 24, seed=args.seed)
        sheets.append(sheet)
    png = io.BytesIO()
    stack(sheets).save(png, "PNG")
    write_atomic(args.output, png.getvalue())
    print(args.output)
    return 0


def _open_parts(args: argparse.Namespace) -> "Iterator[Part]":
    """Open each split of each data set, when its turn comes."""
    from quillread.data.check import Part
    from quillread.data.sources import open_source
    from quillread.data.spec import parse_spec

    for spec in map(parse_spec, args.specs):
        # Named twice, a split would be found to repeat itself.
        for split in dict.fromkeys(args.split or ["train"]):
            yield Part(str(spec), split, open_source(spec, split))


def _augment_config(overrides: Sequence[str]) -> "AugmentConfig":
    from quillread.config import apply_overrides, build
    from quillread.images.augment import AugmentConfig

    values = apply_overrides({}, overrides)
    for name in values:
        if name != "augment":
            raise UsageError(f"unknown setting {name!r}", hint="settings here are written augment.NAME=VALUE")
    return build(AugmentConfig, values.get("augment", {}), "--set")


def _write_json(path: Path | None, document: Any) -> None:
    from quillread.files import write_atomic

    if path:
        write_atomic(path, (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode())
