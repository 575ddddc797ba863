import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from documents import export
from fakes import BarBackend, bar_info, bar_line, png, write_hub

from quillread.cli.main import main
from quillread.data.seen import mark, mark_lines
from quillread.data.source import fixed_sample
from quillread.data.spec import open_source, parse_spec
from quillread.evaluate.predictions import read_predictions
from quillread.formats.pagexml import read_page_xml
from quillread.options import ReadOptions
from quillread.pages.segment import Layout
from quillread.recognize.ctc import CtcEngine
from quillread.recognize.recognizer import LineRecognizer
from quillread.types import DocumentInfo, Line, Page, Polygon, Region, Scan, Transcript

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


@pytest.mark.parametrize("trained", [True, False])
def test_lines_that_the_model_was_trained_on_are_told(
    lines: Path, trained: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    source = open_source(parse_spec(str(lines)), "train")
    others = [replace(fixed_sample(source, i), text="other") for i in range(3)]
    marks = mark_lines([source], [np.arange(3)]) if trained else [mark(sample) for sample in others]
    info = bar_info(provenance={"trained_on": marks})
    recognizer = LineRecognizer(CtcEngine(BarBackend(), info), info)
    monkeypatch.setattr("quillread.recognize.load.load", lambda *_, **__: recognizer)
    assert evaluate(lines) == 0
    err = capsys.readouterr().err
    assert ("trained on 3 of these 3 lines, or more" in err) == trained
    assert ("these error rates are too low" in err) == trained


def test_json_holds_the_figures(lines: Path, tmp_path: Path):
    evaluate(lines, "--json", tmp_path / "new" / "figures.json")
    figures = json.loads((tmp_path / "new" / "figures.json").read_text(encoding="utf-8"))
    assert (figures["model"], figures["data"], figures["split"]) == ("builtin", str(lines), "validation")
    assert (figures["lines"], figures["cer"], figures["exact_lines"]) == (3, 0.0, 1.0)


def test_all_models_that_vote_are_named(lines: Path, tmp_path: Path):
    evaluate(lines, "--model", "builtin", "--model", "open", "--json", tmp_path / "figures.json")
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["model"] == "builtin, open"


@pytest.mark.parametrize("option", ["--json", "--predictions", "--report"])
def test_what_cannot_be_written_is_told_before_anything_is_read(option: str, lines: Path, tmp_path: Path, capsys):
    wrong = lines / "0.txt" if option == "--report" else lines
    assert evaluate(lines, option, wrong, *([] if option == "--json" else ["--json", tmp_path / "e.json"])) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert f"{wrong}: is" in told.err
    assert not (tmp_path / "e.json").exists()


def test_a_split_that_no_data_set_has_is_refused(lines: Path, capsys: pytest.CaptureFixture[str]):
    assert evaluate(lines, "--split", "validaton") == 3
    assert "has no splits, and 'validaton' is not one of train, validation, test" in capsys.readouterr().err


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


@pytest.mark.parametrize("is_page", [True, False])
def test_images_of_pages_given_as_lines_are_told(is_page: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    text = "a bad cab " * 8
    data = write_bars(tmp_path / "lines", [text, "dead"])
    if is_page:
        line = bar_line("a bad cab")
        (data / "0.png").write_bytes(png(np.concatenate([line] * 8)))
    assert evaluate(data) == 0
    assert ("1 of these 2 images are of pages or paragraphs, not lines" in capsys.readouterr().err) == is_page


def test_a_text_that_cannot_be_read_is_named_and_the_others_are_measured(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (lines / "1.txt").write_bytes(b"\xff\xfea")
    assert evaluate(lines, "--json", tmp_path / "figures.json") == 3
    assert "1.txt: cannot be read as UTF-8 text" in capsys.readouterr().err
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert (figures["lines"], figures["unreadable"]) == (2, 1)


def test_figures_that_cannot_be_written_give_3(lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert evaluate(lines, "--json", lines / "0.png" / "figures.json") == 3
    assert "figures.json: cannot be written: " in capsys.readouterr().err


# --- whole pages -----------------------------------------------------------------------------------------------------


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of one line that reads "dead", which the line finder finds; its ground truth says "deal"."""
    image = bar_line("dead")
    size = (image.shape[1], image.shape[0])
    outline = Polygon(((0.0, 0.0), (size[0], 0.0), (size[0], size[1]), (0.0, size[1])))
    line = Line(((0.0, size[1] - 1.0), (size[0], size[1] - 1.0)), outline, Transcript("deal", 1.0))
    page = Page("a.png", 1, *size, (Region(outline, (line,)),))
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(image))
    (folder / "a.xml").write_bytes(export("page", Scan(page), info=DocumentInfo("a.png")))
    found = Region(outline, (replace(line, transcript=None),))
    monkeypatch.setattr("quillread.reader.load_segmenter", lambda *_: lambda _: Layout((found,)))
    return folder


NAMES = ("baseline_precision", "baseline_recall", "baseline_f1", "page_cer", "page_cer_free", "lines_cer")


def test_pages_are_scored(pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    json_file, rows = tmp_path / "figures.json", tmp_path / "rows.jsonl"
    assert main(["evaluate", "--pages", str(pages), "--json", str(json_file), "--predictions", str(rows)]) == 0
    figures = json.loads(json_file.read_text(encoding="utf-8"))
    assert (figures["pages"], figures["data"], figures["model"]) == (1, str(pages), "builtin")
    assert (figures["segmenter"], figures["outline"]) == (ReadOptions().segmenter, "baseline")
    assert figures["baseline_f1"] == 1.0
    assert all(0 <= figures[name] <= 1 for name in NAMES)
    assert figures["seconds_per_page"] > 0
    (row,) = read_predictions(rows)
    assert (row.id, row.reference) == ("a", "deal")
    head = capsys.readouterr().out.splitlines()[0].split("|")
    assert [cell.strip() for cell in head][1:4] == ["", "pages", "baseline_precision"]


def test_a_page_that_has_page_and_alto_counts_once(pages: Path, tmp_path: Path):
    truth = read_page_xml(pages / "a.xml")
    (pages / "alto").mkdir()
    (pages / "alto" / "a.xml").write_bytes(export("alto", Scan(truth), info=DocumentInfo("a.png")))
    assert main(["evaluate", "--pages", str(pages), "--json", str(tmp_path / "figures.json")]) == 0
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert (figures["pages"], figures["lines"]) == (1, 1)


def test_a_page_that_cannot_be_read_gives_3_and_counts_as_read_without_a_line(
    pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (pages / "a.png").write_bytes(b"no image")
    assert main(["evaluate", "--pages", str(pages), "--json", str(tmp_path / "figures.json")]) == 3
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert (figures["pages"], figures["lines_found"], figures["page_cer"]) == (1, 0, 1.0)
    assert "is not an image or PDF" in figures["failed"]["a"]
    assert capsys.readouterr().err.startswith(f"quill: {pages / 'a.png'}: is not an image or PDF")


def test_lines_are_measured_without_a_line_finder(lines: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("quillread.reader.load_segmenter", None)
    assert evaluate(lines) == 0


def test_ground_truth_that_cannot_be_used_gives_3(pages: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (pages / "gone.xml").write_text('<PcGts><Page imageWidth="9" imageHeight="9"/></PcGts>', encoding="utf-8")
    assert main(["evaluate", "--pages", str(pages), "--json", str(tmp_path / "figures.json")]) == 3
    figures = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert (figures["pages"], len(figures["left_out"])) == (1, 1)
    err = capsys.readouterr().err
    assert "gone.xml: has no image of its name beside it" in err
    assert "1 files with ground truth could not be used" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "x", "--outline", "polygon"], "--outline is for --pages"),
        (["--data", "x", "--segmenter", "classical"], "--segmenter is for --pages"),
        (["--pages", "x", "--report", "y"], "--report is for --data"),
        (["--pages", "x", "--segmenter", "clasical"], "did you mean 'classical'?"),
    ],
)
def test_options_of_the_other_kind_give_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_that_is_none_gives_3(capsys: pytest.CaptureFixture[str]):
    assert main(["evaluate", "--pages", "nowhere"]) == 3
    assert "nowhere: is not a folder" in capsys.readouterr().err


def test_a_broken_image_is_named_and_the_others_count(lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    picture = lines / "1.png"
    picture.write_bytes(picture.read_bytes()[:60])
    assert evaluate(lines, "--json", tmp_path / "figures.json") == 3
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["lines"] == 2
    err = capsys.readouterr().err
    assert "1.png: cannot be decoded" in err
    assert err.endswith("the line is skipped\n")
