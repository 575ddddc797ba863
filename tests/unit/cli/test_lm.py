import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import line_image, png
from languages import ENGLISH, write_language

from quillread.cli.main import main
from quillread.language.choice import LanguageSettings
from quillread.models.catalog import resolve
from quillread.models.model_folder import INFO_NAME, ONNX_NAME, read_info, write_info
from quillread.types import ErrorCurve


@pytest.fixture
def text(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("\n".join(ENGLISH), encoding="utf-8")
    return tmp_path / "text.txt"


def train(text: Path, output: Path, *options: str) -> int:
    return main(["lm", "train", "--text", str(text), "--output", str(output), *options])


def test_a_model_is_made_and_looked_into(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert train(text, tmp_path / "my.lm", "--order", "6") == 0
    assert "language: en" in capsys.readouterr().err
    assert main(["lm", "info", str(tmp_path / "my.lm")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["language"], facts["order"]) == ("my", "en", 6)
    assert facts["bytes"] == (tmp_path / "my.lm").stat().st_size


def test_a_text_is_scored(text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "fr.txt").write_text("Il y avait une vieille femme dans la maison.", encoding="utf-8")
    assert main(["lm", "score", "en", "--text", str(text), "--text", str(tmp_path / "fr.txt")]) == 0
    ours, theirs = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert ours["nats_per_character"] < 2 < theirs["nats_per_character"]
    assert ours["unknown_words"] < 0.1 < theirs["unknown_words"]


def test_the_shipped_models_are_listed(capsys: pytest.CaptureFixture[str]):
    assert main(["lm", "list"]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["en", "fr"]


@pytest.mark.parametrize(("content", "code"), [("", 3), ("12, 34\n", 3), ("\x80 wrong\n", 3)])
def test_a_corpus_without_words_is_refused(tmp_path: Path, content: str, code: int, capsys):
    (tmp_path / "text.txt").write_text(content, encoding="utf-8")
    assert train(tmp_path / "text.txt", tmp_path / "my.lm") == code
    err = capsys.readouterr().err
    assert "no text in it" in err or "holds no words" in err
    assert not (tmp_path / "my.lm").exists()


@pytest.mark.parametrize("order", ["1", "9"])
def test_an_order_out_of_range_is_refused(text: Path, tmp_path: Path, order: str, capsys):
    assert train(text, tmp_path / "my.lm", "--order", order) == 2
    assert "order must lie in 2 to 8" in capsys.readouterr().err


def test_text_that_was_decoded_wrongly_is_left_out_and_counted(text: Path, tmp_path: Path, capsys):
    text.write_text(text.read_text(encoding="utf-8") + "\nâ\x80\x94 so\n", encoding="utf-8")
    assert train(text, tmp_path / "my.lm") == 0
    assert "1 paragraphs skipped" in capsys.readouterr().err


def test_a_cut_model_is_refused(text: Path, tmp_path: Path, capsys):
    path = write_language(tmp_path / "my.lm")
    path.write_bytes(path.read_bytes()[:1000])
    assert main(["lm", "score", str(path), "--text", str(text)]) == 2
    assert "cut or damaged" in capsys.readouterr().err


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    folder = tmp_path / "lines"
    folder.mkdir()
    for i, text in enumerate(["there was an old man", "the people of the town", "and his dog", "to the river"]):
        (folder / f"{i}.png").write_bytes(png(line_image(text, 48)))
        (folder / f"{i}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the built-in model."""
    (tmp_path / "model").mkdir()
    for name in (INFO_NAME, ONNX_NAME):
        (tmp_path / "model" / name).write_bytes((resolve("builtin") / name).read_bytes())
    return tmp_path / "model"


def test_a_model_is_tuned_and_the_settings_saved(lines: Path, folder: Path, tmp_path: Path, capsys):
    options = ["--data", str(lines), "--model", str(folder), "--threads", "1", "--json", str(tmp_path / "t.json")]
    assert main(["lm", "tune", *options, "--save"]) == 0
    assert "| mended : broken |" in capsys.readouterr().out
    document = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert document["data"][str(lines)]["lines"] == 2
    weights = read_info(folder).language.weights
    assert document["settings"]["weights"]["characters"] == weights.characters


def test_weights_that_are_tried_are_told_in_plain_words(lines: Path, folder: Path, capsys):
    assert main(["lm", "tune", "--data", str(lines), "--model", str(folder), "--threads", "1"]) == 0
    err = capsys.readouterr().err
    assert "quill: weights tried: characters 0" in err
    assert "LanguageWeights" not in err


def test_few_lines_change_no_confidences_that_a_model_has(lines: Path, folder: Path, capsys):
    before = read_info(folder)
    options = ["--data", str(lines), "--model", str(folder), "--threads", "1", "--keep-weights", "--save"]
    assert main(["lm", "tune", *options]) == 0
    assert "readings with a language stay: " in capsys.readouterr().err
    after = read_info(folder)
    assert (after.language, after.error_curve) == (before.language, before.error_curve)


def test_a_model_without_confidences_is_given_some(lines: Path, folder: Path, capsys):
    info = read_info(folder)
    write_info(replace(info, language=LanguageSettings(), error_curve=ErrorCurve()), folder)
    options = ["--data", str(lines), "--model", str(folder), "--threads", "1", "--keep-weights", "--save"]
    assert main(["lm", "tune", *options]) == 0
    err = capsys.readouterr().err
    assert " stay: " not in err and "settings written into" in err


def test_figures_that_have_no_value_are_null(lines: Path, folder: Path, tmp_path: Path):
    for path in lines.glob("*.txt"):
        path.write_text("")
    options = ["--data", str(lines), "--model", str(folder), "--threads", "1", "--keep-weights"]
    assert main(["lm", "tune", *options, "--json", str(tmp_path / "t.json")]) == 0
    figures = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert figures["data"][str(lines)]["cer_spacing"] is None


def test_one_line_cannot_be_halved(lines: Path, capsys: pytest.CaptureFixture[str]):
    for path in lines.glob("[1-9].*"):
        path.unlink()
    assert main(["lm", "tune", "--data", str(lines), "--threads", "1"]) == 3
    err = capsys.readouterr().err
    assert err.startswith(f"quill: error: {lines}: tuning needs at least 2 lines")
    assert "got 1\n  hint: name more lines, of two writers or documents at least" in err


def test_tuning_knows_no_correction(lines: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as caught:
        main(["lm", "tune", "--data", str(lines), "--correct"])
    assert caught.value.code == 2
    assert "unrecognized arguments: --correct" in capsys.readouterr().err


def test_settings_cannot_be_saved_into_a_folder_of_transformers(lines: Path, tmp_path: Path, capsys):
    from fakes import write_trocr

    plain = write_trocr(tmp_path / "plain")
    assert main(["lm", "tune", "--data", str(lines), "--model", str(plain), "--save"]) == 2
    assert "drop --save" in capsys.readouterr().err


def test_the_settings_of_a_shipped_model_stay(lines: Path, capsys: pytest.CaptureFixture[str]):
    before = (resolve("builtin") / INFO_NAME).read_bytes()
    assert main(["lm", "tune", "--data", str(lines), "--save"]) == 2
    assert "name the copy with --model" in capsys.readouterr().err
    assert (resolve("builtin") / INFO_NAME).read_bytes() == before


def test_a_text_is_not_written_over(text: Path, capsys: pytest.CaptureFixture[str]):
    before = text.read_bytes()
    assert main(["lm", "train", "--text", str(text), "--output", str(text)]) == 3
    assert "would be overwritten" in capsys.readouterr().err
    assert text.read_bytes() == before


@pytest.mark.parametrize("name", ["none", "auto"])
def test_no_language_is_no_model(name: str, capsys: pytest.CaptureFixture[str]):
    assert main(["lm", "info", name]) == 2
    assert f"{name!r} is not a language model here" in capsys.readouterr().err


def test_little_text_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "page.txt").write_text("Baptised Okonkwo the son of Obierika, yeoman of this parish.\n" * 3, "utf-8")
    assert train(tmp_path / "page.txt", tmp_path / "my.lm") == 0
    assert "give it a small weight" in capsys.readouterr().err


def test_a_text_that_is_missing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert train(tmp_path / "nope", tmp_path / "my.lm") == 3
    err = capsys.readouterr().err
    assert "nope: cannot be read: No such file or directory" in err
    assert "UTF-8" not in err
