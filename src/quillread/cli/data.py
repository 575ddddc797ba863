"""`quill data`: what data sets hold, what is wrong with them, how they look."""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from quillread.cli.data_files import add_convert, add_cuts, add_fetch, add_split
from quillread.cli.data_lines import add_lines
from quillread.cli.options import add_column_options, positive_number, whole_number, with_columns
from quillread.cli.progress import ProgressLine
from quillread.cli.targets import check_targets, target_path
from quillread.data.spec import SPLITS
from quillread.errors import ModelError, UsageError

if TYPE_CHECKING:
    from quillread.data.check import Limits
if TYPE_CHECKING:
    from PIL import Image

    from quillread.data.check import Part
    from quillread.data.source import Source


def model_limits(name: str, max_tokens: int | None = None) -> "Limits":
    """Find out what a model can write, without loading its weights.

    Args:
        name: As of `--model`.
        max_tokens: Most tokens of a line, if the training is told `labels.max_length`; TrOCR only.

    Raises:
        ModelError: If there is no such model, or it is damaged.
        UsageError: If tokens are limited that the model does not have.
    """
    from quillread.data.check import CtcLimits, TokenLimits
    from quillread.models.catalog import describe
    from quillread.text.charset import Charset

    entry = describe(name)
    if entry.info.family == "compact":
        if max_tokens is not None:
            raise UsageError(f"{name} writes characters, not tokens", hint="drop --max-tokens")
        return CtcLimits(Charset(entry.info.charset), entry.info.ink.height / entry.info.column_width)
    from quillread.models.trocr.adapter_folder import whole_folder
    from quillread.text.tokenizer import TokenizerSpeller, load_tokenizer

    folder = whole_folder(entry.folder)
    positions = _positions(folder)
    return TokenLimits(TokenizerSpeller(load_tokenizer(folder), min(max_tokens or positions, positions)))


def _positions(folder: "Path") -> int:
    from quillread.models.trocr.files import read_config
    from quillread.models.trocr.onnx_folder import is_exported, read_facts

    if is_exported(folder):
        return read_facts(folder).positions
    decoder = read_config(folder).get("decoder")
    positions = decoder.get("max_position_embeddings") if isinstance(decoder, dict) else None
    if not isinstance(positions, int):
        raise ModelError(f"{folder}: its config.json does not say how many positions the decoder has")
    return positions


_Config = TypeVar("_Config")
_FAULTS_FOUND = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.description = (
        "Inspect, fetch, split and convert data sets, make one of pages. SPEC is a folder of "
        "line images, or kind:where, such as csv:FILE or hub:org/name."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, run, text in (
        ("stats", _run_stats, "count lines, groups and characters, and measure texts and images"),
        ("check", _run_check, "look at every line and list the faults; exit code 3 if there are any"),
    ):
        action = actions.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        _add_sources(action, "all that there are" if name == "check" else "train")
        action.add_argument("--json", type=target_path, metavar="FILE", help="write the result there as JSON, too")
        action.set_defaults(run=run)
    _add_model(actions.choices["check"])
    _add_show(actions)
    add_fetch(actions)
    add_split(actions)
    add_convert(actions)
    add_cuts(actions)
    add_lines(actions)


def _add_sources(parser: argparse.ArgumentParser, splits: str = "train") -> None:
    parser.add_argument("specs", nargs="+", metavar="SPEC", help="a data set")
    parser.add_argument(
        "--split",
        action="append",
        choices=SPLITS,
        help=f"split to look at (default: {splits}); may be repeated; `check` compares splits",
    )
    add_column_options(parser)


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="builtin", metavar="NAME", help="the model that is to learn the lines (default: %(default)s)"
    )
    parser.add_argument(
        "--max-tokens",
        type=positive_number,
        metavar="N",
        help="most tokens of a line, as `labels.max_length` of a training; TrOCR only (default: its positions)",
    )


