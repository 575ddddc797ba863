import json
import math
from pathlib import Path

import pytest
from fakes import bar_info, bar_line, bar_recognizer, png, write_bar_folder, write_folder, write_trocr
from networks import make_network, weights_of

from quillread.cli.main import main
from quillread.config import dump
from quillread.decode.confidence import calibrate
from quillread.models.catalog import PUBLISHED, SHIPPED
from quillread.models.compact.onnx_file import CompactConfig, write_onnx
from quillread.models.model_folder import ONNX_NAME, read_info, write_info
from quillread.recognize.recognizer import LineRecognizer


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
        assert calibrate(math.log(transcript.confidence), fitted) == pytest.approx(share, abs=0.01)
