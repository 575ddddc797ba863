"""Options that several commands share."""

import argparse


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add `--model` and `--threads`."""
    parser.add_argument("--model", default="builtin", help="name or folder of a model (default: %(default)s)")
    parser.add_argument("--threads", type=whole_number, default=0, metavar="N", help="CPU threads; default: all cores")


def whole_number(text: str) -> int:
    """Read a number from 0 up, for `type=` of an argument."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 up, got {text!r}")
    return int(text)
