"""The options of reading, which several commands share: flags in, `ReadOptions` out."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quillread.cli.options import whole_number
from quillread.config import apply_overrides, build, merge, read_yaml
from quillread.errors import UsageError
from quillread.options import MOST_VARIANTS, ReadOptions

_GENERATE = ("beams", "alternatives", "max_tokens", "length_penalty", "no_repeat_ngram_size", "guard_repeats",
             "guard_tail", "split_long", "rows", "precision")  # fmt: skip
_SAME = ("lm", "lexicons", "correct", "variants", "threads", "pages", "segmenter", "lines", "segmentation")
"""Flags whose values are those of the options of the same names, where a command has them."""


def add_model_flags(
    parser: argparse.ArgumentParser, *, several: bool = True, default_threads: str = "all cores"
) -> None:
    """Add `--model` and `--threads`."""
    more = "; auto: for each page the one that suits it; repeat it to let several vote" if several else ""
    parser.add_argument(
        "--model",
        dest="models",
        action="append" if several else _Single,
        metavar="NAME",
        help=f"name or folder of a model (default: builtin){more}",
    )
    parser.add_argument("--threads", type=whole_number, metavar="N", help=f"CPU threads (default: {default_threads})")


def add_generate_flags(parser: argparse.ArgumentParser) -> None:
    """Add how TrOCR generates text."""
    group = parser.add_argument_group(
        "reading with TrOCR", "Without these, text is generated with the settings that are stored with the model."
    )
    group.add_argument("--beams", type=int, metavar="N", help="follow N readings at once; 1 is greedy")
    group.add_argument("--alternatives", type=int, metavar="N", help="give up to N other readings of each line")
    group.add_argument("--max-tokens", type=int, metavar="N", help="end a line after N tokens")
    group.add_argument(
        "--length-penalty", type=float, metavar="P", help="with beams: above 0 prefers long texts, below 0 short ones"
    )
    group.add_argument(
        "--no-repeat-ngram-size", type=int, metavar="N", help="write no run of N tokens twice in a line; 0 for no rule"
    )
    switch = argparse.BooleanOptionalAction
    group.add_argument("--guard-repeats", action=switch, help="cut endless repeats at the end of a line")
    group.add_argument("--guard-tail", action=switch, help="cut an invented tail, which the ink has no room for")
    group.add_argument(
        "--split-long",
        type=float,
        metavar="TIMES",
        help="cut lines that would be narrowed more than TIMES over at gaps, read the parts and join them; 0 for never",
    )
    group.add_argument(
        "--rows", choices=("ignore", "flag", "split"), help="where a crop holds several lines: warn, or read each"
    )
    group.add_argument(
        "--precision",
        choices=("fp32", "bf16", "fp16"),
        help="compute in these numbers (default: fp32; fp16 on GPUs only)",
    )


def add_language_flags(parser: argparse.ArgumentParser, default: str, *, corrects: bool = True) -> None:
    """Add the languages to read with.

    Args:
        parser: Of the command.
        default: What the help says is done without `--lm`.
        corrects: Whether words may be corrected.
    """
    group = parser.add_argument_group("reading with a language")
    group.add_argument(
        "--lm",
        action="append",
        metavar="NAME",
        help="none, auto (English or French, line by line), en, fr, or a file of `quill lm train`; may be repeated to "
        f"mix several, as in --lm fr --lm parish.lm@0.2 (default: {default})",
    )
    group.add_argument(
        "--lexicon",
        dest="lexicons",
        action="append",
        type=Path,
        metavar="FILE",
        help="file of names and other words to know, one a line; other words stay possible; may be repeated",
    )
    if corrects:
        group.add_argument(
            "--correct",
            action="store_true",
            default=None,
            help="correct doubtful words to known words near them; the JSON lists the changes",
        )


def add_page_flags(parser: argparse.ArgumentParser, segmentation: str) -> None:
    """Add which pages are read and where their lines are; `segmentation` is the help of the files that say so."""
    parser.add_argument("--pages", metavar="LIST", help="pages of each document to read, such as 2-5,9 or 10-")
    parser.add_argument(
        "--lines", action="store_true", default=None, help="the images are single lines of writing already"
    )
    parser.add_argument("--segmenter", metavar="NAME", help="name of the line finder")
    parser.add_argument("--segmentation", type=Path, metavar="PATH", help=segmentation)


def check_page_flags(args: argparse.Namespace) -> None:
    """Refuse a line finder where no lines are to be found.

    Raises:
        UsageError: If one is named.
    """
    if args.segmenter and (args.lines or args.segmentation):
        other = "--lines" if args.lines else "--segmentation"
        raise UsageError(
            f"--segmenter finds lines, and {other} says that none are to be found", hint="drop one of them"
        )


def add_reading_flags(
    parser: argparse.ArgumentParser, default_language: str, default_threads: str = "all cores"
) -> None:
    """Add all that says how lines are read."""
    add_model_flags(parser, default_threads=default_threads)
    add_generate_flags(parser)
    add_language_flags(parser, default_language)
    parser.add_argument(
        "--variants",
        type=int,
        metavar="N",
        help=f"read each line in N variants, sheared and stretched a little, up to {MOST_VARIANTS}, and let them vote; "
        "takes about N times as long",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="YAML file of options, by the names that --set takes; flags override it",
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any option of reading, such as read.pdf_dpi=400, read.max_pixels=400000000, sheet.flatten=true or "
        "crop.margin=0.1; may be repeated",
    )


def read_options(args: argparse.Namespace) -> ReadOptions:
    """Fill the options of a reading: those of `--config`, then flags, then `--set`.

    Raises:
        ConfigError: If an option is unknown or out of range, or options do not go together.
    """
    given = vars(args)
    values: dict[str, Any] = {name: given[name] for name in _SAME if given.get(name) is not None}
    if given.get("models"):
        values["models"] = given["models"]
    generate = {name: given[name] for name in _GENERATE if given.get(name) is not None}
    if generate:
        values["generate"] = generate
    config = given.get("config")
    values = merge(read_yaml(config) if config else {}, values)
    return build(ReadOptions, apply_overrides(values, given.get("settings", [])), "options of reading")


class _Single(argparse.Action):
    """Keeps the last value, in a list."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, [values])