def _add_show(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    text = "draw lines with their text, or what augmentation or the cleaning steps make of them"
    parser = actions.add_parser("show", help=text, description=f"{text[0].upper()}{text[1:]}, as a PNG file.")
    _add_sources(parser)
    parser.add_argument("--output", type=target_path, required=True, metavar="FILE", help="the PNG file to write")
    parser.add_argument(
        "--lines",
        type=positive_number,
        metavar="N",
        help="lines of each data set and split (default: 24, with --augment or --steps 1)",
    )
    looks = parser.add_mutually_exclusive_group()
    looks.add_argument("--augment", action="store_true", help="draw each distortion, and all together")
    looks.add_argument("--steps", action="store_true", help="draw each cleaning step, and the classic chain")
    parser.add_argument(
        "--config",
        metavar="FILE|PRESET",
        help="with --augment: draw lines as this training sees them, as `quill train --config` takes it: cleaned, "
        "distorted, on the canvas of the network",
    )
    parser.add_argument(
        "--seed",
        type=whole_number,
        default=0,
        metavar="N",
        help="seed of the random choice of lines and looks (default: 0)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting of what is drawn, as augment.strength=2 or preprocess.median.size=5; with --config any "
        "setting of the training",
    )
    parser.set_defaults(run=_run_show)


def _run_stats(args: argparse.Namespace) -> int:
    from quillread.config import dump
    from quillread.data.stats import measure_source, stats_text

    check_targets(args, {"json": "JSON file"})
    results = [measure_source(part.source, part.name, progress=ProgressLine("lines")) for part in _open_parts(args)]
    print("\n".join(map(stats_text, results)), end="")
    _write_json(args.json, {"sources": dump(results)})
    return 0


def _run_check(args: argparse.Namespace) -> int:
    from quillread.config import dump
    from quillread.data.check import check_sources, check_text

    check_targets(args, {"json": "JSON file"})
    limits = model_limits(args.model, args.max_tokens)
    report = check_sources(list(_open_parts(args, every=not args.split)), limits, progress=ProgressLine("lines"))
    print(check_text(report), end="")
    _write_json(args.json, dump(report))
    return 0 if report.is_clean else _FAULTS_FOUND


def _run_show(args: argparse.Namespace) -> int:
    import numpy as np

    from quillread.data.contact_sheet import stack
    from quillread.images.pictures import write_png

    check_targets(args, {"output": "PNG file"})
    draw = _sheet_of(args)
    sheets = [draw(part.source, part.name) for part in _open_parts(args)]
    write_png(np.asarray(stack(sheets)), args.output)
    print(args.output)
    return 0


def _open_parts(args: argparse.Namespace, *, every: bool = False) -> "Iterator[Part]":
    """Open each split that is named, or every one that there is, of each data set, when its turn comes."""
    from quillread.data.check import Part
    from quillread.data.spec import open_source, open_splits, parse_spec

    for spec in map(parse_spec, with_columns(args.specs, args)):
        if every:
            yield from (Part(str(spec), split, source) for split, source in open_splits(spec).items())
            continue
        # Named twice, a split would be found to repeat itself.
        for split in dict.fromkeys(args.split or ["train"]):
            yield Part(str(spec), split, open_source(spec, split))


def _sheet_of(args: argparse.Namespace) -> "Callable[[Source, str], Image.Image]":
    """What is drawn of a data set, with its settings."""
    from quillread.data.contact_sheet import draw_augmentations, draw_lines, draw_steps
    from quillread.images.augment import AugmentConfig
    from quillread.images.preprocess import PreprocessConfig

    if args.config:
        if not args.augment:
            raise UsageError("--config changes what is not drawn", hint="add --augment")
        return _training_sheet(args)
    if args.augment:
        augmenting = _settings(AugmentConfig, "augment", args.set)
        return partial(draw_augmentations, count=args.lines or 1, seed=args.seed, config=augmenting)
    if args.steps:
        cleaning = _settings(PreprocessConfig, "preprocess", args.set)
        return partial(draw_steps, count=args.lines or 1, seed=args.seed, config=cleaning)
    if args.set:
        raise UsageError("--set changes what is not drawn", hint="add --augment or --steps")
    return partial(draw_lines, count=args.lines or 24, seed=args.seed)


def _training_sheet(args: argparse.Namespace) -> "Callable[[Source, str], Image.Image]":
    """The looks of lines in a training."""
    from quillread.data.contact_sheet import TrainingView, draw_augmentations
    from quillread.train.config import assemble, read_settings
    from quillread.train.looks import training_view

    config = assemble(read_settings(args.config), None, args.set, where=args.config)
    looks, see = training_view(config)
    view = TrainingView(looks.clean, see, config.preprocess.steps)
    return partial(draw_augmentations, count=args.lines or 1, seed=args.seed, config=config.augment, view=view)


def _settings(kind: type[_Config], name: str, overrides: Sequence[str]) -> _Config:
    from quillread.config import apply_overrides, build

    values = apply_overrides({}, overrides)
    for found in values:
        if found != name:
            raise UsageError(f"unknown setting {found!r}", hint=f"settings here are written {name}.NAME=VALUE")
    return build(kind, values.get(name, {}), "--set")


def _write_json(path: Path | None, document: Any) -> None:
    from quillread.files import write_json

    if path:
        write_json(path, document)
