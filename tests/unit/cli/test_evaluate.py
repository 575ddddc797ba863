import json
from pathlib import Path

import pytest
from fakes import bar_line, png, write_hub

from quillread.cli.main import main
from quillread.evaluate.predictions import read_predictions

pytestmark = pytest.mark.usefixtures("bar_model")


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return write_bars(tmp_path / "lines", ["a bad cab", "dead", "bead"])


def write_bars(folder: Path, texts: list[str], references: list[str] | None = None) -> Path:
    """Write lines that read as `texts`, said to hold `references`."""
    folder.mkdir()
    for i, (text, reference) in enumerate(zip(texts, references or texts, strict=True)):
        (folder / f"{i}.png").write_bytes(png(bar_line(text)))
        (folder / f"{i}.txt").write_text(reference, encoding="utf-8")
    return folder


def evaluate(data: Path | str, *options: str | Path) -> int:
    return main(["evaluate", "--data", str(data), *map(str, options)])


def test_the_rates_are_printed_as_a_table(lines: Path, capsys: pytest.CaptureFixture[str]):
    assert evaluate(lines) == 0
    out = capsys.readouterr().out
    assert out.startswith("| metric ")
    assert "\n3 lines, 100.0 % of lines exactly right" in out
    assert out.endswith(".\n")


def test_json_holds_the_figures(lines: Path, tmp_path: Path):
    evaluate(lines, "--json", tmp_path / "new" / "figures.json")
    figures = json.loads((tmp_path / "new" / "figures.json").read_text(encoding="utf-8"))
    assert (figures["model"], figures["data"], figures["split"]) == ("builtin", str(lines), "validation")
    assert (figures["lines"], figures["cer"], figures["exact_lines"]) == (3, 0.0, 1.0)


def test_predictions_hold_every_line(lines: Path, tmp_path: Path):
    evaluate(lines, "--predictions", tmp_path / "rows.jsonl")
    rows = read_predictions(tmp_path / "rows.jsonl")
    assert [(row.id, row.reference, row.text) for row in rows] == [
        ("0.png", "a bad cab", "a bad cab"),
        ("1.png", "dead", "dead"),
        ("2.png", "bead", "bead"),
    ]


def test_the_report_is_named_on_stderr(lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    evaluate(lines, "--report", tmp_path / "report")
    assert capsys.readouterr().err == f"quill: report in {tmp_path / 'report' / 'report.html'}\n"
    assert (tmp_path / "report" / "report.html").is_file()


def test_characters_outside_the_charset_are_errors_and_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = write_bars(tmp_path / "lines", ["dead", "a cab"], ["de本d", "本 cab"])
    assert evaluate(data, "--json", tmp_path / "figures.json") == 0
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert (figures["lines"], figures["cer"]) == (2, 2 / 9)
    assert capsys.readouterr().err == (
        "quill: 2 characters of the references are outside the model's charset, all errors: '本' 2\n"
    )


def test_what_is_read_on_an_empty_line_is_an_error(tmp_path: Path):
    data = write_bars(tmp_path / "lines", ["dead", "ab"], ["dead", ""])
    evaluate(data, "--json", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert (figures["lines"], figures["cer"]) == (2, 2 / 4)


def test_data_without_any_text_has_no_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = write_bars(tmp_path / "lines", ["dead"], [""])
    assert evaluate(data, "--json", tmp_path / "figures.json") == 0
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["cer"] is None


def test_a_data_set_without_the_text_column_lists_its_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_hub(tmp_path / "hub", {"validation": ["one"]}, text_column="transcription")
    assert evaluate(f"hub:{folder}") == 3
    err = capsys.readouterr().err
    assert "has no column 'text'; its columns are image, transcription\n  hint: " in err
    assert "?text-column=NAME" in err


def test_the_text_column_is_taken_from_a_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_hub(tmp_path / "hub", {"validation": ["one"]}, text_column="transcription")
    assert evaluate(f"hub:{folder}", "--text-column", "transcription") == 0
    assert "\n1 lines, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("nowhere", "'nowhere' is neither a folder nor of the form kind:where"),
        ("foldr:x", "did you mean 'folder'?"),
        ("csv:none.csv", "none.csv: cannot be read"),
    ],
)
def test_data_that_is_not_there_gives_3(data: str, message: str, capsys: pytest.CaptureFixture[str]):
    assert evaluate(data) == 3
    assert message in capsys.readouterr().err


def test_a_broken_image_is_named_with_its_row(lines: Path, capsys: pytest.CaptureFixture[str]):
    (lines / "1.png").write_bytes(b"")
    assert evaluate(lines) == 3
    assert "row 1 (1.png)" in capsys.readouterr().err


def test_figures_that_cannot_be_written_give_3(lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert evaluate(lines, "--json", lines / "0.png" / "figures.json") == 3
    assert "figures.json: cannot be written: " in capsys.readouterr().err
