import json
from pathlib import Path

import pytest
from fakes import bar_line, png

from quillread.cli.main import main
from quillread.evaluate.predictions import Prediction, write_predictions

pytestmark = pytest.mark.usefixtures("bar_model")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: lines, predictions, a text, a photo."""
    monkeypatch.chdir(tmp_path)
    Path("lines").mkdir()
    for name in ("a", "b"):
        Path("lines", f"{name}.png").write_bytes(png(bar_line("dead")))
        Path("lines", f"{name}.txt").write_text("dead bead", encoding="utf-8")
    rows = [{"image": "a.png", "text": "dead"}, {"image": "b.png", "text": "dead"}]
    Path("table").mkdir()
    Path("table/metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for name in ("a", "b"):
        Path("table", f"{name}.png").write_bytes(png(bar_line("dead")))
    write_predictions(Path("rows.jsonl"), [Prediction(str(i), f"g{i}", "dead", "bead", 0.5) for i in range(8)])
    Path("parish.txt").write_text("Baptised the son of a yeoman of this parish.\n" * 3, encoding="utf-8")
    Path("photo.jpg").write_bytes(b"\xff\xd8\xff a photo")
    Path("pages").mkdir()
    Path("pages/x.xml").write_text("<PcGts/>", encoding="utf-8")
    Path("site").mkdir()
    Path("site/report.html").write_text("<!doctype html>\n<html>mine</html>\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "target"),
    [
        ("evaluate --data lines --predictions", "lines/a.txt"),
        ("evaluate --data table --predictions", "table/metadata.jsonl"),
        ("evaluate --data jsonl:table/metadata.jsonl --json", "table/metadata.jsonl"),
        ("evaluate --pages pages --json", "pages/x.xml"),
        ("compare rows.jsonl rows.jsonl --json", "rows.jsonl"),
        ("lm train --text parish.txt --output", "photo.jpg"),
        ("data cuts lines --output", "photo.jpg"),
        ("data check lines --json", "photo.jpg"),
        ("data stats lines --json", "parish.txt"),
        ("data show lines --output", "photo.jpg"),
        ("data show lines --output", "lines/a.png"),
        ("evaluate --data lines --report", "site/report.html"),
    ],
)
def test_inputs_and_foreign_files_are_not_written_over(
    command: str, target: str, here: Path, capsys: pytest.CaptureFixture[str]
):
    before = (here / target).read_bytes()
    named = str(Path(target).parent) if "--report" in command else target
    assert main([*command.split(), named]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"quill: error: {target}: is ")
    assert "hint: name another f" in told.err
    assert (here / target).read_bytes() == before


@pytest.mark.parametrize(
    "command",
    [
        "evaluate --data lines --predictions out.jsonl",
        "evaluate --data lines --json out.json",
        "evaluate --data lines --json lines/out.json",
        "evaluate --data lines --report out",
        "compare rows.jsonl rows.jsonl --json out.json",
        "lm train --text parish.txt --output out.lm",
        "data stats lines --json out.json",
        "data show lines --output out.png",
    ],
)
def test_what_a_command_wrote_it_may_write_again(command: str, here: Path):
    assert main(command.split()) == 0
    assert main(command.split()) == 0


def test_an_empty_file_may_be_written_over(here: Path):
    (here / "out.json").touch()
    assert main(["data", "stats", "lines", "--json", "out.json"]) == 0


@pytest.mark.parametrize(
    "command",
    [
        "read lines/a.png --lines --output",
        "read lines/a.png --lines --overlay",
        "data lines lines/a.png --output",
        "data convert lines --output",
        "evaluate --data lines --report",
        "evaluate --data lines --json",
        "train --data lines --output",
        "batch lines --output",
        "models quantise builtin",
    ],
)
def test_an_empty_name_of_what_is_written_is_refused(command: str, here: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(here.iterdir())
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), ""])
    assert caught.value.code == 2
    assert "is empty: check the variables in the command" in capsys.readouterr().err
    assert sorted(here.iterdir()) == before
