"""Options of how TrOCR generates text, which `quill read` and `quill evaluate` share."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from quillread.errors import UsageError

if TYPE_CHECKING:
    from quillread.models.trocr.settings import GenerateConfig

_NAMES = ("beams", "alternatives", "max_tokens", "guard_repeats", "guard_tail", "split_long", "rows")
_BEAMS = 4
"""Beams, at least, where alternatives are asked for and nothing says how many."""


def add_generate_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command; the default of each is what is stored with the model."""
    group = parser.add_argument_group(
        "reading with TrOCR", "Without these, text is generated with the settings that are stored with the model."
    )
    group.add_argument("--beams", type=int, metavar="N", help="follow N readings at once; 1 is greedy")
    group.add_argument("--alternatives", type=int, metavar="N", help="give up to N other readings of each line")
    group.add_argument("--max-tokens", type=int, metavar="N", help="end a line after N tokens")
    switch = argparse.BooleanOptionalAction
    group.add_argument("--guard-repeats", action=switch, help="cut endless repeats at the end of a line")
    group.add_argument("--guard-tail", action=switch, help="cut a made-up tail, which the ink has no room for")
    group.add_argument(
        "--split-long",
        type=float,
        metavar="TIMES",
        help="cut lines that would be narrowed more than TIMES over at gaps, read the parts and join them; 0 for never",
    )
    group.add_argument(
        "--rows", choices=("ignore", "flag", "split"), help="where a crop holds several lines: warn, or read each"
    )


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The values of the options that were given, by name."""
    return {name: value for name in _NAMES if (value := getattr(args, name)) is not None}


def generate_config(args: argparse.Namespace, model: str) -> "GenerateConfig | None":
    """Put the options on top of the settings that are stored with a model.

    Args:
        args: Of a parser with the options.
        model: Name of the model that is to read; looked up only if an option was given.

    Returns:
        The settings for `load`; None if no option was given.

    Raises:
        UsageError: If an option was given and the model is no TrOCR model.
        ConfigError: If a value is out of range, or the values do not go together.
    """
    given = given_options(args)
    if not given:
        return None
    from quillread.models.catalog import describe

    info = describe(model).info
    if info.family != "trocr":
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{named}: only for TrOCR models, and {info.name!r} is a {info.family} model")
    if given.get("split_long") == 0:
        given["split_long"] = None
    if given.get("alternatives") and "beams" not in given and info.generate.beams is None:
        given["beams"] = max(_BEAMS, given["alternatives"] + 1)
    return replace(info.generate, **given)
