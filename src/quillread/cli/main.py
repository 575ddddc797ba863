"""`quill`: parses the command line, runs a command, turns errors into messages and exit codes."""

import argparse
import errno
import importlib
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from quillread.cli.progress import say
from quillread.errors import ExitCode, Fault, OutputError, QuillreadError, printable
from quillread.version import __version__

COMMANDS = {
    "read": "read handwriting in images and PDFs",
    "batch": "read thousands or millions of pages into a data set, on this machine or a cluster",
    "train": "train a model, or adapt one to a hand",
    "train-segmenter": "train a line finder on pages",
    "serve": "serve an archive of pages to browsers and scripts, on this machine or for a team",
    "evaluate": "measure a model on lines or pages with known text",
    "compare": "compare the predictions of two models on the same lines",
    "data": "inspect, fetch, split and convert data sets, make one of pages",
    "models": "list models, show one, convert, quantise or calibrate one, average checkpoints",
    "lm": "train and inspect language models, score texts with them, tune a recogniser for one",
}
"""Each is a module of this folder with `configure(parser)`; a hyphen is an underscore there."""

_DISK = "check disk space and permissions"
_REPORT = "This is a bug in quillread. Please report it with the command you ran and its output with -v"


class _Ended(KeyboardInterrupt):
    """A signal that ends a command as Ctrl-C does, with an exit code of its own."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = signal.Signals(number)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong with arguments as `say` does: without the control characters that they may hold."""

    def error(self, message: str) -> NoReturn:
        super().error(printable(message))


class _Sayer(logging.Handler):
    """Says what is logged as all else is said, in place of a progress line that may stand there."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:
            self.handleError(record)


class _Formatter(logging.Formatter):
    """Keeps a message on one line: ends of lines in it are those of a name."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        return printable(record.message)


def make_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser; of the commands only the one that `argv` names is imported, as that takes time."""
    parser = _Parser(prog="quill", description="Handwritten text recognition on your own machine.")
    parser.add_argument("--version", action="version", version=f"quill {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say on stderr what is being done")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    named = next((argument for argument in argv if not argument.startswith("-")), None)
    for name, text in COMMANDS.items():
        command = subparsers.add_parser(name, help=text)
        if name == named:
            module = importlib.import_module(f"quillread.cli.{name.replace('-', '_')}")
            following = argv[argv.index(name) + 1 :][:1]
            if following and following[0] in getattr(module, "ACTIONS", {}):
                # Not by argparse for all of them: before an action stands what is read, which may have any name.
                command = command.add_subparsers(metavar="ACTION").add_parser(following[0])
                module.ACTIONS[following[0]](command)
            else:
                module.configure(command)
            # Also behind the command, where it is usually put; the value of the first place must survive.
            command.add_argument(
                "-v", "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
            )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 all went well, 1 a bug of ours, 2 wrong usage or unknown model, 3 inputs failed, 129 ended by SIGHUP,
        130 interrupted, 143 ended by SIGTERM.
    """
    try:
        with _ended_by_signals():
            return _run(sys.argv[1:] if argv is None else argv)
    except _Ended as end:
        say(f"ended by {end.number.name}")
        return ExitCode(128 + end.number)
    except KeyboardInterrupt:
        say("interrupted")
        return ExitCode.INTERRUPTED


def _run(argv: Sequence[str]) -> int:
    args = make_parser(argv).parse_args(argv)
    # Before torch is imported: threads that wait by spinning slow it several times over beside another program.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _prepare_streams()
    handler = _Sayer()
    handler.setFormatter(_Formatter())
    logging.basicConfig(level=logging.INFO if args.verbose else logging.WARNING, handlers=[handler])
    logging.getLogger("huggingface_hub").propagate = False  # it writes to stderr itself
    try:
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except QuillreadError as error:
        say(f"error: {error}")
        return error.exit_code
    except BrokenPipeError:
        _drop_stdout()  # the reader of our output has left, as `head` does
        return 0
    except OSError as error:
        place = error.filename
        if place is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            _drop_stdout()
            place = "stdout"
        fault = Fault("output", f"{f'{place}: ' if place else ''}{error.strerror or error}", _DISK)
        say(f"error: {fault}")
        return OutputError.exit_code
    except Exception as error:
        say(f"internal error: {Fault('internal', f'{type(error).__name__}: {error}', _REPORT)}")
        if args.verbose:
            raise
        return ExitCode.BUG


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM, and the end of the terminal, end what is done here; who called `main` has them back afterwards."""
    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may ask for signals
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                before[number] = signal.signal(number, _end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


def _end(number: int, frame: object) -> None:
    raise _Ended(number)


def _prepare_streams() -> None:
    """Make stdout UTF-8 whatever the locale says; bytes of a file name that are not text become JSON escapes.

    Streams that the caller closed lead nowhere: files that are opened, here or in workers, must not take their places.
    """
    if sys.stdin is None:
        _open_nothing(os.O_RDONLY)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(_open_nothing(os.O_WRONLY), "w", encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")


def _open_nothing(mode: int) -> int:
    descriptor = os.open(os.devnull, mode)  # the lowest that is free: the one that was closed
    os.set_inheritable(descriptor, True)
    return descriptor


def _drop_stdout() -> None:
    """Let nothing more be written to stdout: Python would complain once more when it closes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_program() -> int:
    """Run `main` in a process that is ours alone."""
    # accelerate loads boto3 where it is installed, for a cloud that is not used here: it takes a while, and its HTTP
    # library opens a socket to see what kinds of addresses there are. To a process of somebody else it may matter.
    sys.modules.setdefault("boto3", None)  # type: ignore[arg-type]
    return main()


if __name__ == "__main__":
    sys.exit(run_program())
