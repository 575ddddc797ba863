import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import bar_info, bar_line, bar_recognizer, png, write_bar_folder, write_folder, write_trocr
from networks import make_network, weights_of

from quillread.cli.main import main
from quillread.config import dump
from quillread.decode.confidence import Report, calibrate
from quillread.images.preprocess import PreprocessConfig
from quillread.models.catalog import PUBLISHED, SHIPPED
from quillread.models.compact.onnx_file import CompactConfig, write_onnx
from quillread.models.model_folder import ONNX_NAME, read_info, write_info
from quillread.recognize.recognizer import LineRecognizer
from quillread.types import Calibration, ErrorCurve


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder, as far as anybody can tell without loading it."""
    return write_bar_folder(tmp_path / "mine")


def test_the_list_names_the_shipped_models_with_their_size(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "list"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()][: len(SHIPPED)]
    assert [row[0] for row in rows] == list(SHIPPED)
    assert all(row[1].endswith(" MB") and float(row[1].split()[0]) > 0 for row in rows)


def test_the_list_tells_what_the_shipped_models_read_how_well_and_who_may_use_them(capsys: pytest.CaptureFixture[str]):
    main(["models", "list"])
    row = capsys.readouterr().out.splitlines()[list(SHIPPED).index("medieval")].split("\t")
    assert row[3:6] == ["Latin, French, Spanish, Italian", "9th to 16th century", "CC-BY 4.0"]
    assert row[6].startswith("CER ")


def test_the_list_goes_on_with_the_published_models(capsys: pytest.CaptureFixture[str]):
    main(["models", "list"])
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()][len(SHIPPED) :]
    assert [name for name, _, _ in rows] == list(PUBLISHED)
    assert rows[1][1:] == ["1336 MB", "English handwriting; to start a training from (MIT; to be downloaded)"]


def test_a_transformers_folder_shows_its_record_configuration_and_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["models", "show", str(write_trocr(tmp_path / "plain"))]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["family"], record["name"]) == ("trocr", "plain")
    assert record["config"]["encoder"]["model_type"] == "vit"
    assert record["generation_config"]["decoder_start_token_id"] == 2
    assert record["weights"]["files"] == ["model.safetensors"]
    assert record["weights"]["bytes"] > 4 * record["weights"]["parameters"] > 0


@pytest.mark.parametrize("number", ["NaN", "1e999"])
def test_numbers_that_json_has_no_form_for_are_refused(number: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_trocr(tmp_path / "plain")
    (folder / "generation_config.json").write_text(f'{{"bos_token_id": {number}}}', encoding="utf-8")
    assert main(["models", "show", str(folder)]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "a number that is not finite" in told.err


def test_a_model_with_pickled_weights_is_converted(tmp_path: Path):
    source = write_trocr(tmp_path / "pickled", pickled=True)
    assert main(["models", "convert", str(source), str(tmp_path / "safe")]) == 0
    assert main(["models", "show", str(tmp_path / "safe")]) == 0


def test_a_model_with_pickled_weights_points_to_the_conversion(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = write_trocr(tmp_path / "pickled", pickled=True)
    assert main(["models", "show", str(source)]) == 2
    assert f"quill models convert {source} DEST" in capsys.readouterr().err


def test_a_conversion_over_a_folder_in_use_gives_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = write_trocr(tmp_path / "pickled", pickled=True)
    assert main(["models", "convert", str(source), str(source)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_model_without_a_card_shows_its_record(folder: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["models", "show", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "bars"


def test_a_model_with_a_card_shows_it(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "README.md").write_text("# Bars – a model\n", encoding="utf-8")
    main(["models", "show", str(folder)])
    assert capsys.readouterr().out == "# Bars – a model\n"


def test_a_card_in_another_encoding_is_shown_as_far_as_it_goes(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "README.md").write_bytes(b"caf\xe9\n")
    assert main(["models", "show", str(folder)]) == 0
    assert capsys.readouterr().out == "caf\N{REPLACEMENT CHARACTER}\n"


def test_json_shows_the_record_beside_a_card(folder: Path, capsys: pytest.CaptureFixture[str]):
    (folder / "README.md").write_text("# Bars\n", encoding="utf-8")
    main(["models", "show", "--json", str(folder)])
    assert json.loads(capsys.readouterr().out)["charset"] == bar_info().charset


def test_the_shipped_model_can_be_shown_as_json(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "show", "builtin", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["family"] == "compact"


def test_an_unknown_model_gives_2_and_the_nearest_name(capsys: pytest.CaptureFixture[str]):
    assert main(["models", "show", "buildin"]) == 2
    err = capsys.readouterr().err
    assert err == "quill: error: unknown model 'buildin' (did you mean 'builtin'?)\n  hint: see: quill models list\n"


def test_no_action_gives_2():
    with pytest.raises(SystemExit) as caught:
        main(["models"])
    assert caught.value.code == 2


@pytest.fixture
def compact(tmp_path: Path) -> Path:
    """A small compact model with random weights."""
    shape = CompactConfig(48, (4, 8, 8, 12), (1, 1, 1, 1), 16, 1, 3, 1)
    weights = weights_of(make_network(shape))
    provenance = {"training": {"network": dump(shape)}}
    write_info(bar_info(provenance=provenance), tmp_path / "compact")
    write_onnx(weights, shape, tmp_path / "compact" / ONNX_NAME)
    return tmp_path / "compact"


def test_a_quantised_model_reads(compact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    lines = write_folder(tmp_path / "lines", ["abc", "de a"])
    (compact / "README.md").write_text("# bars\n", encoding="utf-8")
    assert main(["models", "quantise", str(compact), str(tmp_path / "eight"), "--data", str(lines)]) == 0
    assert "ranges from 2 lines" in (tmp_path / "eight" / "README.md").read_text(encoding="utf-8")
    assert (compact / "README.md").read_text(encoding="utf-8") == "# bars\n"
    assert main(["read", "--lines", "--model", str(tmp_path / "eight"), str(lines / "line-00.png")]) == 0
    assert main(["evaluate", "--model", str(tmp_path / "eight"), "--data", str(lines)]) == 0


def test_only_compact_models_are_quantised(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_trocr(tmp_path / "trocr")
    assert main(["models", "quantise", str(folder), str(tmp_path / "eight"), "--data", "x"]) == 2
    assert "eight bits are for compact ones" in capsys.readouterr().err


def test_a_folder_that_exists_is_not_written_into(compact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["models", "quantise", str(compact), str(tmp_path), "--data", "x"]) == 2
    assert "exists already" in capsys.readouterr().err


def test_confidences_are_fitted_to_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    read_with: list[str] = []

    def load_bars(name: str) -> LineRecognizer:
        read_with.append(name)
        return bar_recognizer()

    monkeypatch.setattr("quillread.recognize.load.load", load_bars)
    monkeypatch.chdir(tmp_path)
    write_info(bar_info(), tmp_path / "open")  # which is also the name of a model that ships
    lines = tmp_path / "lines"
    lines.mkdir()
    for text, right in (("ab cd", 1), ("da", 3)):  # of four lines each: longer lines are less likely
        for i in range(4):
            (lines / f"{text}-{i}.png").write_bytes(png(bar_line(text)))
            (lines / f"{text}-{i}.txt").write_text(text if i < right else "aaa", encoding="utf-8")
    assert main(["models", "calibrate", "open", "--data", f"folder:{lines}", "--lines", "40"]) == 0
    assert read_with == [str(tmp_path / "open")]
    fitted = read_info(tmp_path / "open").line_calibration
    for text, share in (("ab cd", 1 / 4), ("da", 3 / 4)):
        (transcript,) = bar_recognizer().read([bar_line(text)])
        assert calibrate(Report(math.log(transcript.confidence)), fitted) == pytest.approx(share, abs=0.01)


def test_a_shipped_model_is_not_calibrated_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert main(["models", "calibrate", "builtin", "--data", "folder:x"]) == 2
    told = capsys.readouterr().err
    assert "builtin: ships with quillread" in told
    assert "name the copy" in told


def write_bar_lines(folder: Path, count: int, shares: tuple[float, float]) -> Path:
    """Lines of bars, short and long, with a text each; of both a share is what a recogniser reads there."""
    folder.mkdir()
    for text, share in zip(("da", "abcde"), shares, strict=True):  # longer words are less likely
        for i in range(count // 2):
            (folder / f"{text}-{i:03}.png").write_bytes(png(bar_line(text)))
            (folder / f"{text}-{i:03}.txt").write_text(text if i < share * count // 2 else "aaa", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("count", "share", "of_lines"),
    [
        (8, 0.5, Calibration(0.7, -6.0)),
        (8, 1.0, Calibration(0.7, -6.0)),
        (60, 0.0, Calibration(0.7, -6.0)),
        (8, 0.5, Calibration()),  # of a model whose lines need none, while its words do
    ],
)
def test_lines_that_tell_little_leave_fitted_confidences_as_they_are(
    count: int,
    share: float,
    of_lines: Calibration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setattr("quillread.recognize.load.load", bar_recognizer)
    known = bar_info(line_calibration=of_lines, word_calibration=Calibration(0.6, -6.0))
    write_info(known, tmp_path / "bars")
    lines = write_bar_lines(tmp_path / "lines", count, (share, share))
    assert main(["models", "calibrate", str(tmp_path / "bars"), "--data", f"folder:{lines}"]) == 0
    assert read_info(tmp_path / "bars") == known
    assert "the confidences stay: " in capsys.readouterr().err


def test_the_errors_to_be_expected_are_fitted_with_the_confidences_of_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("quillread.recognize.load.load", bar_recognizer)
    stale = ErrorCurve((0.0, 0.001), (0.9, 0.95))
    write_info(bar_info(line_calibration=Calibration(1.0, 5.0), error_curve=stale), tmp_path / "bars")
    lines = write_bar_lines(tmp_path / "lines", 60, (0.9, 0.1))
    assert main(["models", "calibrate", str(tmp_path / "bars"), "--data", f"folder:{lines}"]) == 0
    info = read_info(tmp_path / "bars")
    assert info.word_calibration != Calibration()
    assert info.error_curve != stale


def test_models_that_see_lines_in_other_ways_are_not_averaged(
    compact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    other = shutil.copytree(compact, tmp_path / "other")
    info = read_info(compact)
    write_info(replace(info, preprocess=PreprocessConfig(steps=("grayscale",)), column_width=8), other)
    assert main(["models", "average", str(compact), str(other), str(tmp_path / "mean")]) == 2
    assert "they differ in preprocessing, width of columns" in capsys.readouterr().err


def test_models_of_a_network_that_is_not_told_are_not_averaged(
    compact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_info(bar_info(), compact)
    assert main(["models", "average", str(compact), str(compact), str(tmp_path / "mean")]) == 2
    assert "does not say what its network is like" in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()


@pytest.mark.parametrize("action", ["quantise", "average"])
def test_an_interruption_leaves_no_part_of_a_model(
    action: str, compact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def end(*_: Any) -> None:
        raise KeyboardInterrupt

    where = "models.compact.quantise.quantise" if action == "quantise" else "train.run_folder.write_onnx"
    monkeypatch.setattr(f"quillread.{where}", end)
    lines = write_folder(tmp_path / "lines", ["abc", "de a"])
    before = {path.name for path in tmp_path.iterdir()}
    given = [str(compact), *([str(compact)] if action == "average" else []), str(tmp_path / "made")]
    data = ["--data", str(lines)] if action == "quantise" else []
    assert main(["models", action, *given, *data]) == 130
    assert {path.name for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    assert main(["models", action, *given, *data]) == 0
    assert read_info(tmp_path / "made").charset == read_info(compact).charset
