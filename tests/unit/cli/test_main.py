import errno
import io
import logging
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quillread.cli import models
from quillread.cli.main import COMMANDS, _Formatter, _Sayer, main, make_parser
from quillread.cli.progress import ProgressLine, say
from quillread.errors import DataError, UsageError, WorkerDiedError
from quillread.version import __version__


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run_raising(monkeypatch: pytest.MonkeyPatch, error: BaseException, *options: str) -> int:
    """Run a command that ends in an error."""

    def run(_: object) -> int:
        raise error

    monkeypatch.setattr(models, "run_list", run)
    return main([*options, "models", "list"])


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert [name for name in COMMANDS if not re.search(rf"^    {name}\s", out, re.MULTILINE)] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_that_says_what_it_does(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    paragraphs = capsys.readouterr().out.split("\n\n")
    assert paragraphs[1].strip().endswith(".")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert (caught.value.code, capsys.readouterr().out) == (0, f"quill {__version__}\n")


@pytest.mark.parametrize("arguments", [[], ["raed"], ["evaluate"], ["read", "x.png", "--form", "json", "--nonsense"]])
def test_wrong_usage_gives_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: quill")


@pytest.mark.parametrize(
    ("arguments", "verbose"),
    [(["-v", "read", "x"], True), (["read", "-v", "x"], True), (["read", "x", "-v"], True), (["read", "x"], False)],
)
def test_verbose_may_stand_before_or_after_the_command(arguments: list[str], verbose: bool):
    assert make_parser(arguments).parse_args(arguments).verbose is verbose


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("no such thing", hint="try another"), 2, "quill: error: no such thing\n  hint: try another\n"),
        (DataError("a.csv: is broken"), 3, "quill: error: a.csv: is broken\n"),
        (KeyboardInterrupt(), 130, "quill: interrupted\n"),
        (
            WorkerDiedError("a worker process died: killed by SIGSEGV"),
            3,
            "quill: error: a worker process died: killed by SIGSEGV\n",
        ),
    ],
)
def test_an_error_becomes_a_message_and_its_exit_code(
    error: BaseException, code: int, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run_raising(monkeypatch, error) == code
    assert capsys.readouterr().err == message


def test_an_error_of_the_system_names_the_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    error = OSError(errno.EACCES, "Permission denied", "secret.json")
    assert run_raising(monkeypatch, error) == 3
    assert capsys.readouterr().err.startswith("quill: error: secret.json: Permission denied\n  hint: ")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, ""),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            3,
            "quill: error: stdout: No space left on device\n  hint: ",
        ),
    ],
    ids=["reader gone", "disk full"],
)
def test_stdout_that_takes_no_more_is_dropped(
    error: OSError,
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    with (tmp_path / "out").open("w", encoding="utf-8") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert run_raising(monkeypatch, error) == code
        print("more")
    assert (tmp_path / "out").read_bytes() == b""
    assert capsys.readouterr().err.startswith(message)


def test_a_fault_of_ours_gives_1_and_asks_for_a_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert run_raising(monkeypatch, RuntimeError("boom")) == 1
    err = capsys.readouterr().err
    assert err == (
        "quill: internal error: RuntimeError: boom\n"
        "  hint: This is a bug in quillread. Please report it with the command you ran and its output with -v\n"
    )
    assert "Traceback" not in err


def test_verbose_shows_where_a_fault_of_ours_is(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RuntimeError, match="boom"):
        run_raising(monkeypatch, RuntimeError("boom"), "-v")


def test_help_and_reading_import_no_heavy_package():
    code = (
        "import sys\nfrom quillread.cli.main import make_parser\nmake_parser(['read', 'x']).format_help()\n"
        "import quillread.reader, quillread.batch.run, quillread.pages.classical\n"
        "heavy = ('torch', 'transformers', 'pyarrow', 'datasets', 'matplotlib', 'accelerate')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--nonsense"], ["raed", "x.png"]])
