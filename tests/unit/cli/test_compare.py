import json
from pathlib import Path

import pytest

from quillread.cli.main import main
from quillread.evaluate.predictions import Prediction, write_predictions

REFERENCES = ["a bad cab", "dead", "bead", "face"]


def write(path: Path, texts: list[str], references: list[str] | None = None) -> Path:
    pairs = zip(references or REFERENCES, texts, strict=True)
    rows = [Prediction(str(i), f"g{i}", reference, text, 0.5) for i, (reference, text) in enumerate(pairs)]
    write_predictions(path, rows)
    return path


def test_the_better_model_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first = write(tmp_path / "a.jsonl", ["x"] * 8, REFERENCES * 2)
    second = write(tmp_path / "b.jsonl", REFERENCES * 2, REFERENCES * 2)
    assert main(["compare", str(first), str(second)]) == 0
    out = capsys.readouterr().out
    assert "better" in out.splitlines()[2]
    assert not out.endswith("\n\n")


def test_json_holds_the_figures(tmp_path: Path):
    first = write(tmp_path / "a.jsonl", ["a bad cab", "dead", "bead", "fact"])
    main(["compare", str(first), str(first), "--json", str(tmp_path / "c.json")])
    document = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert [entry["metric"] for entry in document] == ["cer_spacing", "wer_spacing"]
    assert (document[0]["difference"], document[0]["ci95"], document[0]["lines_equal"]) == (0.0, [0.0, 0.0], 1.0)


def test_rates_without_a_value_are_null(tmp_path: Path):
    first = write(tmp_path / "a.jsonl", ["x"], [""])
    main(["compare", str(first), str(first), "--json", str(tmp_path / "c.json")])
    (cer, _) = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))
    assert (cer["baseline"], cer["ci95"]) == (None, [None, None])


def test_predictions_of_other_lines_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first = write(tmp_path / "a.jsonl", REFERENCES)
    second = write(tmp_path / "b.jsonl", REFERENCES, ["other", *REFERENCES[1:]])
    assert main(["compare", str(first), str(second)]) == 3
    assert "differ in the reference of 1 of 4 lines" in capsys.readouterr().err


def test_a_file_that_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first = write(tmp_path / "a.jsonl", REFERENCES)
    assert main(["compare", str(first), "none.jsonl"]) == 3
    assert capsys.readouterr().err.startswith("quill: error: none.jsonl: cannot be read: No such file")


def test_a_file_of_another_kind_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first = write(tmp_path / "a.jsonl", REFERENCES)
    (tmp_path / "b.jsonl").write_text('{"id": "0"}\n', encoding="utf-8")
    assert main(["compare", str(first), str(tmp_path / "b.jsonl")]) == 3
    assert "b.jsonl, line 1: expected exactly the keys" in capsys.readouterr().err


@pytest.mark.parametrize(("count", "told"), [(5, True), (6, False)])
def test_too_few_groups_for_a_test_are_told(count: int, told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    first = write(tmp_path / "a.jsonl", ["x"] * count, ["dead"] * count)
    second = write(tmp_path / "b.jsonl", ["dead"] * count, ["dead"] * count)
    assert main(["compare", str(first), str(second)]) == 0
    out = capsys.readouterr().out
    assert (f"\n{count} groups: too few for a test to tell a difference.\n" in out) == told
    assert ("no clear difference" in out) == told


def test_too_few_lines_of_one_writer_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    rows = [Prediction(str(i), "", "dead", "bead", 0.5) for i in range(1)]
    write_predictions(tmp_path / "a.jsonl", rows)
    assert main(["compare", str(tmp_path / "a.jsonl"), str(tmp_path / "a.jsonl")]) == 0
    assert "\n1 line: too few for a test to tell a difference.\n" in capsys.readouterr().out
