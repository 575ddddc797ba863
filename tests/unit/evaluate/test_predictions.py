import json
from pathlib import Path

import pytest

from quillread.errors import DataError, OutputError
from quillread.evaluate.predictions import Prediction, read_predictions, write_predictions

ROW = {"id": "1", "group": "w", "reference": "a", "text": "b", "confidence": 0.5}


def test_predictions_round_trip(tmp_path):
    rows = [
        Prediction("1", "w", "“Ünï” \u2028 \n x", 'a\t"b\\', 0.25),
        Prediction("2", "", "", "", 1.0),
        Prediction("file-\udcff", "", "x", "y", 0.0),
    ]
    write_predictions(tmp_path / "new" / "rows.jsonl", rows)
    assert read_predictions(tmp_path / "new" / "rows.jsonl") == rows


def test_rows_have_exactly_the_documented_keys(tmp_path):
    write_predictions(tmp_path / "rows.jsonl", [Prediction(**ROW)])
    assert json.loads((tmp_path / "rows.jsonl").read_text(encoding="utf-8")) == ROW


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("not json", "not a JSON object"),
        ("[1]", "expected a JSON object"),
        ("", "not a JSON object"),
        (json.dumps({**ROW, "extra": 1}), "expected exactly the keys"),
        (json.dumps({"id": "2"}), "expected exactly the keys"),
        (json.dumps({**ROW, "text": None}), "'text' must be str, got None"),
        (json.dumps({**ROW, "confidence": True}), "'confidence' must be float"),
        (json.dumps({**ROW, "confidence": 1.5}), "must lie in 0 to 1, got 1.5"),
        (json.dumps({**ROW, "confidence": float("nan")}), "must lie in 0 to 1, got nan"),
        (json.dumps(ROW), "id '1' stands in line 1 already"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, line, expected):
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(ROW)}\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_predictions(path)
    assert f"{path}, line 2: " in caught.value.message
    assert expected in caught.value.message


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "rows.jsonl").touch()
    with pytest.raises(DataError, match="holds no predictions"):
        read_predictions(tmp_path / "rows.jsonl")


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / "rows.jsonl")


def test_a_file_that_is_not_utf8_is_a_data_error(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(DataError, match="cannot be read"):
        read_predictions(tmp_path / "rows.jsonl")


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        write_predictions(tmp_path / "file" / "rows.jsonl", [Prediction(**ROW)])


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text("old", encoding="utf-8")

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_predictions(path, [Prediction(**ROW)])
    assert [(p.name, p.read_text(encoding="utf-8")) for p in tmp_path.iterdir()] == [("rows.jsonl", "old")]
