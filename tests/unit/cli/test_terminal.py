import io

import pytest
from documents import INFO, blank, failed, scan

from quillread.cli.terminal import ShowWriter, Stdout, StdoutWriter, title_of, uses_colours
from quillread.errors import Fault
from quillread.formats.export import FORMATS
from quillread.types import DocumentInfo, Line, Page, Polygon, Region, Scan, Transcript, Word

BOX = Polygon(((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0)))


def words(*confidences: float) -> Scan:
    """A line of words that are named after their confidence."""
    made = tuple(Word(f"w{confidence}", confidence, BOX) for confidence in confidences)
    read = Transcript(" ".join(word.text for word in made), 0.5, made)
    return Scan(Page("a.png", 1, 9, 9, (Region(BOX, (Line(((0.0, 9.0), (9.0, 9.0)), BOX, read),)),)))


def show(info: DocumentInfo, *scans: Scan, colours: bool = False, fault: Fault | None = None) -> None:
    writer = ShowWriter(colours)
    writer.begin(info)
    for item in scans:
        writer.add(item)
    writer.close(fault)


def test_doubtful_words_are_marked(capsys: pytest.CaptureFixture[str]):
    show(DocumentInfo("a.png"), words(0.3, 0.6, 0.9))
    assert capsys.readouterr().out == "== a.png\n  1  w0.3[?] w0.6 w0.9\n"


def test_doubtful_words_are_coloured_in_a_terminal(capsys: pytest.CaptureFixture[str]):
    show(DocumentInfo("a.png"), words(0.3, 0.6, 0.9), colours=True)
    line = capsys.readouterr().out.splitlines()[1]
    assert line.endswith("\x1b[31;4mw0.3\x1b[0m \x1b[33mw0.6\x1b[0m w0.9")


def test_pages_and_regions_are_told_apart(capsys: pytest.CaptureFixture[str]):
    show(INFO, scan(1), failed(2), blank(3))
    out = capsys.readouterr().out.splitlines()
    assert [row for row in out if row.startswith("==")] == [f"== {INFO.source}, page {n}" for n in (1, 2, 3)]
    assert out[1:4] == ["  1  Dear Sir,", "  2  I am, yours", ""]
    assert "[could not be read]" in out


def test_an_input_that_failed_says_so(capsys: pytest.CaptureFixture[str]):
    show(DocumentInfo("a.png", 0), fault=Fault("image", "a.png: broken"))
    assert capsys.readouterr().out == "== a.png\n[could not be read]\n"


@pytest.mark.parametrize(
    ("terminal", "environment", "expected"),
    [
        (True, {"TERM": "xterm"}, True),
        (False, {"TERM": "xterm"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colours_are_for_terminals(
    terminal: bool, environment: dict[str, str], expected: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    assert uses_colours() is expected


BROKEN = Fault("image", "a.png: broken", "scan it again")


def write(stdout: Stdout, name: str, *scans: Scan, fault: Fault | None = None) -> None:
    writer = StdoutWriter(stdout, FORMATS[name])
    writer.begin(INFO)
    for item in scans:
        writer.add(item)
    writer.close(fault)
    writer.abort()


def test_documents_on_stdout_are_parted_by_the_gap(capsysbinary: pytest.CaptureFixture[bytes]):
    stdout = Stdout(b"--\n")
    for item in (words(0.5), blank(), words(0.25)):
        write(stdout, "txt", item)
    assert capsysbinary.readouterr().out == b"w0.5\n--\nw0.25\n"


def test_an_input_that_failed_is_on_stdout_only_if_its_format_can_say_why(capsysbinary: pytest.CaptureFixture[bytes]):
    write(Stdout(b"\n"), "txt", fault=BROKEN)
    assert capsysbinary.readouterr().out == b""
    write(Stdout(b""), "json", fault=BROKEN)
    assert b'"error": "a.png: broken\\n  hint: scan it again"' in capsysbinary.readouterr().out


def test_a_page_is_seen_as_soon_as_it_is_read(monkeypatch: pytest.MonkeyPatch):
    terminal = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BufferedWriter(Unbuffered(terminal), 4096), "utf-8"))
    writer = StdoutWriter(Stdout(b"\n"), FORMATS["txt"])
    writer.begin(INFO)
    writer.add(words(0.5))
    assert terminal.getvalue().startswith(b"w0.5")


class Unbuffered(io.RawIOBase):
    """Hands what is flushed to a buffer that is not closed with it."""

    def __init__(self, target: io.BytesIO) -> None:
        self._target = target

    def writable(self) -> bool:
        return True

    def write(self, content: "bytes | bytearray | memoryview", /) -> int:  # type: ignore[override]
        return self._target.write(content)


def test_documents_are_named_before_their_text(capsysbinary: pytest.CaptureFixture[bytes]):
    stdout = Stdout(b"\n", title_of("txt"))
    for item in (words(0.5), blank()):
        write(stdout, "txt", item)
    write(stdout, "txt", fault=BROKEN)
    assert capsysbinary.readouterr().out.decode() == f"== {INFO.source}\nw0.5\n\n== {INFO.source}\n"


def test_names_and_texts_do_not_command_the_terminal(capsys: pytest.CaptureFixture[str]):
    odd = "a\x1b[2J\nb"
    read = Transcript("x\x1b[31m", 0.9)
    page = Page(odd, 1, 9, 9, (Region(BOX, (Line(((0.0, 9.0), (9.0, 9.0)), BOX, read),)),))
    show(DocumentInfo(odd), Scan(page))
    show(DocumentInfo(odd, 0), fault=BROKEN)
    Stdout(b"", title_of("md"))
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert out.count("== a\ufffd[2J\ufffdb\n") == 2
    assert str(title_of("md")(odd)) == "# a\ufffd[2J\ufffdb\n"  # type: ignore[misc]
