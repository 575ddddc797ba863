import pytest
from documents import INFO, blank, failed, scan
from quillread.cli.show import ShowSink, uses_colours

from quillread.formats.export import ExportInfo, Scan
from quillread.types import Line, Page, Polygon, Region, Transcript, Word

BOX = Polygon(((0.0, 0.0), (9.0, 0.0), (9.0, 9.0), (0.0, 9.0)))


def words(*confidences: float) -> Scan:
    """A line of words that are named after their confidence."""
    made = tuple(Word(f"w{confidence}", confidence, BOX) for confidence in confidences)
    read = Transcript(" ".join(word.text for word in made), 0.5, made)
    return Scan(Page("a.png", 1, 9, 9, (Region(BOX, (Line(((0.0, 9.0), (9.0, 9.0)), BOX, read),)),)))


def test_doubtful_words_are_marked(capsys: pytest.CaptureFixture[str]):
    ShowSink(False, ExportInfo("a.png")).add(words(0.3, 0.6, 0.9))
    assert capsys.readouterr().out == "== a.png\n  1  w0.3[?] w0.6 w0.9\n"


def test_doubtful_words_are_coloured_in_a_terminal(capsys: pytest.CaptureFixture[str]):
    ShowSink(True, ExportInfo("a.png")).add(words(0.3, 0.6, 0.9))
    line = capsys.readouterr().out.splitlines()[1]
    assert line.endswith("\x1b[31;4mw0.3\x1b[0m \x1b[33mw0.6\x1b[0m w0.9")


def test_pages_and_regions_are_told_apart(capsys: pytest.CaptureFixture[str]):
    sink = ShowSink(False, INFO)
    for item in (scan(1), failed(2), blank(3)):
        sink.add(item)
    sink.close(None)
    out = capsys.readouterr().out.splitlines()
    assert [row for row in out if row.startswith("==")] == [f"== {INFO.source}, page {n}" for n in (1, 2, 3)]
    assert out[1:4] == ["  1  Dear Sir,", "  2  I am, yours", ""]
    assert "[could not be read]" in out


def test_an_input_that_failed_says_so(capsys: pytest.CaptureFixture[str]):
    ShowSink(False, ExportInfo("a.png", 0)).close("a.png: broken")
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
