"""Options that several commands share."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from quillread.errors import UsageError

if TYPE_CHECKING:
    from quillread.data.spec import DataSpec

_COLUMNS = ("image", "text")
_METADATA = ("metadata.csv", "metadata.jsonl")


def add_column_options(parser: argparse.ArgumentParser) -> None:
    """Add `--image-column` and `--text-column`."""
    for role in _COLUMNS:
        parser.add_argument(
            f"--{role}-column",
            metavar="NAME",
            help=f"column that holds the {role}, in tables and hub data sets that do not name it in their SPEC",
        )


def with_columns(specs: Sequence[str], args: argparse.Namespace) -> list[str]:
    """Add the columns named by flags to data sets, as `name_columns` does; both as they are written."""
    from quillread.data.spec import parse_spec

    if not _named_columns(args):
        return list(specs)
    return [str(spec) for spec in name_columns([parse_spec(spec) for spec in specs], args)]


def name_columns(specs: "Sequence[DataSpec]", args: argparse.Namespace) -> "list[DataSpec]":
    """Add the columns named by flags to data sets that have columns and do not name theirs.

    Raises:
        UsageError: If there is no such data set.
    """
    given = _named_columns(args)
    if given and not any(map(_has_columns, specs)):
        raise UsageError(
            f"--{next(iter(given))} is given, and no data set has columns",
            hint="it is for hub:, csv:, jsonl:, and for folders that hold a metadata.csv or metadata.jsonl",
        )
    return [replace(spec, options=given | spec.options) if _has_columns(spec) else spec for spec in specs]


def _named_columns(args: argparse.Namespace) -> dict[str, tuple[str, ...]]:
    flags = {f"{role}-column": getattr(args, f"{role}_column") for role in _COLUMNS}
    return {option: (column,) for option, column in flags.items() if column}


def _has_columns(spec: "DataSpec") -> bool:
    if spec.kind == "folder":
        return any(Path(spec.where, name).is_file() for name in _METADATA)
    return spec.kind in ("hub", "csv", "jsonl")


def whole_number(text: str) -> int:
    """Read a number from 0 up, for `type=` of an argument."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, got {text!r}")
    return int(text)


def positive_number(text: str) -> int:
    """Read a number from 1 up, for `type=` of an argument."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, got {text!r}")
    return int(text)
