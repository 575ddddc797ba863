"""`quill`: parses the command line, runs a command, turns errors into messages and exit codes."""

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from quillread.cli.codes import INTERRUPTED
from quillread.errors import QuillreadError
from quillread.version import __version__

COMMANDS = ("read", "train", "evaluate", "compare", "data", "models")
"""Each is a module of this folder with `add_parser(subparsers)`."""


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(prog="quill", description="Handwritten text recognition on your own machine.")
    parser.add_argument("--version", action="version", version=f"quill {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say on stderr what is being done")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"quillread.cli.{name}").add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 all went well, 1 a fault of ours, 2 wrong usage or unknown model, 3 inputs failed, 130 interrupted.
    """
    args = make_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING,
        format="quill: %(message)s",
        stream=sys.stderr,
    )
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("quill: interrupted", file=sys.stderr)
        return INTERRUPTED
    except QuillreadError as error:
        print(f"quill: error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output has left, as `head` does. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"quill: error: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        if error.filename is None:  # a full disk behind stdout; closing it would fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 3
    except Exception as error:
        logging.getLogger(__name__).debug("internal error", exc_info=True)
        print(
            f"quill: internal error: {type(error).__name__}: {error}\n"
            "  hint: this is a fault of quillread; please report it with the command that led to it",
            file=sys.stderr,
        )
        if args.verbose:
            raise
        return 1
    return code


if __name__ == "__main__":
    sys.exit(main())