def test_what_needs_no_command_imports_none(arguments: list[str]):
    code = (
        "import contextlib, sys\nfrom quillread.cli.main import main\n"
        f"with contextlib.suppress(SystemExit):\n    main({arguments!r})\n"
        "found = [name for name in ('numpy', 'cv2', 'PIL', 'onnxruntime', 'yaml') if name in sys.modules]\n"
        "commands = [name for name in sys.modules if name.startswith('quillread.cli.')]\n"
        "print(found, sorted(commands), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert result.stderr.splitlines()[-1] == "[] ['quillread.cli.main', 'quillread.cli.progress']"


def test_a_message_takes_the_place_of_the_progress_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    now = iter((100.0, 100.5))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    progress = ProgressLine("inputs")
    progress(1, 1)
    say("a.jpg: is empty")
    assert sys.stderr.getvalue() == "\r\x1b[K1/1 inputs, 2 inputs/s, 0 s left \n\r\x1b[Kquill: a.jpg: is empty\n"


def test_progress_tells_speed_and_time_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    now = iter((100.0, 104.0))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    progress = ProgressLine("pages")
    progress(10, 40)
    assert sys.stderr.getvalue() == "\r\x1b[K10/40 pages, 2.5 pages/s, 12 s left "


def test_a_progress_line_that_stands_is_left_to_be_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress = ProgressLine("pages")
    progress(1, 2)
    progress.end()
    progress.end()
    assert sys.stderr.getvalue().endswith(" s left \n")


def test_progress_is_shown_a_few_times_a_second(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    progress = ProgressLine("lines")
    for done in range(1, 11):
        now[0] += 0.1
        progress(done, 10)
    shown = [part.split("/")[0] for part in sys.stderr.getvalue().split("\r\x1b[K")[1:]]
    assert len(shown) < 8
    assert shown[-1] == "10"


@pytest.mark.parametrize("stderr", [io.StringIO(), None])
def test_there_is_no_progress_without_a_terminal(stderr: io.StringIO | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", stderr)
    ProgressLine("lines")(1, 2)
    assert stderr is None or stderr.getvalue() == ""


def test_a_closed_stdout_is_no_fault(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(models, "run_list", lambda _: 0)
    assert main(["models", "list"]) == 0
    sys.stdout.close()


def test_sigterm_ends_a_command_with_its_own_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(models, "run_list", lambda _: signal.raise_signal(signal.SIGTERM))
    try:
        assert main(["models", "list"]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    assert capsys.readouterr().err == "quill: ended by SIGTERM\n"


def test_who_calls_a_command_has_sigterm_back():
    before = signal.getsignal(signal.SIGTERM)
    assert main(["models", "list"]) == 0
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="has no terminals that hang up")
def test_the_end_of_the_terminal_ends_a_command_with_its_own_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(models, "run_list", lambda _: signal.raise_signal(signal.SIGHUP))
    assert main(["models", "list"]) == 129
    assert capsys.readouterr().err == "quill: ended by SIGHUP\n"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(models, "run_list", lambda _: signal.raise_signal(signal.SIGHUP) or 0)
        assert main(["models", "list"]) == 0  # as with nohup
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_ctrl_c_while_a_command_is_imported_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupt)
    assert main(["models", "list"]) == 130
    assert capsys.readouterr().err == "quill: interrupted\n"


def sayer() -> _Sayer:
    handler = _Sayer()
    handler.setFormatter(_Formatter())
    return handler


def test_what_is_logged_does_not_command_the_terminal(capsys: pytest.CaptureFixture[str]):
    try:
        raise ValueError("a\x1b[2J")
    except ValueError:
        record = logging.LogRecord("x", 20, "x.py", 1, "%s: read", ("b\x1b[2J\nquill: c",), sys.exc_info())
    sayer().handle(record)
    first, *trace = capsys.readouterr().err.splitlines()
    assert first == "quill: b\ufffd[2J\ufffdquill: c: read"
    assert trace[-1] == "ValueError: a\ufffd[2J"


def test_what_is_logged_does_not_run_into_the_progress(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    ProgressLine("pages")(1, 2)
    sayer().handle(logging.makeLogRecord({"msg": "page 1: looks odd"}))
    assert sys.stderr.getvalue().endswith("left \r\x1b[Kquill: page 1: looks odd\n")


def test_a_stderr_that_takes_no_more_is_no_fault_of_what_is_logged(monkeypatch: pytest.MonkeyPatch):
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(logging, "raiseExceptions", False)
    monkeypatch.setattr(sys, "stderr", closed)
    sayer().handle(logging.makeLogRecord({"msg": "page 1: looks odd"}))


class ClosedTerminal(Terminal):
    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_terminal_that_was_closed_keeps_no_command_from_its_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "stderr", ClosedTerminal())
    say("interrupted")
    line = ProgressLine("pages")
    line(1, 2)
    line.end()


def test_without_stderr_nothing_is_said_on_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sys, "stderr", None)
    say("a.jpg: is empty")
    assert capsys.readouterr().out == ""
