"""`quill`: parses the command line, runs a command, turns errors into messages and exit codes."""

import argparse
import errno
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence

from quillread.cli.codes import INTERRUPTED
from quillread.cli.progress import say
from quillread.errors import OutputError, QuillreadError
from quillread.version import __version__

COMMANDS = ("read", "train", "train-segmenter", "evaluate", "compare", "data", "models", "lm")
"""Each is a module of this folder with `add_parser(subparsers)`; a hyphen is an underscore there."""

_REPORT = "this is a fault of quillread; please report it with the command and what `quill -v` says in addition"


def make_parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    parser = argparse.ArgumentParser(prog="quill", description="Handwritten text recognition on your own machine.")
    parser.add_argument("--version", action="version", version=f"quill {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say on stderr what is being done")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"quillread.cli.{name.replace('-', '_')}").add_parser(subparsers)
    for command in subparsers.choices.values():
        # Also behind the command, where it is usually put; the value of the first place must survive.
        command.add_argument("-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 all went well, 1 a fault of ours, 2 wrong usage or unknown model, 3 inputs failed, 130 interrupted.
    """
    args = make_parser().parse_args(argv)
    _write_utf8()
    logging.basicConfig(
        level=logging.INFO if args.verbose else logging.WARNING,
        format="quill: %(message)s",
        stream=sys.stderr,
    )
    logging.getLogger("huggingface_hub").propagate = False  # it writes to stderr itself
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
    except QuillreadError as error:
        say(f"error: {error}")
        return error.exit_code
    except BrokenPipeError:
        _drop_stdout()  # the reader of our output has left, as `head` does
        return 0
    except OSError as error:
        place = error.filename
        if place is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            _drop_stdout()
            place = "stdout"
        say(
            f"error: {f'{place}: ' if place else ''}{error.strerror or error}\n  hint: check disk space and permissions"
        )
        return OutputError.exit_code
    except Exception as error:
        say(f"internal error: {type(error).__name__}: {error}\n  hint: {_REPORT}")
        if args.verbose:
            raise
        return 1


def _write_utf8() -> None:
    """Make stdout UTF-8 whatever the locale says; bytes of a file name that are no text become JSON escapes."""
    if sys.stdout is None:  # closed by the caller
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8")
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")


def _drop_stdout() -> None:
    """Let nothing more be written to stdout: Python would complain once more when it closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
